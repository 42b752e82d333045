"""What `plot_util` and `results_plotter` are made of: moving averages on a grid, the files of a run, panels."""
import itertools
import json
import math
import os.path as osp
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from onpolicybaselines.bench import monitor
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.extras import needed_by_module
from onpolicybaselines.common.keywords import check_choice
from onpolicybaselines.common.tables import naming, read_text
from onpolicybaselines.logger import read_csv, read_json

try:
    import matplotlib.pyplot as plt
    import pandas
    from matplotlib.ticker import EngFormatter
except ImportError:
    needed_by_module('matplotlib', 'pandas')

# what axes show, by the names they have on the command line
X_LABELS = {'timesteps': 'Environment timesteps', 'episodes': 'Episodes', 'walltime_hrs': 'Wall time (hours)'}
Y_LABELS = {'reward': 'Episode return', 'timesteps': 'Episode length (timesteps)'}
POLICY_COLORS = {'gaussian': 0, 'gmm': 2, 'flow': 3}  # which of `plot_util.COLORS`
MIN_RUNS = 3  # of a band around their mean, or of an interval
# of the arguments of a run, what has an effect on its numbers
ARGS = ('num_env', 'reward_scale')
# and of the keywords, what has none
WITHOUT_EFFECT = ('xla', 'check_every', 'log_interval', 'save_interval')


# ================================================================
# Moving averages
# ================================================================

def ema_sums(xolds: ArrayLike, yolds: ArrayLike, low: float, high: float, n: int,
             decay_steps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(grid [n], and at each of its points the decayed sums of the y values so far and of their weights).

    Raises ValueError if the grid does not lie in the data.
    """
    xolds, yolds = np.asarray(xolds, np.float64), np.asarray(yolds, np.float64)
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


def ema_mean(sum_ys: np.ndarray, count_ys: np.ndarray, low_counts_threshold: float) -> np.ndarray:
    """Averages at the points of the grid, NaN where they have less weight than the threshold, or none."""
    seen = (count_ys > 0) & (count_ys >= low_counts_threshold)
    return np.divide(sum_ys, count_ys, out=np.full_like(sum_ys, np.nan), where=seen)


# ================================================================
# Runs
# ================================================================

def load_monitor(dirname: str) -> pandas.DataFrame | None:
    """All episodes of a run folder; None if it has no monitor file, or, saying so, if it is damaged."""
    return load_file(dirname, monitor.load_results) if monitor.get_monitor_files(dirname) else None


def load_progress(dirname: str) -> pandas.DataFrame | None:
    """The logger's table of a run folder; None if there is none that can be read."""
    for name, read in [('progress.json', read_json), ('progress.csv', read_csv), ('progress.csv.gz', read_csv)]:
        progress = load_file(osp.join(dirname, name), read)
        if progress is not None:
            return progress
    return None


def load_metadata(dirname: str) -> dict[str, Any] | None:
    """The content of config.json of a run folder; None if there is none that can be read."""
    return load_file(osp.join(dirname, 'config.json'), _read_metadata)


def _read_metadata(path):
    with naming(path):
        metadata = json.loads(read_text(path))
        if not isinstance(metadata, dict):
            raise ValueError('it is no JSON object')
        return metadata


def load_file(path: str, read: Callable[[str], Any]) -> Any:
    """read(path); None if there is no such path, or, saying so, if it is damaged."""
    if not osp.exists(path):
        return None
    try:
        return read(path)
    except (ValueError, monitor.LoadMonitorResultsError) as e:
        reason = str(e).removeprefix(f'{path}: ').removeprefix(f'{path}, ')
        print(f'skipping {path}: {reason}', file=sys.stderr)
        return None


def with_episodes(results: Iterable, num_timesteps: float | None) -> list:
    """Those `plot_util.Result`s with two episodes or more in their first `num_timesteps` (None: all), cut to these.

    The others are named on stderr.
    """
    kept = []
    for r in results:
        if num_timesteps is not None:
            r = r._replace(monitor=r.monitor[r.monitor.l.cumsum() <= num_timesteps])
        if len(r.monitor) >= 2:
            kept.append(r)
        else:
            print(f'skipping {r.dirname}: fewer than two episodes', file=sys.stderr)
    return kept


def task_of(result: Any) -> str:
    """The env_id in the monitor file of a `plot_util.Result`, or else the last <Name>-v<digits> in its path, or ''."""
    if result.monitor is not None:
        env_id = result.monitor.attrs['headers'][0].get('env_id')
        if env_id:
            return env_id
    return ''.join(re.findall(r'[^-_/]+-v\d+(?![^-_/])', result.dirname)[-1:])


def kind_of(result: Any, root: str) -> str:
    """What kind of run a `plot_util.Result` is, going by its path below `root` with its seed and task taken out.

    The seed is at the end, as `-0`, `_seed0`, `/0` or `/seed-0`; the task may lack its version. So runs in
    Hopper-v5-flow-0, Hopper-v5/flow/1 and flow/Hopper/seed2 are all of the kind 'flow'.
    """
    path = osp.relpath(result.dirname, root)
    path = re.sub(r'(^|[-_./])(seed|s)?[-_]?\d+\Z', '', path, flags=re.IGNORECASE)
    task, version = re.fullmatch(r'(.*?)(-v\d+)?', task_of(result)).groups(default='')
    if task:
        task = '[-_/]'.join(map(re.escape, task.split('/')))  # ALE/Pong is also found as ALE_Pong
        path = re.sub(f'(^|[-_/]){task}({version})?(?![^-_/])', '', path, flags=re.IGNORECASE)
    return path.strip('-_/.') or osp.basename(root)


def kinds_of(results: Iterable, root: str) -> dict[str, str]:
    """What kind of run each `plot_util.Result` is, by its folder: algorithm, policy, and what else differs between runs
    of both on one task, from `config.json`; without that, see `kind_of`."""
    results = list(results)
    settings = {r.dirname: _settings(r.metadata) for r in results}
    of_both = {r.dirname: (task_of(r), *_alg_and_policy(r.metadata)) for r in results if settings[r.dirname]}
    differing: dict[tuple, set[str]] = defaultdict(set)
    for one, other in itertools.combinations(of_both, 2):
        if of_both[one] == of_both[other]:
            one, both, other = settings[one], of_both[one][1:], settings[other]
            differing[both] |= {name for name in {*one, *other} if one.get(name) != other.get(name)}
    return {r.dirname: _kind(of_both[r.dirname][1:], settings[r.dirname], differing) if r.dirname in of_both
            else kind_of(r, root) for r in results}


def _settings(config):
    """What of the record of a run decides on its numbers, its seed and length apart; {} if it is no record."""
    args, kwargs = ((config or {}).get(name) for name in ('args', 'alg_kwargs'))
    if not isinstance(args, dict) or not isinstance(kwargs, dict) or 'alg' not in args:
        return {}
    return {'ranks': config.get('ranks'), **{name: args.get(name) for name in ARGS},
            **{name: value for name, value in kwargs.items() if name not in WITHOUT_EFFECT}}


def _alg_and_policy(config):
    return config['args']['alg'], config['alg_kwargs'].get('policy')


def _kind(both, settings, differing):
    return ', '.join([*map(str, filter(None, both)),
                      *(f'{name}={settings[name]}' for name in sorted(differing[both]) if name in settings)])


# ================================================================
# Figures
# ================================================================

def colors_of(groups: Iterable, colors: Sequence) -> dict:
    """A colour of each group of runs: of those named after a policy the first has the one of that policy in all
    figures (`run/experiments/experiment.py`); the others have what is left of `colors`, again and again.

    >>> colors_of(['a2c', 'trpo_mpi, flow', 'trpo_mpi, gaussian'], ['blue', 'orange', 'green', 'red'])
    {'a2c': 'orange', 'trpo_mpi, flow': 'red', 'trpo_mpi, gaussian': 'blue'}
    """
    groups, chosen = list(groups), {}
    for policy, nth in POLICY_COLORS.items():
        of_policy = [group for group in groups if policy in re.split(r'\W+', str(group))]
        chosen.update({group: colors[nth] for group in of_policy[:1]})
    free = itertools.cycle([color for color in colors if color not in chosen.values()])
    return {group: chosen[group] if group in chosen else next(free) for group in groups}


def axis_labels(xlabel: str | None, ylabel: str | None, by_default: bool) -> tuple[str | None, str | None]:
    """Those that are given, or else those of returns by timesteps, which `plot_util` has by default."""
    if not by_default:
        return xlabel, ylabel
    return (X_LABELS['timesteps'] if xlabel is None else xlabel), (Y_LABELS['reward'] if ylabel is None else ylabel)


def short_ticks(axes: Iterable[plt.Axes]) -> None:
    """250k for 250000 on their x axes."""
    for ax in axes:
        ax.xaxis.set_major_formatter(EngFormatter(sep=''))


def tiles(npanels: int, tiling: str | None) -> tuple[int, int]:
    """(rows, columns) of so many panels, tiled as `plot_util.plot_results` says. Raises UsageError for other words."""
    tiling2ncols = {'vertical': 1, None: 1, 'horizontal': npanels, 'symmetric': math.ceil(math.sqrt(npanels))}
    check_choice('tiling', tiling, tiling2ncols)
    ncols = tiling2ncols[tiling]
    return math.ceil(npanels / ncols), ncols


def legends_of(fig: plt.Figure) -> list:
    """Those of the figure and of its panels."""
    return [*fig.legends, *filter(None, (ax.get_legend() for ax in fig.axes))]


def check_display() -> None:
    """Raise UsageError if Matplotlib has nothing to show a figure on."""
    if plt.get_backend().lower() == 'agg':
        raise UsageError('there is no display to show the figure on: give --save FILE')


def save(fig: plt.Figure, path: str) -> None:
    """Write a figure in the format of the file's name. Raises UsageError where that cannot be."""
    try:
        fig.savefig(path, dpi=150)
    except (ValueError, OSError) as e:  # ValueError: a format Matplotlib does not know
        raise UsageError(f'cannot save the figure to {path}: {e}') from None
