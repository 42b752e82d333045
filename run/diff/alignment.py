"""Lines of two pieces of code side by side: the most alike ones, and the words that make them different."""
import ast
import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from onpolicybaselines.common.extras import needed_by_module
from run.diff.sequences import best_pairs

try:
    from pygments.lexers import PythonLexer
    from pygments.token import STANDARD_TYPES
except ImportError:
    needed_by_module('pygments')

MIN_ALIKE = 0.45  # share of two lines' words, weighted by rarity, from which on they stand side by side
TEXT = {'c', 'c1', 'ch', 'cm', 'sd'}  # pygments' classes of comments and docstrings


class Text:
    """A source in lines: their (CSS class, character)s, and the columns that are comment, docstring or annotation."""

    def __init__(self, code: str):
        self.lines = code.rstrip('\n').split('\n')
        self.chars = _coloured('\n'.join(self.lines))
        self.soft = [{k for k, (css, _) in enumerate(chars) if css in TEXT} for chars in self.chars]
        for start, stop in _annotations(ast.parse(code), self.lines):
            for line in range(start[0], stop[0] + 1):
                first = start[1] if line == start[0] else 0
                last = stop[1] if line == stop[0] else len(self.lines[line])
                self.soft[line].update(range(first, last))

    def code(self, line: int) -> str:
        """A line with spaces for what is soft."""
        return ''.join(' ' if k in self.soft[line] else char for k, char in enumerate(self.lines[line]))

    def is_soft(self, line: int) -> bool:
        """Whether a line has no code: it is blank, a comment, or of a docstring."""
        return not self.code(line).strip()


def _coloured(code: str) -> list[list[tuple[str, str]]]:
    """For each line its (CSS class, character)s."""
    lines = [[]]
    for token, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        while token not in STANDARD_TYPES:
            token = token.parent
        for char in value:
            if char == '\n':
                lines.append([])
            else:
                lines[-1].append((STANDARD_TYPES[token], char))
    return lines


def _annotations(tree: ast.AST, lines: Sequence[str]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """((line, column), (line, column after it)) of each annotation, from 0, with the sign before it."""
    def place(line, offset):
        return line - 1, len(lines[line - 1].encode()[:offset].decode())
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            line, column = place(node.lineno, node.col_offset)
            yield (line, column + len(node.arg)), place(node.annotation.end_lineno, node.annotation.end_col_offset)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns:
            line, column = place(node.returns.lineno, node.returns.col_offset)
            arrow = lines[line].rfind('->', 0, column)
            yield (line, column if arrow < 0 else arrow), place(node.returns.end_lineno, node.returns.end_col_offset)
        elif isinstance(node, ast.AnnAssign):
            last = node.annotation if node.value else node
            start = node.target if node.value else None
            yield (place(start.end_lineno, start.end_col_offset) if start else place(node.lineno, node.col_offset),
                   place(last.end_lineno, last.end_col_offset))


def align(left: Sequence[str], right: Sequence[str], anchors: Sequence[tuple[int, int]] = ()
          ) -> list[tuple[int | None, int | None, bool]]:
    """(line of left, line of right, whether they are alike), in order, with the most alike lines side by side.

    Lines are alike by the words they share, rare ones counting more; `anchors` are pairs known to belong together.
    Lines without a partner fill the places between, code beside code and empty lines beside empty ones; None is a gap.
    """
    gain = gains(left, right)
    for i, j in anchors:
        gain[i, j] += 100
    aligned, i, j = [], 0, 0
    for next_i, next_j in [*best_pairs(gain), (len(left), len(right))]:
        while i < next_i or j < next_j:
            has_i, has_j = i < next_i, j < next_j
            if has_i and has_j and bool(left[i].strip()) != bool(right[j].strip()):
                has_i, has_j = not left[i].strip(), not right[j].strip()
            aligned.append((i if has_i else None, j if has_j else None, False))
            i, j = i + has_i, j + has_j
        aligned.append((next_i, next_j, True))
        i, j = next_i + 1, next_j + 1
    return aligned[:-1]


def gains(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
    """[left, right]: what setting two lines side by side is worth, 0 if they have too little in common.

    Lines that assign to the same name have enough in common.
    """
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
    targets = [re.match(r'\s*([\w., \[\]]+?)\s*=[^=]', line) for line in (*left, *right)]
    codes = np.array([column.get(m[1], 0) + 1 if m and m[1] in column else 0 for m in targets])
    assigned = (codes[:len(left), None] == codes[len(left):]) & (codes[len(left):] > 0)
    return np.where(alike >= MIN_ALIKE, shared * alike, 0) + assigned * 2 * shared


def changed_columns(left: str, right: str) -> tuple[set[int], set[int]]:
    """The columns of two texts that make them different, by words; white space and the package's name do not."""
    words = [re.findall(r'\w+|\s+|.', text) for text in (left, right)]
    ends = [[0, *itertools.accumulate(map(len, ws))] for ws in words]
    columns = (set(), set())
    matcher = difflib.SequenceMatcher(None, *([_plain(w) for w in ws] for ws in words), autojunk=False)
    for op, a, b, c, d in matcher.get_opcodes():
        if op != 'equal':
            for k, some in ((0, range(a, b)), (1, range(c, d))):
                columns[k].update(*(range(ends[k][w], ends[k][w + 1]) for w in some if words[k][w].strip()))
    return columns


def _plain(word: str) -> str:
    return {'onpolicybaselines': 'baselines', '"': "'"}.get(word, word.strip())
