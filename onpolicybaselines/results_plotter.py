"""Plot the learning curves of any set of run folders, from their monitor files.

    python -m onpolicybaselines.results_plotter --dirs logs/trpo logs/acktr --save curves.png

One panel a task, one curve a kind of run: the mean over its seeds, with a band of one standard deviation where they are
three or more. Kinds are named by algorithm, policy and what else differs between the runs, from their config.json.
Source: openai/baselines `results_plotter.py`.
"""
import os
import os.path as osp
import sys
from collections.abc import Callable, Sequence

import numpy as np
from onpolicybaselines.common import plot_util, plotting
import matplotlib
import matplotlib.pyplot as plt
import pandas

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import check_choice
from onpolicybaselines.common.plot_util import COLORS, Result

X_TIMESTEPS = 'timesteps'
X_EPISODES = 'episodes'
X_WALLTIME = 'walltime_hrs'
Y_REWARD = 'reward'
Y_TIMESTEPS = 'timesteps'
POSSIBLE_X_AXES = [X_TIMESTEPS, X_EPISODES, X_WALLTIME]
EPISODES_WINDOW = 100


def ts2xy(ts: pandas.DataFrame, xaxis: str, yaxis: str) -> tuple[np.ndarray, np.ndarray]:
    """The curve (x, y), one point an episode, of a monitor table `ts`.

    xaxis: one of POSSIBLE_X_AXES. yaxis: Y_REWARD or Y_TIMESTEPS. Raises UsageError for other names.
    """
    check_choice('xaxis', xaxis, POSSIBLE_X_AXES)
    check_choice('yaxis', yaxis, plotting.Y_LABELS)
    if xaxis == X_TIMESTEPS:
        x = np.cumsum(ts.l.values)
    elif xaxis == X_EPISODES:
        x = np.arange(len(ts))
    elif xaxis == X_WALLTIME:
        x = ts.t.values / 3600.
    if yaxis == Y_REWARD:
        y = ts.r.values
    elif yaxis == Y_TIMESTEPS:
        y = ts.l.values
    return x, y


def plot_curves(xy_list: Sequence[tuple[np.ndarray, np.ndarray]], xaxis: str, yaxis: str,
                title: str) -> plt.Figure:
    """Plot single runs: a dot for each episode, a line for the mean of the last EPISODES_WINDOW episodes."""
    fig, ax = plt.subplots(figsize=(8, 3), layout='constrained')
    maxx = max(xy[0][-1] for xy in xy_list)
    minx = 0
    for (i, (x, y)) in enumerate(xy_list):
        color = COLORS[i % len(COLORS)]
        ax.scatter(x, y, s=2, color=color, alpha=.3)
        ax.plot(x, plot_util.smooth(y, EPISODES_WINDOW - 1, mode='causal'), color=color)
    ax.set_xlim(minx, maxx)
    ax.set_title(title)
    ax.set_xlabel(plotting.X_LABELS[xaxis])
    ax.set_ylabel(plotting.Y_LABELS[yaxis])
    ax.grid(True, alpha=.3)
    return fig


def split_by_task(taskpath: Result) -> str:
    """The task of a run: the env_id in its monitor file, or else the last <Name>-v<digits> in its path, or ''."""
    return plotting.task_of(taskpath)


def plot_results(dirs: str | os.PathLike | Sequence[str | os.PathLike], num_timesteps: float | None = None,
                 xaxis: str = X_TIMESTEPS, yaxis: str = Y_REWARD, title: str = '',
                 split_fn: Callable[[Result], str] = split_by_task,
                 group_fn: Callable[[Result], str] | None = None) -> tuple[plt.Figure, np.ndarray]:
    """Plot the mean curves, with a band of one standard deviation of three or more, of all runs at or below
    `dirs`.

    A curve ends where the shortest of its runs does.
    num_timesteps: leave out what came after so many timesteps of a run (default: nothing).
    xaxis, yaxis: see `ts2xy`. title: of the whole figure.
    split_fn, group_fn: panel and kind of a run (default: `plotting.kinds_of`, from config.json, or by path below the
        runs' common folder).
    Returns (figure, axes [rows, cols]). Raises UsageError if there are no runs with at least two episodes.
    """
    dirs = [osp.abspath(osp.expanduser(dir)) for dir in ([dirs] if isinstance(dirs, (str, os.PathLike)) else dirs)]
    results = plotting.with_episodes(plot_util.load_results(dirs, enable_progress=False), num_timesteps)
    if not results:
        raise UsageError(f'no monitor.csv with two episodes or more at or below {", ".join(map(str, dirs))}')
    if group_fn is None:
        root = osp.commonpath([osp.dirname(r.dirname) for r in results])
        kinds = plotting.kinds_of(results, root)
        group_fn = lambda r: kinds[r.dirname]
    fig, axarr = plot_util.plot_results(
        results, xy_fn=lambda r: ts2xy(r.monitor, xaxis, yaxis), split_fn=split_fn, group_fn=group_fn,
        average_group=True, shaded_err=False, smooth_step=10., tiling='symmetric',
        legend_outside=len({group_fn(r) for r in results}) > 6,
        xlabel=plotting.X_LABELS[xaxis], ylabel=plotting.Y_LABELS[yaxis])
    fig.suptitle(title)
    if xaxis != X_WALLTIME:
        plotting.short_ticks(axarr.flat)
    for legend in plotting.legends_of(fig):
        legend.set_title('mean ± std (runs)')
    return fig, axarr

# Example usage in jupyter-notebook
# from onpolicybaselines.results_plotter import plot_results
# %matplotlib inline
# plot_results('./log')
# where ./log is a folder with run folders in it

def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 2, after one line on stderr, if there is nothing to plot."""
    import argparse
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--dirs', help='run folders, or folders with run folders in them', nargs='+',
                        default=['./log'])
    parser.add_argument('--num_timesteps', help='leave out what came later in a run', type=float)
    parser.add_argument('--xaxis', help='variable on the x axis', choices=POSSIBLE_X_AXES, default=X_TIMESTEPS)
    parser.add_argument('--yaxis', help='variable on the y axis', choices=plotting.Y_LABELS, default=Y_REWARD)
    parser.add_argument('--task_name', help='title of the figure', default='')
    parser.add_argument('--save', help='write the figure to this file (png, pdf, svg) instead of showing it')
    args = parser.parse_args(argv)
    if args.save:
        matplotlib.use('Agg')
    try:
        if not args.save:
            plotting.check_display()
        fig, _ = plot_results(args.dirs, args.num_timesteps, args.xaxis, args.yaxis, args.task_name)
        plotting.save(fig, args.save) if args.save else plt.show()
    except UsageError as e:
        print(f'results_plotter: error: {e}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
