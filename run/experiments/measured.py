"""Measurements of figures that are no training curves: made once, then read again."""
import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from onpolicybaselines.common.files import replacing

XLA_PAYS = 0.1  # from this scale on compiling does


def write_rows(path: str, rows: Sequence[dict]) -> None:
    """JSON, a line each; whole or not at all."""
    with replacing(path, encoding='utf-8') as fh:
        fh.write('[' + ',\n '.join(map(json.dumps, rows)) + ']\n')


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """A compressed npz file; whole or not at all."""
    with replacing(path, 'wb') as fh:
        np.savez_compressed(fh, **arrays)


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
        os.makedirs(args.folder, exist_ok=True)  # a folder that cannot be is no news after hours
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
