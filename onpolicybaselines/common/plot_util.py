"""Load the results of many runs, smooth and plot them. Source: openai/baselines `common/plot_util.py`."""
from onpolicybaselines.common.plotting import (
    MIN_RUNS, axis_labels, colors_of, ema_mean, ema_sums, load_metadata, load_monitor, load_progress, short_ticks,
    tiles)
import matplotlib.pyplot as plt
import os.path as osp
import os
import re
import numpy as np
from numpy.typing import ArrayLike
import pandas
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import check_choice

def smooth(y: ArrayLike, radius: int, mode: str = 'two_sided', valid_only: bool = False) -> np.ndarray:
    """Moving average of `y`, as float64 of the same length.

    mode: 'two_sided' averages over [i - radius, i + radius], 'causal' over [i - radius, i], both cut to the
        signal's ends.
    valid_only: NaN where the window had to be cut.
    Raises ValueError for another mode.
    """
    check_choice('mode', mode, ('two_sided', 'causal'), ValueError)
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


def one_sided_ema(xolds: ArrayLike, yolds: ArrayLike, low: float | None = None,
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
    xolds = np.asarray(xolds)
    low = xolds[0] if low is None else low
    high = xolds[-1] if high is None else high
    xs, sum_ys, count_ys = ema_sums(xolds, yolds, low, high, n, decay_steps)
    return xs, ema_mean(sum_ys, count_ys, low_counts_threshold), count_ys


def symmetric_ema(xolds: ArrayLike, yolds: ArrayLike, low: float | None = None,
                  high: float | None = None, n: int = 512, decay_steps: float = 1.,
                  low_counts_threshold: float = 1e-8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `one_sided_ema`, but averaging over both sides of each grid point."""
    xolds = np.asarray(xolds)
    low = xolds[0] if low is None else low
    high = xolds[-1] if high is None else high
    xs, sum_ys, count_ys = ema_sums(xolds, yolds, low, high, n, decay_steps)
    _, sum_after, count_after = ema_sums(-np.asarray(xolds)[::-1], np.asarray(yolds)[::-1], -high, -low, n,
                                          decay_steps)
    sum_ys += sum_after[::-1]
    count_ys += count_after[::-1]
    return xs, ema_mean(sum_ys, count_ys, low_counts_threshold), count_ys


class Result(NamedTuple):
    """The records of one run folder; None for what it does not have.

    monitor: all its episodes (see `bench.monitor.load_results`). progress: the logger's table.
    dirname: the folder. metadata: the content of its `config.json`.
    """

    monitor: pandas.DataFrame | None = None
    progress: pandas.DataFrame | None = None
    dirname: str | None = None
    metadata: dict[str, Any] | None = None


def load_results(root_dir_or_dirs: str | os.PathLike | Sequence[str | os.PathLike], enable_progress: bool = True,
                 enable_monitor: bool = True, verbose: bool = False) -> list[Result]:
    """Load every run at or below the given folders, in the order of their paths.

    enable_progress: load the logger's progress.json or progress.csv[.gz]. enable_monitor: load *monitor.csv[.gz].
    verbose: print what is found. A file that cannot be read is skipped, with a line on stderr.
    Raises UsageError if one of the folders does not exist.
    """
    if isinstance(root_dir_or_dirs, (str, os.PathLike)):
        root_dir_or_dirs = [root_dir_or_dirs]
    rootdirs = [osp.expanduser(d) for d in root_dir_or_dirs]
    for rootdir in rootdirs:
        if not osp.isdir(rootdir):
            raise UsageError(f'no such folder: {rootdir}')
    dirnames = sorted({dirname for rootdir in rootdirs for dirname, _, _ in os.walk(rootdir)})
    allresults = []
    for dirname in dirnames:
        result = Result(
            monitor=load_monitor(dirname) if enable_monitor else None,
            progress=load_progress(dirname) if enable_progress else None,
            dirname=dirname,
            metadata=load_metadata(dirname),
        )
        if result.monitor is not None or result.progress is not None:
            allresults.append(result)
            if verbose: print(f'loaded {dirname}')
    if verbose: print(f'loaded {len(allresults)} runs')
    return allresults


COLORS = [*plt.colormaps['tab10'].colors, *plt.colormaps['Dark2'].colors]


def default_xy_fn(r: Result) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps so far, and the return of each episode, averaged over its 10 neighbours on each side."""
    x = np.cumsum(r.monitor.l)
    y = smooth(r.monitor.r, radius=10)
    return x, y


def default_split_fn(r: Result) -> str:
    """The name of the run's folder without a final -<digits>: runs that differ in their seed go together."""
    return re.sub(r'-\d+\Z', '', osp.basename(osp.normpath(r.dirname)))  # type: ignore[arg-type, type-var]


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
    shaded_std, shaded_err: bands of one standard deviation, and of one standard error, around the mean of three runs
        or more.
    figsize: inches (default: 5 x 3.75 a panel, and 3 for a legend outside).
    legend_outside: one legend to the right of all panels instead of one inside each.
    resample: if not 0, size of the grid curves are resampled to by `symmetric_ema` (means always are, by
        default to 512 points).
    smooth_step: the resampling's decay_steps.
    tiling: panels 'vertical' (also None), 'horizontal' or 'symmetric', which is nearly square.
    xlabel, ylabel: labels of the lowest panels, and of the leftmost (default: what `default_xy_fn` gives; none for
        another xy_fn).
    Returns (figure, axes [rows, cols]). Raises UsageError if there is nothing to plot, in all or for one run,
    for an unknown tiling, and if the runs of a group have no range in common.
    """
    xlabel, ylabel = axis_labels(xlabel, ylabel, xy_fn is default_xy_fn)
    if split_fn is None: split_fn = lambda _: ''
    if group_fn is None: group_fn = lambda _: ''
    sk2r = defaultdict(list) # splitkey2results
    for result in allresults:
        splitkey = split_fn(result)
        sk2r[splitkey].append(result)
    if not sk2r:
        raise UsageError('there are no results to plot')
    nrows, ncols = tiles(len(sk2r), tiling)
    figsize = figsize or (5 * ncols + 3 * legend_outside, 3.75 * nrows)

    f, axarr = plt.subplots(nrows, ncols, squeeze=False, figsize=figsize, layout='constrained')

    groups = sorted({group_fn(result) for sresults in sk2r.values() for result in sresults}, key=str)
    colors = colors_of(groups, COLORS)

    default_samples = 512
    if average_group:
        resample = resample or default_samples

    for (isplit, sk) in enumerate(sorted(sk2r, key=str)):
        g2c = defaultdict(int)
        sresults = sk2r[sk]
        gresults = defaultdict(list)
        ax = axarr.flat[isplit]
        for result in sorted(sresults, key=lambda result: str(group_fn(result))):
            group = group_fn(result)
            g2c[group] += 1
            x, y = xy_fn(result)
            if len(y) == 0:
                raise UsageError(f'no data to plot in {result.dirname}: leave it out')
            if x is None: x = np.arange(len(y))
            x, y = map(np.asarray, (x, y))
            if average_group:
                gresults[group].append((x, y))
            else:
                if resample:
                    x, y, _ = symmetric_ema(x, y, x[0], x[-1], resample, decay_steps=smooth_step)
                label = str(group) if g2c[group] == 1 else None
                ax.plot(x, y, color=colors[group], label=label)
        for group, xys in gresults.items():
            color = colors[group]
            label = '%s (%i)' % (group, g2c[group])
            origxs = [xy[0] for xy in xys]
            low = max(x[0] for x in origxs)
            high = min(x[-1] for x in origxs)
            if not low < high:
                raise UsageError(f'the runs of {label!r} have no range of x in common: plot them apart or leave out '
                                 'the short ones')
            usex = np.linspace(low, high, resample)
            ys = []
            for (x, y) in xys:
                # the grid lies inside every run, so a low weight only means that the next data point is far
                ys.append(symmetric_ema(x, y, low, high, resample, smooth_step, low_counts_threshold=0)[1])
            ymean = np.mean(ys, axis=0)
            ystd = np.std(ys, axis=0)
            ystderr = ystd / np.sqrt(len(ys))
            ax.plot(usex, ymean, color=color, label=label)
            if shaded_err and len(ys) >= MIN_RUNS:
                ax.fill_between(usex, ymean - ystderr, ymean + ystderr, color=color, alpha=.4, linewidth=0)
            if shaded_std and len(ys) >= MIN_RUNS:
                ax.fill_between(usex, ymean - ystd,    ymean + ystd,    color=color, alpha=.2, linewidth=0)

        if groups != [''] and not legend_outside:
            ax.legend()
        ax.set_title(str(sk))
        ax.grid(True, alpha=.3)
        # the lowest panel of each column
        if xlabel is not None and isplit + ncols >= len(sk2r):
            ax.set_xlabel(xlabel)
        if ylabel is not None and isplit % ncols == 0:
            ax.set_ylabel(ylabel)

    if xy_fn is default_xy_fn: short_ticks(axarr.flat)
    for ax in axarr.flat[len(sk2r):]:
        ax.set_visible(False)
    if groups != [''] and legend_outside:
        label2line = {line.get_label(): line for ax in axarr.flat for line in ax.get_legend_handles_labels()[0]}
        f.legend(label2line.values(), label2line.keys(), loc='outside right upper')
    return f, axarr
