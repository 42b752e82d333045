"""Two versions of a Python file side by side: alike lines aligned, changed words marked, what is unchanged folded."""
import ast
import difflib
import html
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES

CONTEXT = 3       # unchanged lines left open around a change
MIN_FOLD = 5      # fewer unchanged lines than that are not worth folding
MIN_ALIKE = 0.45  # share of two lines' words, weighted by rarity, from which on they stand side by side


def code_table(left: str, right: str) -> str:
    """The two sources as HTML tables with the class `code`; white space does not count as a change.

    Cells that are not the same on both sides have the class `left` or `right`, places without a line `none`, changed
    words `differs`; runs of unchanged lines are in <details class="fold">.
    """
    texts = [text.expandtabs(4).rstrip('\n').split('\n') for text in (left, right)]
    colours = [_coloured('\n'.join(lines)) for lines in texts]
    definitions = common_definitions(left, right)
    aligned = align(*texts, definitions)
    blocks = [(range(i, i + 1), range(j, j + 1)) for i, j, alike in aligned if alike]
    blocks += [(mine.header, theirs.header) for mine, theirs in definitions]
    marked = _marks(texts, blocks)
    rows = []  # (is unchanged, html)
    for *pair, _ in aligned:
        unchanged = None not in pair and len({''.join(texts[k][pair[k]].split()) for k in (0, 1)}) == 1
        sides = ('', '') if unchanged else ('left', 'right')
        cells = ''.join(_cell(colours[k], pair[k], marked[k], sides[k]) for k in (0, 1))
        rows.append((unchanged, f'<tr>{cells}</tr>'))
    return _folded(rows)


# ================================================================
# Alignment
# ================================================================


class Definition(NamedTuple):
    """A class or function: the lines, from 0, of its header and of the whole."""

    header: range
    lines: range


def common_definitions(left: str, right: str) -> list[tuple[Definition, Definition]]:
    """The classes and functions, nested ones included, that both sources define under one qualified name."""
    mine, theirs = (dict(_definitions(ast.parse(code), code.split('\n'))) for code in (left, right))
    return [(mine[name], theirs[name]) for name in mine if name in theirs]


def _definitions(node: ast.AST, lines: Sequence[str], prefix: str = '') -> Iterator[tuple[str, Definition]]:
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            name = f'{prefix}{child.name}.'
            start, stop = child.lineno - 1, max(child.lineno, child.body[0].lineno - 1)
            while stop > start + 1 and re.match(r'\s*(#|$)', lines[stop - 1]):
                stop -= 1
            yield name, Definition(range(start, stop), range(start, child.end_lineno))
        yield from _definitions(child, lines, name)


def align(left: Sequence[str], right: Sequence[str], definitions: Sequence[tuple[Definition, Definition]] = ()
          ) -> list[tuple[int | None, int | None, bool]]:
    """(line of left, line of right, whether they are alike), in order, with the most alike lines side by side.

    Lines are alike by the words they share, rare ones counting more, but not if they belong to different ones of the
    `definitions` of both files, whose first lines are put side by side. Lines without a partner fill the places
    between; None is a gap.
    """
    gain = _gains(left, right)
    scopes = np.zeros(len(left), int), np.zeros(len(right), int)
    for number, pair in enumerate(definitions, 1):  # inner ones come after outer ones
        for scope, definition in zip(scopes, pair, strict=True):
            scope[definition.lines] = number
    gain[scopes[0][:, None] != scopes[1]] = 0
    for mine, theirs in definitions:
        gain[mine.header.start, theirs.header.start] += 100

    aligned, i, j = [], 0, 0
    for next_i, next_j in [*_best_pairs(gain), (len(left), len(right))]:
        aligned += [(*gap, False) for gap in itertools.zip_longest(range(i, next_i), range(j, next_j))]
        aligned.append((next_i, next_j, True))
        i, j = next_i + 1, next_j + 1
    return aligned[:-1]


def _gains(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
    """[left, right]: what setting two lines side by side is worth, 0 if they have too little in common."""
    bags = [set(re.findall(r'\w+|[^\w\s]', line)) if re.search(r'\w', line) else set() for line in (*left, *right)]
    count = Counter(itertools.chain(*bags))
    column = {word: k for k, word in enumerate(count)}
    has = np.zeros((len(bags), len(column)))
    for k, bag in enumerate(bags):
        has[k, [column[word] for word in bag]] = 1
    weight = np.log(1 + len(bags) / np.array([*count.values()], float))
    shared = (has[:len(left)] * weight) @ has[len(left):].T
    total = has @ weight
    alike = 2 * shared / np.maximum(total[:len(left), None] + total[len(left):], 1e-9)
    return np.where(alike >= MIN_ALIKE, shared * alike, 0)


def _best_pairs(gain: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), both rising, with the largest sum of gain[i, j] (dynamic programming)."""
    best = np.zeros(np.add(gain.shape, 1))  # of the first i and j lines
    for i, row in enumerate(gain):
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], best[i, :-1] + row))
    pairs = []
    i, j = gain.shape
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def changed_columns(left: str, right: str) -> tuple[set[int], set[int]]:
    """The columns of two texts that make them different, by words; white space does not."""
    words = [re.findall(r'\w+|\s+|.', text) for text in (left, right)]
    ends = [[0, *itertools.accumulate(map(len, ws))] for ws in words]
    columns = (set(), set())
    matcher = difflib.SequenceMatcher(None, *([w.strip() for w in ws] for ws in words), autojunk=False)
    for op, a, b, c, d in matcher.get_opcodes():
        if op != 'equal':
            for k, some in ((0, range(a, b)), (1, range(c, d))):
                columns[k].update(*(range(ends[k][w], ends[k][w + 1]) for w in some if words[k][w].strip()))
    return columns


def _marks(texts: Sequence[Sequence[str]], blocks: Iterable[tuple[range, range]]) -> tuple[dict, dict]:
    """{line: its changed columns} of both sides; blocks of lines are compared as a whole, later ones decide."""
    marked = ({}, {})
    for block in blocks:
        changed = changed_columns(*('\n'.join(texts[k][line] for line in block[k]) for k in (0, 1)))
        for k in (0, 1):
            start = 0
            for line in block[k]:
                marked[k][line] = {column - start for column in changed[k]}
                start += len(texts[k][line]) + 1
    return marked


# ================================================================
# HTML
# ================================================================


def _coloured(code: str) -> list[list[tuple[str, str]]]:
    """For each line its (CSS class, text) pieces."""
    lines = [[]]
    for token, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        while token not in STANDARD_TYPES:
            token = token.parent
        for k, piece in enumerate(value.split('\n')):
            if k: lines.append([])
            if piece: lines[-1].append((STANDARD_TYPES[token], piece))
    return lines


def _cell(colours: list, line: int | None, marked: dict[int, set[int]], side: str) -> str:
    """Line number and code of one line, or an empty place."""
    if line is None:
        return '<td class="none"></td><td class="none"></td>'
    chars = [(css, char) for css, piece in colours[line] for char in piece]
    marks = marked.get(line, ())
    styled = [(f'{css} differs' if column in marks else css, char) for column, (css, char) in enumerate(chars)]
    code = ''
    for css, run in itertools.groupby(styled, lambda pair: pair[0]):
        text = html.escape(''.join(char for _, char in run))
        code += f'<span class="{css.strip()}">{text}</span>' if css else text
    indent = next((column for column, (_, char) in enumerate(chars) if char != ' '), 0)
    return f'<td class="{side}">{line + 1}</td><td class="{side}" style="--indent:{indent}">{code}</td>'


def _folded(rows: Sequence[tuple[bool, str]]) -> str:
    """Tables of the rows, with the middle of long unchanged runs in <details>."""
    head = '<table class="code"><colgroup><col><col><col><col></colgroup>'
    parts, done = [head], 0
    for unchanged, run in itertools.groupby(rows, lambda row: row[0]):
        run = [row for _, row in run]
        start = CONTEXT if done else 0
        done += len(run)
        stop = len(run) - (CONTEXT if done < len(rows) else 0)
        if unchanged and stop - start >= MIN_FOLD:
            run[start:stop] = ['</table>', f'<details class="fold"><summary>{stop - start} unchanged lines</summary>',
                               head, *run[start:stop], '</table></details>', head]
        parts += run
    return '\n'.join([*parts, '</table>'])
