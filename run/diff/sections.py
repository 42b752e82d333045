"""A Python file in sections, one for each function, method, class and piece of code between them, and what they state.

Statements are compared as syntax: quotes, line breaks, comments, docstrings and annotations do not count, and the
package's own name is that of Baselines.
"""
import ast
import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

class Statement(NamedTuple):
    """A statement, or the first lines of one that holds others, in a form of its own; and its lines, from 0."""

    text: str
    lines: range

    @property
    def place(self) -> tuple[int, str]:
        """What tells it from others in its file: several may be in a line."""
        return self.lines[0], self.text

    @property
    def weight(self) -> int:
        """How many letters and digits it has."""
        return len(re.sub(r'\W', '', self.text))


class Section(NamedTuple):
    """A piece of a file.

    name        qualified name; of code without one 'import' or '*', inside a class with the name of that before it
    kind        'def', 'class' (its header and attributes), 'value', 'import' or 'code'
    names       all names that it defines
    start       line of the definition, from 0
    lines       all lines, the comments before it and the blank ones after it included; sections divide the file
    nodes       what it is made of
    statements  what it states
    """

    name: str
    kind: str
    names: tuple[str, ...]
    start: int
    lines: range
    nodes: tuple[ast.stmt, ...]
    statements: tuple[Statement, ...]

    @property
    def texts(self) -> list[str]:
        """Its statements without their places."""
        return [statement.text for statement in self.statements]


def sections(code: str, file: str = '<unknown>') -> list[Section]:
    """The sections of a source, in order; `file` is for error messages."""
    lines = code.split('\n')
    pieces = list(_pieces(ast.parse(code, file).body))
    starts = [0, *(_first_line(nodes[0], lines) for *_, nodes in pieces[1:]), len(lines)]
    return [Section(name, kind, names, nodes[0].lineno - 1, range(start, max(start, stop)), nodes,
                    tuple(statements(_own(nodes, kind))))
            for (name, kind, names, nodes), start, stop in zip(pieces, starts, starts[1:], strict=False)]


def _pieces(body: Sequence[ast.stmt], prefix: str = '') -> Iterator[tuple[str, str, tuple[str, ...], tuple]]:
    """(name, kind, names, nodes) of the sections of a module or the rest of a class."""
    imports = []
    for node in body:
        if not prefix and (_is_import(node) or (not imports and is_text(node) and node is body[0])):
            imports.append(node)
            continue
        if imports:
            yield 'import', 'import', (), tuple(imports)
            imports = []
        if isinstance(node, FUNCTIONS):
            yield prefix + node.name, 'def', (prefix + node.name,), (node,)
        elif isinstance(node, ast.ClassDef):
            methods = [k for k, child in enumerate(node.body) if isinstance(child, (ast.FunctionDef, ast.ClassDef))]
            yield prefix + node.name, 'class', (prefix + node.name,), (node,)
            if methods:
                yield from _pieces(node.body[methods[0]:], f'{prefix}{node.name}.')
        else:
            names = tuple(dict.fromkeys(prefix + name for name, _ in definitions([node])))
            yield (names[0], 'value', names, (node,)) if names else (f'{prefix}*', 'code', (), (node,))
    if imports:
        yield 'import', 'import', (), tuple(imports)


def _own(nodes: Sequence[ast.stmt], kind: str) -> list[ast.stmt]:
    """The nodes without what has a section of its own: the first method of a class and what comes after it."""
    if kind != 'class':
        return list(nodes)
    node = copy.copy(nodes[0])
    stop = next((k for k, child in enumerate(node.body) if isinstance(child, (ast.FunctionDef, ast.ClassDef))), None)
    if stop == 0:  # nothing but its header, which ends where the first method begins
        node.body = [ast.Pass(lineno=first_line(node.body[0]))]
    else:
        node.body = node.body[:stop]
    return [node]


def _is_import(node: ast.stmt) -> bool:
    """Whether a statement imports and does nothing else, except where an import fails."""
    if isinstance(node, ast.Try):
        return all(map(_is_import, node.body))
    return isinstance(node, (ast.Import, ast.ImportFrom))


def is_text(node: ast.AST) -> bool:
    """Whether a node is a docstring, or text that stands alone as one does."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def first_line(node: ast.stmt) -> int:
    """First line of a statement, from 1, decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, 'decorator_list', ()))])


def _first_line(node: ast.stmt, lines: Sequence[str]) -> int:
    """That from 0, with the comments right before it."""
    start = first_line(node) - 1
    while start and lines[start - 1].lstrip().startswith('#'):
        start -= 1
    return start


def definitions(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """(name, node) of what statements define, also under `if` and `try`."""
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from ((n.id, node) for n in ast.walk(target)
                            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        elif isinstance(node, ast.Try):
            yield from definitions([*node.body, *node.orelse, *(n for h in node.handlers for n in h.body)])
        elif isinstance(node, ast.If) and '__name__' not in ast.unparse(node.test):
            yield from definitions([*node.body, *node.orelse])


def bound(nodes: Iterable[ast.AST], prefix: str = '') -> Iterator[str]:
    """Every name that the nodes bind, in order, by whatever statement or expression; those of classes as 'Class.name'.
    What functions bind is theirs, and an import's name is another module's."""
    for node in nodes:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.MatchAs, ast.MatchStar)) and node.name:
            yield prefix + node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield prefix + node.id
        if isinstance(node, ast.ClassDef):
            yield from bound([*node.decorator_list, *node.bases, *node.keywords], prefix)
            yield from bound(node.body, f'{prefix}{node.name}.')
        elif isinstance(node, (*FUNCTIONS, ast.Lambda)):
            yield from bound([*getattr(node, 'decorator_list', ()), node.args], prefix)
        elif isinstance(node, ast.comprehension):
            yield from bound([node.iter, *node.ifs], prefix)
        elif not (isinstance(node, ast.If) and '__name__' in ast.unparse(node.test)):
            yield from bound(ast.iter_child_nodes(node), prefix)
        if isinstance(node, ast.MatchMapping) and node.rest:
            yield prefix + node.rest


# ================================================================
# Statements
# ================================================================


def statements(body: Sequence[ast.stmt]) -> Iterator[Statement]:
    """All statements in `body`, those inside others too, in order."""
    for node in body:
        if isinstance(node, ast.Pass) or is_text(node):
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from _imports(node)
        elif isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            for decorator in node.decorator_list:
                yield _statement(f'@{ast.unparse(decorator)}', _lines(decorator))
            yield _statement(_header(node), range(node.lineno - 1, max(node.lineno, first_line(node.body[0]) - 1)))
            yield from statements(node.body)
        elif isinstance(node, ast.AnnAssign):
            if node.value:
                yield _statement(f'{ast.unparse(node.target)} = {ast.unparse(node.value)}', _lines(node))
        elif hasattr(node, 'body'):
            yield from _compound(node)
        else:
            yield _statement(ast.unparse(node), _lines(node))


def _statement(text: str, lines: range) -> Statement:
    return Statement(re.sub(r'\bonpolicybaselines\b', 'baselines', text), lines)


def _lines(node: ast.AST) -> range:
    return range(node.lineno - 1, node.end_lineno)


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[Statement]:
    """One for each name, as names may be imported one by one or together."""
    source = f'from {"." * node.level}{node.module or ""} ' if isinstance(node, ast.ImportFrom) else ''
    for alias in node.names:
        yield _statement(f'{source}import {ast.unparse(alias)}', _lines(node))


def _header(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        bases = [text for text in map(ast.unparse, [*node.bases, *node.keywords]) if text != 'object']
        return f'class {node.name}({", ".join(bases)})'
    return f'def {node.name}({ast.unparse(bare_arguments(node))})'


def bare_arguments(node: ast.FunctionDef) -> ast.arguments:
    """The arguments without annotations."""
    args = copy.deepcopy(node.args)
    for arg in ast.walk(args):
        if isinstance(arg, ast.arg):
            arg.annotation = None
    return args


def _compound(node: ast.stmt) -> Iterator[Statement]:
    """Statements of an if, for, while, with, try or match; `else` and the like are statements, too."""
    hollow = copy.copy(node)
    parts = [(None, node.body)]
    hollow.body = []
    for field, word in (('orelse', 'else'), ('finalbody', 'finally')):
        if getattr(node, field, None):
            parts.append((word, getattr(node, field)))
            setattr(hollow, field, [])
    handlers = getattr(node, 'handlers', [])
    if handlers:
        hollow.handlers = []
    head = 'try' if isinstance(node, ast.Try) else ast.unparse(hollow).strip().rstrip(':')
    yield _statement(head, range(node.lineno - 1, max(node.lineno, first_line(node.body[0]) - 1)))
    yield from statements(node.body)
    end = node.body[-1].end_lineno
    for handler in handlers:
        name = f' as {handler.name}' if handler.name else ''
        yield _statement(f'except {ast.unparse(handler.type) if handler.type else ""}{name}',
                         range(handler.lineno - 1, max(handler.lineno, first_line(handler.body[0]) - 1)))
        yield from statements(handler.body)
        end = handler.body[-1].end_lineno
    for word, body in parts[1:]:
        start = first_line(body[0]) - 1
        if not (word == 'else' and isinstance(node, ast.If) and isinstance(body[0], ast.If) and len(body) == 1):
            yield _statement(word, range(min(end, start), max(start, min(end, start) + 1)))
        yield from statements(body)
        end = body[-1].end_lineno
