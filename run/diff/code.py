"""HTML of a piece of code beside what became of it."""
import html
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from run.diff.alignment import Text, align, changed_columns
from run.diff.comparison import Place
from run.diff.sections import Section

CONTEXT = 3   # unchanged lines left open around a change
MIN_FOLD = 5  # fewer unchanged lines than that are not worth folding
HEAD = '<table class="code"><colgroup><col><col><col><col></colgroup>'


class Side(NamedTuple):
    """One side of a table.

    text     the whole file
    section  what of it is shown
    kept     statements that the other side has beside them, in the order of its ones
    moved    {place of a statement: where it is on the other side}
    number   HTML of a line number, of the line from 0
    link     HTML of a link to where code is on the other side
    """

    text: Text
    section: Section
    kept: Sequence[int]
    moved: Mapping[tuple[int, str], Place]
    number: Callable[[int], str]
    link: Callable[[Place], str]

    @property
    def lines(self) -> range:
        """The lines shown, without blank ones at the end."""
        first, stop = self.section.lines.start, min(self.section.lines.stop, len(self.text.lines))
        while stop > first and not self.text.lines[stop - 1].strip():
            stop -= 1
        return range(first, stop)

    def kinds(self) -> dict[int, str]:
        """'kept', 'moved' or 'changed' for each line with code."""
        kinds = {}
        for number, statement in enumerate(self.section.statements):
            kind = 'kept' if number in self.kept else 'moved' if statement.place in self.moved else 'changed'
            for line in statement.lines:
                if kinds.get(line) != 'changed':
                    kinds[line] = kind
        return {line: kind for line, kind in kinds.items() if not self.text.is_soft(line)}


def code_table(left: Side | None, right: Side | None) -> str:
    """Both sides as HTML tables with the class `code`.

    Cells of statements that were changed have the class `left` or `right`, those moved `moved`, those with other
    comments, docstrings or annotations only `soft`, places without a line `none`; changed words `differs`. Runs of
    unchanged lines are in <details class="fold">.
    """
    sides = (left, right)
    texts = [[side.text.code(line) for line in side.lines] if side else [] for side in sides]
    first = [side.lines.start if side else 0 for side in sides]
    anchors = [] if None in sides else [
        (a - first[0], b - first[1]) for i, j in zip(left.kept, right.kept, strict=True)
        for a, b in zip(left.section.statements[i].lines, right.section.statements[j].lines, strict=False)
        if a in left.lines and b in right.lines]
    kinds = [side.kinds() if side else {} for side in sides]
    aligned = [(None if i is None else i + first[0], None if j is None else j + first[1], alike)
               for i, j, alike in align(*texts, anchors)]
    marked = _marks(sides, kinds, aligned) if None not in sides else ({}, {})
    links = [_links(side) if side else {} for side in sides]
    rows = []  # (is unchanged, stands beside its like, html)
    for *pair, alike in aligned:
        unchanged = None not in pair and _is_unchanged(sides, kinds, pair)
        css = ('', '') if unchanged else [_css(k, pair[k], kinds[k]) for k in (0, 1)]
        cells = ''.join(_cell(sides[k], pair[k], marked[k], links[k], css[k]) for k in (0, 1))
        rows.append((unchanged, alike, f'<tr class="{"alike" if unchanged else "differ"}">{cells}</tr>'))
    return _folded(rows)


def _is_unchanged(sides: Sequence[Side], kinds: Sequence[Mapping[int, str]], pair: Sequence[int]) -> bool:
    """Whether two lines are the same kept code, or the same text without code."""
    kind, other = (kinds[k].get(pair[k]) for k in (0, 1))
    if kind != other or kind not in ('kept', None):
        return False
    lines = [sides[k].text.code(pair[k]) if kind else sides[k].text.lines[pair[k]] for k in (0, 1)]
    return _plain(lines[0]) == _plain(lines[1])


def _plain(line: str) -> str:
    return ''.join(line.split()).replace('"', "'").replace('onpolicybaselines', 'baselines')


def _css(side: int, line: int | None, kinds: Mapping[int, str]) -> str:
    """The class of a cell."""
    return {'kept': '', 'moved': 'moved', 'changed': ('left', 'right')[side]}.get(kinds.get(line), 'soft')


def _marks(sides: Sequence[Side], kinds: Sequence[Mapping[int, str]], aligned: Sequence[tuple]) -> tuple[dict, dict]:
    """{line: its changed columns} of both sides: of alike lines, and of headers as a whole."""
    blocks = [(range(i, i + 1), range(j, j + 1)) for i, j, alike in aligned
              if alike and kinds[0].get(i) == kinds[1].get(j) == 'changed']
    headers = [{statement.text.partition('(')[0]: statement.lines for statement in side.section.statements
                if statement.text.startswith(('def ', 'class '))} for side in sides]
    blocks += [(headers[0][name], headers[1][name]) for name in headers[0] if name in headers[1]]
    marked = ({}, {})
    for block in blocks:
        texts = ['\n'.join(side.text.code(line) for line in lines) for side, lines in zip(sides, block, strict=True)]
        changed = changed_columns(*texts)
        for k in (0, 1):
            start = 0
            for line in block[k]:
                is_changed = kinds[k].get(line) == 'changed'
                marked[k][line] = {column - start for column in changed[k]} if is_changed else set()
                start += len(sides[k].text.lines[line]) + 1
    return marked


def _links(side: Side) -> dict[int, str]:
    """A link at the first line of each run of moved statements."""
    links, last, kinds = {}, None, side.kinds()
    for (line, _), place in sorted(side.moved.items()):
        if kinds.get(line) == 'moved' and line not in links:
            if not (last and last.file == place.file and 0 < place.line - last.line <= 5):
                links[line] = side.link(place)
            last = place
    return links


def _cell(side: Side | None, line: int | None, marked: Mapping[int, set], links: Mapping[int, str], css: str) -> str:
    """Line number and code of one line, or an empty place."""
    if line is None:
        return '<td class="none"></td><td class="none"></td>'
    chars, marks, soft = side.text.chars[line], marked.get(line, ()), side.text.soft[line]
    styled = [(' '.join(filter(None, (token, 'differs' if k in marks else '',
                                      'note' if k in soft and css != 'soft' else ''))), char)
              for k, (token, char) in enumerate(chars)]
    code = links.get(line, '')
    for style, run in itertools.groupby(styled, lambda pair: pair[0]):
        text = html.escape(''.join(char for _, char in run))
        code += f'<span class="{style}">{text}</span>' if style else text
    indent = next((column for column, (_, char) in enumerate(chars) if char != ' '), 0)
    return f'<td class="{css}">{side.number(line)}<td class="{css}" style="--indent:{indent}">{code}'


def _folded(rows: Sequence[tuple[bool, bool, str]]) -> str:
    """Tables of the rows, with the middle of long unchanged runs in <details>.

    Rows that only fill the place between others share a <tbody>, so that in one column all of the left come first.
    """
    parts, done = [HEAD], 0
    for (unchanged, alike), group in itertools.groupby(rows, lambda row: (row[0], row[0] or row[1])):
        run = [row for *_, row in group]
        start = CONTEXT if done else 0
        done += len(run)
        stop = len(run) - (CONTEXT if done < len(rows) else 0)
        if unchanged and stop - start >= MIN_FOLD:
            run[start:stop] = ['</table>', f'<details class="fold"><summary>{stop - start} unchanged lines</summary>',
                               HEAD, *run[start:stop], '</table></details>', HEAD]
        parts += ['<tbody>', *run] if unchanged or not alike else [f'<tbody>{row}' for row in run]
    return '\n'.join([*parts, '</table>'])
