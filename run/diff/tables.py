"""Tables for files that are committed: figures before and after, and upstream's names."""
import json
from collections.abc import Mapping

from run.diff.comparison import Figures
from run.diff.packages import Package

COLUMNS = ('names in place', 'in order', 'statements kept', 'moved', 'changes with reason',
           'changes without reason')
LEGEND = ('Of upstream’s names (functions, classes, methods, attributes, whatever is assigned) how many are in the '
          'same file here, and of those in upstream’s order; of its statements how many are in the function they were '
          'in, and how many unchanged elsewhere; how many changes have a reason in UPSTREAM.md, and how many none.')


def figures_table(before: Mapping[str, Figures] | None, after: Mapping[str, Figures], caption: str) -> str:
    """Markdown: for each file its figures, `before → after` where they differ."""
    files = sorted({*(before or {}), *after}, key=lambda file: ('/' in file, file))
    lines = [caption, '', LEGEND, '', f'| file | {" | ".join(COLUMNS)} |', f'|---|{"---|" * len(COLUMNS)}']
    nothing = Figures(*(0,) * len(Figures._fields))
    sides = [side for side in (before, after) if side is not None]
    totals = [sum(side.values(), nothing) for side in sides]
    for file, *some in [*((file, *(side.get(file) for side in sides)) for file in files), ('**all**', *totals)]:
        if any(figures and (figures.statements or figures.unexplained) for figures in some):
            cells = zip(*(_cells(figures) for figures in some), strict=True)
            lines.append(f'| {file} | ' + ' | '.join(' → '.join(dict.fromkeys(texts)) for texts in cells) + ' |')
    return '\n'.join(lines) + '\n'


def _cells(figures: Figures | None) -> list[str]:
    if figures is None:
        return ['–'] * len(COLUMNS)
    return [f'{figures.in_place} of {figures.names}', str(figures.in_order), f'{figures.kept} of {figures.statements}',
            str(figures.moved), str(figures.explained), str(figures.unexplained)]


def names_table(upstream: Mapping[str, Package]) -> str:
    """JSON: the names of each file, in order; one file a line."""
    lines = [f'{json.dumps(file)}: {json.dumps(upstream[file].names(file))}' for file in sorted(upstream)]
    return '{\n' + ',\n'.join(lines) + '\n}\n'
