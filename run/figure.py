"""What the figures that are no training curves share: their command line, their folder, their tables."""
import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onpolicybaselines.common.errors import UsageError
from run.command_line import check_installed, default_folder, figure_parser

SMOKE = 0.002  # scale: every path, nothing learned
XLA_PAYS = 0.1  # from this scale on compiling does


def parse_args(name: str, title: str, seeds: int, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of a figure; `scale` becomes a number, `folder` is where its results are."""
    args = figure_parser(name, title, seeds).parse_args(argv)
    check_installed('matplotlib')
    args.folder = args.folder or default_folder(name, args.scale)
    smoke = args.scale == 'smoke'
    args.scale, args.seeds = SMOKE if smoke else float(args.scale), args.seeds or (1 if smoke else seeds)
    return args


def run_figure(main: Callable[[], int | None]) -> int:
    """main(); returns the exit status: main's, 130 after Ctrl-C, 2 after what a user can mend, said in a line."""
    try:
        return main() or 0
    except KeyboardInterrupt:
        print('interrupted; the same command begins again what was under way', file=sys.stderr)
        return 130
    except (UsageError, OSError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 2


def write_rows(path: str, rows: Sequence[dict]) -> None:
    """JSON, a line each; whole or not at all."""
    with open(path + '.new', 'w', encoding='utf-8') as fh:
        fh.write('[' + ',\n '.join(map(json.dumps, rows)) + ']\n')
    os.replace(path + '.new', path)


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """A compressed npz file; whole or not at all."""
    with open(path + '.new', 'wb') as fh:
        np.savez_compressed(fh, **arrays)
    os.replace(path + '.new', path)


def read_rows(path: str) -> list[dict]:
    """What `write_rows` wrote."""
    with open(path, encoding='utf-8') as fh:
        return json.load(fh)


def seeds_of(rows: Sequence[dict]) -> set[int]:
    """The seeds of the rows."""
    return {row['seed'] for row in rows}


def already_measured(path: str, scale: float, seeds: int) -> bool:
    """The rows in the file are of that scale, and of as many seeds or more."""
    if not os.path.exists(path):
        return False
    rows = read_rows(path)
    return {row['scale'] for row in rows} == {scale} and len(seeds_of(rows)) >= seeds


def measured(args: argparse.Namespace, name: str, measure: Callable[[float, int], tuple[list[dict], dict]]
             ) -> tuple[list[dict], dict[str, np.ndarray]] | None:
    """(rows, arrays) of the figure's json and npz files, by measure(scale, seeds) first unless they have been measured
    or args.plot_only; None, and a line that says so, if there are none."""
    results, arrays = (os.path.join(args.folder, f'{name}.{suffix}') for suffix in ('json', 'npz'))
    if not args.plot_only and not already_measured(results, args.scale, args.seeds):
        os.makedirs(args.folder, exist_ok=True)
        rows, shown = measure(args.scale, args.seeds)
        write_arrays(arrays, shown)
        write_rows(results, rows)
    if not os.path.exists(results):
        print(f'{name}: nothing to draw, no {results}', file=sys.stderr)
        return None
    with np.load(arrays) as shown:
        return read_rows(results), dict(shown)


def lattice(extent: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """(points [points^2, 2] of the square lattice on [-extent, extent]^2, its axis)."""
    axis = np.linspace(-extent, extent, points, dtype='float32')
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2), axis


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def significant(x: float, digits: int) -> str:
    """So many significant digits, never as a power of ten."""
    return np.format_float_positional(x, digits, fractional=False, trim='-')


def median_and_range(values: Sequence[float], digits: int = 3) -> str:
    """'median (smallest to largest)', which outliers do not spoil."""
    low, middle, high = (f'{x:.{digits}g}' for x in (np.min(values), np.median(values), np.max(values)))
    return middle if low == high else f'{middle} ({low} to {high})'
