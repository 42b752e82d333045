"""Tables in Markdown, written and read, and the numbers in them."""
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; a bar in a cell is escaped."""
    cells = [[cell.replace('|', '\\|') for cell in row] for row in (head, *rows)]
    lines = [cells[0], ['---'] * len(head), *cells[1:]]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


class Table(NamedTuple):
    """A table read again: cells of text."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __str__(self):
        return table(self.head, self.rows)

    def columns(self, *names: str) -> 'Table':
        """Those columns in that order."""
        indices = [self.head.index(name) for name in names]
        return Table(names, [tuple(row[i] for i in indices) for row in self.rows])

    def without(self, *names: str) -> 'Table':
        """All other columns."""
        return self.columns(*(name for name in self.head if name not in names))

    def where(self, condition: Callable[[str], bool]) -> 'Table':
        """The rows whose first cell fulfils it."""
        return self._replace(rows=[row for row in self.rows if condition(row[0])])

    def cells(self, change: Callable[[str], str]) -> 'Table':
        """change(cell) in place of each cell but the first of a row."""
        return self._replace(rows=[(first, *map(change, rest)) for first, *rest in self.rows])

    def lookup(self, *names: str) -> dict[tuple[str, ...], dict[str, str]]:
        """Rows as dicts, by their cells of the columns `names`."""
        rows = [dict(zip(self.head, row, strict=True)) for row in self.rows]
        return {tuple(row[name] for name in names): row for row in rows}


def read_tables(path: str | os.PathLike) -> list[Table]:
    """The tables of a file that `table` wrote, among other text."""
    with open(path, encoding='utf-8') as fh:
        blocks = fh.read().split('\n\n')
    found = []
    for block in blocks:
        lines = [line for line in block.splitlines() if line.startswith('| ')]
        if lines:
            head, _, *rows = (_cells(line) for line in lines)
            found.append(Table(head, rows))
    return found


def _cells(line):
    return tuple(cell.replace('\\|', '|') for cell in line[2:-2].split(' | '))


def significant(x: float, digits: int) -> str:
    """So many significant digits, never as a power of ten."""
    return np.format_float_positional(x, digits, fractional=False, trim='-')


def median_and_range(values: Sequence[float], digits: int = 3) -> str:
    """'median (smallest to largest)', which outliers do not spoil."""
    low, middle, high = (f'{x:.{digits}g}' for x in (np.min(values), np.median(values), np.max(values)))
    return middle if low == high else f'{middle} ({low} to {high})'
