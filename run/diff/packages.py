"""The Python files of a package, what they define, and where a name of theirs comes from; nothing is imported."""
import ast
import functools
from pathlib import Path
from typing import NamedTuple

from run.diff.sections import Section, bare_arguments, bound, definitions, sections


class Entry(NamedTuple):
    """What a name is ('def', 'class', 'property' or 'value'), and its arguments."""

    kind: str
    signature: str = ''


class Module(NamedTuple):
    """What a file defines, and imports: name -> (file, name there), or None from outside the package."""

    names: dict[str, ast.AST]
    imports: dict[str, tuple[str, str] | None]


class Package:
    """The Python files below a folder, named by their path in it and read when asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def files(self) -> set[str]:
        """All files but tests."""
        paths = (path.relative_to(self.folder) for path in self.folder.rglob('*.py'))
        return {path.as_posix() for path in paths if not path.name.startswith('test_') and 'tests' not in path.parts}

    @functools.cache  # noqa: B019 (a Package lives as long as the program)
    def text(self, file: str) -> str:
        """The content of a file, without tabs."""
        return (self.folder / file).read_text(encoding='utf-8').expandtabs(4)

    @functools.cache  # noqa: B019
    def sections(self, file: str) -> list[Section]:
        """What a file is made of."""
        return sections(self.text(file), file)

    @functools.cache  # noqa: B019
    def module(self, file: str) -> Module:
        """What a file defines and imports."""
        tree = ast.parse(self.text(file), file)
        imports, names = {}, {}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                source = self._source(file, node)
                imports.update({alias.asname or alias.name: source and (source, alias.name) for alias in node.names})
        for name, node in definitions(tree.body):
            if name not in imports:  # `MPI = None` after a failed import is no name of this module
                names.setdefault(name, node)
        return Module(names, imports)

    def _source(self, file: str, node: ast.Import | ast.ImportFrom) -> str | None:
        """The file of this package that an import is from."""
        parts = (getattr(node, 'module', None) or '').split('.')
        if getattr(node, 'level', 0):
            base = Path(file).parents[node.level - 1].joinpath(*parts)
        elif parts[0] == self.folder.name:
            base = Path(*parts[1:])
        else:
            return None
        candidates = (f'{base.as_posix()}.py', (base / '__init__.py').as_posix())
        return next((c for c in candidates if (self.folder / c).is_file()), None)

    def names(self, file: str) -> list[str]:
        """All names that a file binds in its module and its classes, private ones too, in order; no tests."""
        imported = self.module(file).imports  # `MPI = None` after a failed import is no name of this module
        return [name for name in dict.fromkeys(bound(ast.parse(self.text(file), file).body))
                if not name.startswith('test_') and name not in imported]

    def entry(self, file: str, name: str) -> Entry | None:
        """What `name` is in `file`, be it defined, imported or inherited there; None if it is nothing."""
        found = self.find(file, name)
        if found is None:
            return None
        file, node = found
        if isinstance(node, ast.ClassDef):
            init = self._member(file, node, '__init__')
            return Entry('class', _signature(init[1], is_method=True) if init else '(inherited)')
        return _entry_of(node, is_method='.' in name)

    def find(self, file: str, name: str) -> tuple[str, ast.AST] | None:
        """(file, node) of the definition behind a name, through imports and base classes."""
        name, _, method = name.partition('.')
        module = self.module(file)
        if name in module.names:
            found = file, module.names[name]
        else:
            source = module.imports.get(name)
            found = self.find(*source) if source else None
        return self._member(*found, method) if found and method else found

    def _member(self, file: str, node: ast.AST, method: str) -> tuple[str, ast.AST] | None:
        """The definition of a method in a class or those of its bases that are in this package."""
        if not isinstance(node, ast.ClassDef):
            return None
        for child in node.body:
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and child.name == method:
                return file, child
        bases = (self.find(file, base.id) for base in node.bases if isinstance(base, ast.Name))
        return next(filter(None, (self._member(*base, method) for base in bases if base)), None)

    def section_of(self, file: str, node: ast.AST) -> Section:
        """The section of `file` that a definition of it is in."""
        return next(section for section in self.sections(file) if node.lineno - 1 in section.lines)


def _entry_of(node: ast.AST, is_method: bool = False) -> Entry:
    if not isinstance(node, ast.FunctionDef):
        return Entry('value')
    if 'property' in map(ast.unparse, node.decorator_list):
        return Entry('property')
    return Entry('def', _signature(node, is_method))


def _signature(node: ast.FunctionDef, is_method: bool = False) -> str:
    """The arguments without annotations and without self, in one style of quotes."""
    args = bare_arguments(node)
    if is_method and 'staticmethod' not in map(ast.unparse, node.decorator_list):
        (args.posonlyargs or args.args).pop(0)
    return f'({ast.unparse(args)})'
