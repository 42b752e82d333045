"""Load the results of many runs, smooth and plot them. Source: openai/baselines `common/plot_util.py`."""
import json
import math
import os
import os.path as osp
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas

from onpolicybaselines.bench import monitor
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.logger import read_csv, read_json


def smooth(y: np.ndarray, radius: int, mode: str = 'two_sided', valid_only: bool = False) -> np.ndarray:
    """Moving average of `y`, as float64 of the same length.

    mode: 'two_sided' averages over [i - radius, i + radius], 'causal' over [i - radius, i], both cut to the
        signal's ends.
    valid_only: NaN where the window had to be cut.
    Raises ValueError for another mode.
    """
    if mode not in ('two_sided', 'causal'):
        raise ValueError(f"mode is {mode!r}: use 'two_sided' or 'causal'")
    y = np.asarray(y, dtype=np.float64)
    if len(y) == 0:
        return y
    ahead = radius if mode == 'two_sided' else 0
    window = np.ones(radius + 1 + ahead)
    full = slice(ahead, ahead + len(y))
    counts = np.convolve(np.ones_like(y), window)[full]
    out = np.convolve(y, window)[full] / counts
    if valid_only:
        out[counts < len(window)] = np.nan
    return out


def _ema_sums(xolds: Sequence[float], yolds: Sequence[float], low: float, high: float, n: int,
              decay_steps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid, and at each of its points the decayed sums of the y values so far and of their weights."""
    xolds, yolds = np.asarray(xolds, dtype=np.float64), np.asarray(yolds, dtype=np.float64)
    if len(xolds) != len(yolds):
        raise ValueError(f'xolds and yolds differ in length: {len(xolds)} and {len(yolds)}')
    if n < 2 or not xolds[0] <= low < high <= xolds[-1]:
        raise ValueError(f'cannot resample data on [{xolds[0]}, {xolds[-1]}] to {n} points on [{low}, {high}]: '
                         'it takes low < high inside the data, and 2 points or more')
    xnews = np.linspace(low, high, n)
    decay_period = (high - low) / (n - 1) * decay_steps
    grid_idx = np.searchsorted(xnews, xolds)  # where each data point is first seen; n if it never is
    seen = (grid_idx < n) & ~np.isnan(yolds)
    xolds, yolds, grid_idx = xolds[seen], yolds[seen], grid_idx[seen]
    weights = np.exp((xolds - xnews[grid_idx]) / decay_period)
    sum_ys = np.bincount(grid_idx, weights * yolds, minlength=n)
    count_ys = np.bincount(grid_idx, weights, minlength=n)
    interstep_decay = np.exp(-1. / decay_steps)
    for i in range(1, n):
        sum_ys[i] += interstep_decay * sum_ys[i - 1]
        count_ys[i] += interstep_decay * count_ys[i - 1]
    return xnews, sum_ys, count_ys


def _ema_mean(sum_ys: np.ndarray, count_ys: np.ndarray, low_counts_threshold: float) -> np.ndarray:
    seen = (count_ys > 0) & (count_ys >= low_counts_threshold)
    return np.divide(sum_ys, count_ys, out=np.full_like(sum_ys, np.nan), where=seen)


def one_sided_ema(xolds: Sequence[float], yolds: Sequence[float], low: float | None = None,
                  high: float | None = None, n: int = 512, decay_steps: float = 1.,
                  low_counts_threshold: float = 1e-8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Causal exponential moving average, resampled to an even grid.

    xolds, yolds: the data, xolds ascending; NaN in yolds is no data.
    low, high: ends of the grid, inside the data (default: its ends).
    n: number of grid points.
    decay_steps: decay time, in grid steps.
    low_counts_threshold: the average is NaN where its total weight is below this.
    Returns (xs, ys, count_ys), [n] each: the grid, the averages and their total weights.
    Raises ValueError if the grid does not lie in the data.
    """
    low = xolds[0] if low is None else low
    high = xolds[-1] if high is None else high
    xs, sum_ys, count_ys = _ema_sums(xolds, yolds, low, high, n, decay_steps)
    return xs, _ema_mean(sum_ys, count_ys, low_counts_threshold), count_ys


def symmetric_ema(xolds: Sequence[float], yolds: Sequence[float], low: float | None = None,
                  high: float | None = None, n: int = 512, decay_steps: float = 1.,
                  low_counts_threshold: float = 1e-8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `one_sided_ema`, but averaging over both sides of each grid point."""
    low = xolds[0] if low is None else low
    high = xolds[-1] if high is None else high
    xs, sum_ys, count_ys = _ema_sums(xolds, yolds, low, high, n, decay_steps)
    _, sum_after, count_after = _ema_sums(-np.asarray(xolds)[::-1], np.asarray(yolds)[::-1], -high, -low, n,
                                          decay_steps)
    sum_ys += sum_after[::-1]
    count_ys += count_after[::-1]
    return xs, _ema_mean(sum_ys, count_ys, low_counts_threshold), count_ys


class Result(NamedTuple):
    """The records of one run folder; None for what it does not have.

    monitor: all its episodes (see `bench.monitor.load_results`). progress: the logger's table.
    dirname: the folder. metadata: the content of its `config.json`.
    """

    monitor: pandas.DataFrame | None = None
    progress: pandas.DataFrame | None = None
    dirname: str | None = None
    metadata: dict[str, Any] | None = None


def load_results(root_dir_or_dirs: str | Sequence[str], enable_progress: bool = True,
                 enable_monitor: bool = True, verbose: bool = False) -> list[Result]:
    """Load every run at or below the given folders, in the order of their paths.

    enable_progress: load the logger's progress.json or progress.csv[.gz]. enable_monitor: load *monitor.csv[.gz].
    verbose: print what is found. A file that cannot be read is skipped, with a line on stderr.
    Raises UsageError if one of the folders does not exist.
    """
    if isinstance(root_dir_or_dirs, str):
        root_dir_or_dirs = [root_dir_or_dirs]
    rootdirs = [osp.expanduser(d) for d in root_dir_or_dirs]
    for rootdir in rootdirs:
        if not osp.isdir(rootdir):
            raise UsageError(f'no such folder: {rootdir}')
    dirnames = sorted({dirname for rootdir in rootdirs for dirname, _, _ in os.walk(rootdir)})
    allresults = []
    for dirname in dirnames:
        result = Result(
            monitor=_load_monitor(dirname) if enable_monitor else None,
            progress=_load_progress(dirname) if enable_progress else None,
            dirname=dirname,
            metadata=_load_file(osp.join(dirname, 'config.json'), _read_metadata),
        )
        if result.monitor is not None or result.progress is not None:
            allresults.append(result)
            if verbose: print(f'loaded {dirname}')
    if verbose: print(f'loaded {len(allresults)} runs')
    return allresults


def _load_monitor(dirname: str) -> pandas.DataFrame | None:
    return _load_file(dirname, monitor.load_results) if monitor.get_monitor_files(dirname) else None


def _load_progress(dirname: str) -> pandas.DataFrame | None:
    for name, read in [('progress.json', read_json), ('progress.csv', read_csv), ('progress.csv.gz', read_csv)]:
        progress = _load_file(osp.join(dirname, name), read)
        if progress is not None:
            return progress
    return None


def _read_metadata(path: str) -> dict[str, Any]:
    with open(path, encoding='utf-8') as fh:
        return json.load(fh)


def _load_file(path: str, read: Callable[[str], Any]) -> Any:
    """read(path); None if there is no such path, or, saying so, if it is damaged."""
    if not osp.exists(path):
        return None
    try:
        return read(path)
    except (ValueError, OSError, monitor.LoadMonitorResultsError) as e:
        print(f'skipping {path}: {e}', file=sys.stderr)
        return None


COLORS = [*plt.colormaps['tab10'].colors, *plt.colormaps['Dark2'].colors]


def default_xy_fn(r: Result) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps so far, and the return of each episode, averaged over its 10 neighbours on each side."""
    x = np.cumsum(r.monitor.l)
    y = smooth(r.monitor.r, radius=10)
    return x, y


def default_split_fn(r: Result) -> str:
    """The name of the run's folder without a final -<digits>: runs that differ in their seed go together."""
    return re.sub(r'-\d+\Z', '', osp.basename(osp.normpath(r.dirname)))


def plot_results(
    allresults: Iterable[Result], *,
    xy_fn: Callable[[Result], tuple] = default_xy_fn,
    split_fn: Callable[[Result], Hashable] | None = default_split_fn,
    group_fn: Callable[[Result], Hashable] | None = default_split_fn,
    average_group: bool = False,
    shaded_std: bool = True,
    shaded_err: bool = True,
    figsize: tuple[float, float] | None = None,
    legend_outside: bool = False,
    resample: int = 0,
    smooth_step: float = 1.0,
    tiling: str | None = 'vertical',
    xlabel: str | None = None,
    ylabel: str | None = None
) -> tuple[plt.Figure, np.ndarray]:
    """Plot the curves of many runs.

    xy_fn: the curve of a run, (x, y); x ascending, or None for 0, 1, 2...
    split_fn: key of the panel a run belongs to, also the panel's title (None: one panel).
    group_fn: key of the group a run belongs to; a group has one colour in all panels (None: one group).
    average_group: one mean curve for each group instead of all curves, over the range all its runs cover.
    shaded_std, shaded_err: bands of one standard deviation, and of one standard error, around the mean.
    figsize: inches (default: 5 x 3.75 a panel, and 3 for a legend outside).
    legend_outside: one legend to the right of all panels instead of one inside each.
    resample: if not 0, size of the grid curves are resampled to by `symmetric_ema` (means always are, by
        default to 512 points).
    smooth_step: the resampling's decay_steps.
    tiling: panels 'vertical' (also None), 'horizontal' or 'symmetric', which is nearly square.
    xlabel, ylabel: labels of the lowest panels, and of the leftmost.
    Returns (figure, axes [rows, cols]). Raises UsageError if there is nothing to plot, in all or for one run,
    for an unknown tiling, and if the runs of a group have no range in common.
    """
    if split_fn is None: split_fn = lambda _: ''
    if group_fn is None: group_fn = lambda _: ''
    sk2g2xys = defaultdict(lambda: defaultdict(list))  # panel -> group -> curves
    for result in allresults:
        x, y = xy_fn(result)
        if len(y) == 0:
            raise UsageError(f'no data to plot in {result.dirname}: leave it out')
        xy = np.arange(len(y)) if x is None else np.asarray(x), np.asarray(y)
        sk2g2xys[split_fn(result)][group_fn(result)].append(xy)
    if not sk2g2xys:
        raise UsageError('there are no results to plot')
    groups = sorted({group for g2xys in sk2g2xys.values() for group in g2xys}, key=str)
    group2color = {group: COLORS[i % len(COLORS)] for i, group in enumerate(groups)}

    f, axarr = _subplots(len(sk2g2xys), tiling, figsize, 3 * legend_outside, xlabel, ylabel)
    for ax, sk in zip(axarr.flat, sorted(sk2g2xys, key=str), strict=False):
        for group, xys in sorted(sk2g2xys[sk].items(), key=lambda kv: str(kv[0])):
            color = group2color[group]
            if average_group:
                label = f'{group} ({len(xys)})'
                _plot_mean(ax, xys, resample or 512, smooth_step, shaded_std, shaded_err, color, label)
            else:
                _plot_curves(ax, xys, resample, smooth_step, color, label=str(group))
        ax.set_title(str(sk))
        if groups != [''] and not legend_outside:
            ax.legend()
    if groups != [''] and legend_outside:
        label2line = {line.get_label(): line for ax in axarr.flat for line in ax.get_legend_handles_labels()[0]}
        f.legend(label2line.values(), label2line.keys(), loc='outside right upper')
    return f, axarr


def _subplots(npanels: int, tiling: str | None, figsize: tuple[float, float] | None, extra_width: float,
              xlabel: str | None, ylabel: str | None) -> tuple[plt.Figure, np.ndarray]:
    """An empty figure with `npanels` visible panels, filled row by row."""
    tiling2ncols = {'vertical': 1, None: 1, 'horizontal': npanels, 'symmetric': math.ceil(math.sqrt(npanels))}
    if tiling not in tiling2ncols:
        raise UsageError(f"tiling is {tiling!r}: use 'vertical', 'horizontal' or 'symmetric'")
    ncols = tiling2ncols[tiling]
    nrows = math.ceil(npanels / ncols)
    figsize = figsize or (5 * ncols + extra_width, 3.75 * nrows)
    f, axarr = plt.subplots(nrows, ncols, squeeze=False, figsize=figsize, layout='constrained')
    for i, ax in enumerate(axarr.flat):
        ax.grid(True, alpha=.3)
        ax.set_visible(i < npanels)
        if xlabel is not None and i + ncols >= npanels: ax.set_xlabel(xlabel)
        if ylabel is not None and i % ncols == 0: ax.set_ylabel(ylabel)
    return f, axarr


def _plot_curves(ax: plt.Axes, xys: list[tuple], resample: int, smooth_step: float, color: tuple,
                 label: str) -> None:
    for i, (x, y) in enumerate(xys):
        if resample:
            x, y, _ = symmetric_ema(x, y, n=resample, decay_steps=smooth_step)
        ax.plot(x, y, color=color, label=None if i else label)


def _plot_mean(ax: plt.Axes, xys: list[tuple], resample: int, smooth_step: float, shaded_std: bool,
               shaded_err: bool, color: tuple, label: str) -> None:
    low = max(x[0] for x, _ in xys)
    high = min(x[-1] for x, _ in xys)
    if not low < high:
        raise UsageError(f'the runs of {label!r} have no range of x in common: plot them apart or leave out '
                         'the short ones')
    # The grid lies inside every run, so a low weight only means that the next data point is far.
    usex = np.linspace(low, high, resample)
    ys = [symmetric_ema(x, y, low, high, resample, smooth_step, low_counts_threshold=0)[1] for x, y in xys]
    ymean = np.mean(ys, axis=0)
    ystd = np.std(ys, axis=0)
    ystderr = ystd / np.sqrt(len(ys))
    ax.plot(usex, ymean, color=color, label=label)
    if shaded_err:
        ax.fill_between(usex, ymean - ystderr, ymean + ystderr, color=color, alpha=.4, linewidth=0)
    if shaded_std:
        ax.fill_between(usex, ymean - ystd, ymean + ystd, color=color, alpha=.2, linewidth=0)
