"""Curves and tables of an experiment's finished runs, from their monitor files: raw returns, all smoothed alike.

Means and standard deviations as in the paper, and interquartile means with bootstrapped intervals (Agarwal et al.,
Deep Reinforcement Learning at the Edge of the Statistical Precipice, 2021), by rliable.
"""
import functools
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, PercentFormatter

from onpolicybaselines.bench import monitor
from onpolicybaselines.common.files import replacing
from onpolicybaselines.common.plotting import MIN_RUNS
from onpolicybaselines.logger import read_csv
from run.experiments.experiment import Experiment
from run.experiments.jobs import LOGS, Job
from run.plots.tables import significant, table
from run.plots.titles import marked, missing

EPISODES = 100  # the last ones are the final performance
WINDOW = 0.02   # of the steps: what a point of a curve averages over
POINTS = 200    # of a curve
REPS = 2000     # of a bootstrap
SUITES = {'rllab': 'L', 'roboschool': 'R'}
SMOOTHING = f'Each point is the mean return of the episodes that ended in the last {WINDOW:.0%} of the steps'
STYLE = {'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True, 'grid.alpha': 0.25,
         'grid.linewidth': 0.6, 'font.size': 9, 'axes.titlesize': 8.5, 'axes.linewidth': 0.8, 'lines.linewidth': 1.4,
         'legend.frameon': False, 'figure.titlesize': 11, 'savefig.dpi': 150}


class Run(NamedTuple):
    """A finished run: steps taken until the end of each episode, their returns, the steps it had to take, the share of
    its updates given up (NaN: not in its log)."""

    ends: np.ndarray
    returns: np.ndarray
    steps: int
    given_up: float = np.nan

    def until(self, steps: int) -> 'Run':
        """Its first `steps` steps; the share given up stays that of the whole run."""
        if steps >= self.steps:
            return self
        return self._replace(ends=self.ends[self.ends <= steps], returns=self.returns[self.ends <= steps], steps=steps)

    def final(self) -> float:
        """Mean return of the last EPISODES training episodes."""
        return self.returns[-EPISODES:].mean()

    def curve(self, grid: np.ndarray) -> np.ndarray:
        """Mean returns over the window that ends at each step of `grid`, or of the last episode if none ended in it;
        NaN before the first episode and beyond the run."""
        after = np.searchsorted(self.ends, grid, 'right')
        before = np.searchsorted(self.ends, grid - WINDOW * grid[-1], 'right')
        before = np.minimum(before, np.maximum(after - 1, 0))
        sums = np.concatenate([[0], np.cumsum(self.returns)])
        means = (sums[after] - sums[before]) / np.maximum(after - before, 1)
        return np.where((after > 0) & (grid <= self.steps), means, np.nan)


Runs = dict[str, dict[str, list[Run]]]  # by task and method


def load(experiment: Experiment, folder: str) -> Runs:
    """The finished runs below `folder`; only tasks and methods that have some.

    All runs of a task are as long as its shortest, so that like is compared with like; those without an episode by then
    are left out. Runs that cannot be read, or have no episode at all, are left out and named.
    """
    found = {}
    for task in experiment.tasks:
        methods = {method: _load_runs(os.path.dirname(experiment.folder(folder, task, method, 0)))
                   for method in experiment.methods}
        steps = min((run.steps for runs in methods.values() for run in runs), default=0)
        methods = {method: [run.until(steps) for run in runs if run.ends[0] <= steps]
                   for method, runs in methods.items()}
        found[task] = {method: runs for method, runs in methods.items() if runs}
    return {task: methods for task, methods in found.items() if methods}


def _load_runs(folder):
    runs = []
    for name in sorted(finished_in(folder), key=lambda name: int(name.rpartition('_')[-1])):
        try:
            runs.append(_load_run(os.path.join(folder, name)))
        except (ValueError, TypeError, LookupError, monitor.LoadMonitorResultsError) as e:
            print(f'left out: {os.path.join(folder, name)}: {e}', file=sys.stderr)
    return runs


def finished_in(folder: str) -> list[str]:
    """Names of the finished runs in the folder of a method."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [name for name in names if re.fullmatch(r'[a-z]+_\d+', name)
            and os.path.exists(os.path.join(folder, name, LOGS[-1] + '.gz'))]


def _load_run(folder):
    episodes = monitor.load_results(folder)
    log = read_csv(os.path.join(folder, LOGS[0] + '.gz'))
    run = Run(episodes.l.cumsum().to_numpy(), episodes.r.to_numpy(), Job(folder, 0, ()).finished_steps(),
              log.neg_curvature.iloc[-1] / len(log) if 'neg_curvature' in log else np.nan)
    if not run.steps:
        raise ValueError('config.json does not say how many steps')
    if run.ends.size == 0 or run.ends[0] > run.steps:
        raise ValueError('no episode ended')
    return run


def grid_of(methods: dict[str, list[Run]]) -> np.ndarray:
    """The steps at which the curves of a task have points: evenly to the end of its runs."""
    return np.linspace(0, steps_of(methods), POINTS + 1)[1:]


def steps_of(methods: dict[str, list[Run]]) -> int:
    """Steps of the runs of a task, see `load`."""
    return next(iter(methods.values()))[0].steps


# ---------------------------------------------------------------- statistics

def iqm(scores: np.ndarray) -> np.ndarray:
    """Interquartile means, [points], over all runs and tasks of scores [runs, tasks, points]; as rliable's, but of all
    points at once. Of fewer than four scores it is the mean."""
    ascending = np.sort(scores.reshape(-1, scores.shape[-1]), axis=0)
    cut = len(ascending) // 4
    return ascending[cut:len(ascending) - cut].mean(axis=0)


def interval(func: Callable[..., np.ndarray], *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """func(*scores), and its 95 % interval [2, ...] by resampling the runs of each task; scores [runs, tasks, ...]."""
    from rliable.library import get_interval_estimates
    np.random.seed(0)  # noqa: NPY002 -- rliable has no generator of its own
    estimates, intervals = get_interval_estimates({'': scores[0] if len(scores) == 1 else list(scores)}, func,
                                                  reps=REPS)
    return estimates[''], intervals['']


def probability_of_improvement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[1]: probability that a run of `one` ends above a run of `other`, both [runs, tasks], mean over tasks.

    What rliable's function of the same name gives, without the p-values that it computes on the way.
    """
    one, other = one[:, None], other[None]
    return np.array([np.mean((one > other) + (one == other) / 2)])


def normalized(runs: Runs) -> dict[str, np.ndarray]:
    """Scores [runs, tasks, points] of the methods that have runs on all tasks, as many as the fewest.

    0 is the mean return at the beginning, over all runs of a task; 1 is the best method's mean final performance.
    Empty if there are fewer than two tasks, or one on which no method ends above the beginning.
    """
    names = [name for name in next(iter(runs.values())) if all(name in methods for methods in runs.values())]
    scores = {name: [] for name in names}
    count = min((len(methods[name]) for methods in runs.values() for name in names), default=0)
    for methods in runs.values():
        grid = grid_of(methods)
        curves = {name: np.array([run.curve(grid) for run in of_method]) for name, of_method in methods.items()}
        start = np.mean([curve[np.isfinite(curve)][0] for of_method in curves.values() for curve in of_method])
        best = max(np.mean([run.final() for run in of_method]) for of_method in methods.values())
        if best <= start:
            return {}
        for name in names:
            scores[name].append((curves[name][:count] - start) / (best - start))
    return {name: np.stack(s, axis=1) for name, s in scores.items()} if len(runs) > 1 else {}


# ---------------------------------------------------------------- panels

def plot_means(ax: plt.Axes, experiment: Experiment, methods: dict[str, list[Run]]) -> None:
    """Mean over the runs, and a band of one standard deviation of MIN_RUNS or more."""
    grid = grid_of(methods)
    for name, runs in methods.items():
        curves = np.array([run.curve(grid) for run in runs])
        mean, std = curves.mean(axis=0), curves.std(axis=0, ddof=min(1, len(runs) - 1))
        _line(ax, experiment, name, grid, mean, *((mean - std, mean + std) if len(runs) >= MIN_RUNS else ()))


def plot_runs(ax: plt.Axes, experiment: Experiment, methods: dict[str, list[Run]]) -> None:
    """Every run."""
    grid = grid_of(methods)
    for name, runs in methods.items():
        for run in runs:
            _line(ax, experiment, name, grid, run.curve(grid))


def plot_iqm(ax: plt.Axes, experiment: Experiment, methods: dict[str, list[Run]]) -> None:
    """Interquartile mean over the runs, and its 95 % interval, of MIN_RUNS or more."""
    grid = grid_of(methods)
    _plot_scores(ax, experiment, grid, {name: np.array([[run.curve(grid)] for run in runs])
                                        for name, runs in methods.items()})


def _plot_scores(ax, experiment, x, scores):
    for name, score in scores.items():
        known = np.isfinite(score).all(axis=(0, 1))
        if known.any():
            mean, band = interval(iqm, score[..., known]) if len(score) >= MIN_RUNS else (iqm(score[..., known]), ())
            _line(ax, experiment, name, x[known], mean, *band)


def plot_quantiles(ax: plt.Axes, experiment: Experiment, methods: dict[str, list[Run]]) -> None:
    """Final performance of the runs in ascending order, against the share of runs below."""
    for name, runs in methods.items():
        finals = np.sort([run.final() for run in runs])
        _line(ax, experiment, name, (np.arange(len(finals)) + 0.5) / len(finals), finals, marker='o', markersize=3)


def _line(ax, experiment, name, x, y, low=None, high=None, **style):
    method = experiment.methods[name]
    ax.plot(x, y, color=method.color, linestyle='--' if method.dashed else '-', label=method.label, **style)
    if low is not None:
        ax.fill_between(x, low, high, color=method.color, alpha=0.08 if method.dashed else 0.16, linewidth=0)


def plot_published(ax: plt.Axes, experiment: Experiment, task: str, methods: dict[str, list[Run]]) -> None:
    """What others published of these methods on the task: dotted, as wide as their band."""
    for name in methods:
        curve = _others_curve(experiment.published, task, name)
        method = experiment.methods[name]
        ax.plot(curve.step, curve['mean'], ':', color=method.color, label=f'{method.label}, published')
        ax.fill_between(curve.step, curve.low, curve.high, color='0.5', alpha=0.25, linewidth=0)


def _others_curve(published, task, method):
    curves = _read_published(published)
    return curves[(curves.task == task) & (curves.method == method)]


_read_published = functools.cache(pd.read_csv)


# ---------------------------------------------------------------- figures

PLOTS = {'means': (plot_means, f'{SMOOTHING}: mean ± standard deviation of the runs, three or more.'),
         'runs': (plot_runs, f'{SMOOTHING}. Every run is a curve.'),
         'quantiles': (plot_quantiles, f'Final performance: mean return of the last {EPISODES} episodes.')}
INTERVAL = 'bootstrapped 95 % interval (too narrow for few runs: with three, of one task, it covers some 75 %)'
IQM = f'{SMOOTHING}: interquartile mean of the runs; of three or more, their {INTERVAL}.'


def panels_of(experiment: Experiment, runs: Runs) -> list[tuple[str, str, dict[str, list[Run]]]]:
    """(task, subtitle, methods) of each panel, row by row."""
    rows = experiment.panels or {'': tuple(experiment.methods)}
    panels = [(task, subtitle, {name: methods[name] for name in names if name in methods})
              for subtitle, names in rows.items() for task, methods in runs.items()]
    return [panel for panel in panels if panel[2]]


def panel_title(experiment: Experiment, task: str, subtitle: str, methods: dict[str, list[Run]], of: int) -> str:
    """The task, the number of runs of its curves, and what they lack: of the `of` methods of the panel elsewhere in the
    figure, of the paper's runs and steps."""
    counts = sorted({len(runs) for runs in methods.values()})
    kind = kind_of_run(experiment)
    number = f'{"–".join(map(str, counts[::max(len(counts) - 1, 1)]))} {kind}{"s" * (counts[-1] > 1)}'
    steps = steps_of(methods)
    lacks = [*missing(len(methods), of, 'methods'), *missing(counts[0], experiment.seeds, f'{kind}s')]
    lacks += [f'{short(steps)} of {short(experiment.tasks[task])} steps'] * (steps < experiment.tasks[task])
    title = ', '.join(filter(None, [task_title(task), subtitle, number]))
    return f'{title}\n(partial: {", ".join(lacks)})' if lacks else title


def task_title(task: str) -> str:
    """As the paper marks tasks: (L) for rllab, (R) for Roboschool."""
    suite, _, name = task.rpartition('/')
    return f'{name} ({SUITES[suite]})' if suite else name


short = EngFormatter(places=None, sep='')


def methods_of(experiment: Experiment, runs: Runs) -> list[str]:
    """Those with runs on any task."""
    return [name for name in experiment.methods if any(name in methods for methods in runs.values())]


def figure_title(experiment: Experiment, runs: Runs) -> str:
    """What the figure shows, and what it lacks of tasks, methods, runs and steps."""
    fewest = min(len(of_method) for methods in runs.values() for of_method in methods.values())
    return marked(experiment.title, [
        *missing(len(runs), len(experiment.tasks), 'tasks'),
        *missing(len(methods_of(experiment, runs)), len(experiment.methods), 'methods'),
        *missing(fewest, experiment.seeds, f'{kind_of_run(experiment)}s')],
        *(steps_of(methods) / experiment.tasks[task] for task, methods in runs.items()))


def kind_of_run(experiment: Experiment) -> str:
    """What the runs of a method are called."""
    return re.match('[a-z]+', experiment.nth(0)[0]).group()


def make_figure(experiment: Experiment, runs: Runs, plot: Callable, caption: str, extra: bool = False
                ) -> tuple[plt.Figure, Iterator[plt.Axes]]:
    """A figure with plot(axes, experiment, methods) in each panel; `extra`: with room for one more, yet empty.

    Returns (figure, unused axes).
    """
    panels = panels_of(experiment, runs)
    n = len(panels) + extra
    ncols = len(runs) if experiment.panels else -(-n // -(-n // 4))
    nrows = -(-n // ncols)
    width = max(3 * ncols, 6.5)
    fig, axes = plt.subplots(nrows, ncols, figsize=(width, 2.6 * nrows + 1), squeeze=False, layout='constrained')
    for ax, (task, subtitle, methods) in zip(axes.flat, panels, strict=False):
        plot(ax, experiment, methods)
        if experiment.published:
            plot_published(ax, experiment, task, methods)
        of = max(len(others) for _, same, others in panels if same == subtitle)
        ax.set_title(panel_title(experiment, task, subtitle, methods, of))
        _label(ax, ax in axes[:, 0], plot)
    for ax in axes.flat[len(panels):]:
        ax.set_visible(False)
    fig.suptitle(textwrap.fill(figure_title(experiment, runs), int(11 * width)))
    add_legend(fig, experiment, textwrap.fill(caption, int(13 * width)), ncols=int(width / 2.9))
    return fig, iter(axes.flat[len(panels):])


def add_legend(fig: plt.Figure, experiment: Experiment, caption: str, ncols: int) -> None:
    """One legend for all panels, in the order of the experiment, below them and the caption."""
    handles = {label: handle for ax in fig.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    labels = [method.label for method in experiment.methods.values()]
    labels = sorted(handles, key=lambda label: labels.index(label) if label in labels else len(labels))
    fig.legend([handles[label] for label in labels], labels, loc='outside lower center', ncols=ncols,
               title=caption, title_fontsize=8)


def _label(ax, leftmost, plot):
    if plot is plot_quantiles:
        ax.set_xlabel('quantile')
    else:
        ax.set_xlabel('time steps')
        ax.xaxis.set_major_formatter(short)
    if leftmost:
        ax.set_ylabel('final return' if plot is plot_quantiles else 'return of an episode')


def plot_all_tasks(ax: plt.Axes, experiment: Experiment, scores: dict[str, np.ndarray], of: int) -> None:
    """Interquartile means of normalised scores over the runs of all tasks, of those of `of` methods that have them."""
    ax.set_visible(True)
    _plot_scores(ax, experiment, np.arange(1, POINTS + 1) / POINTS, scores)
    number, tasks, _ = next(iter(scores.values())).shape
    lacks = f'\n(partial: {len(scores)} of {of} methods)' if len(scores) < of else ''
    ax.set_title(f'all {tasks} tasks, {number} run{"s" * (number > 1)} each{lacks}')
    ax.set(xlabel='time steps, share of the run', ylabel='normalised return')
    ax.xaxis.set_major_formatter(PercentFormatter(1))


# ---------------------------------------------------------------- tables

def tables(experiment: Experiment, runs: Runs) -> str:
    """Final performance, probability of improvement and, under TRPO, the share of updates given up, in Markdown."""
    names = methods_of(experiment, runs)
    labels = [experiment.methods[name].label for name in names]
    texts = [f'# {figure_title(experiment, runs)}',
             f'Final performance, the mean return of the last {EPISODES} training episodes: mean ± standard error of '
             'the runs (their number).',
             table(['task', 'steps', *labels],
                    [[task, f'{steps_of(methods):,}', *(_final(methods.get(name, [])) for name in names)]
                     for task, methods in runs.items()])]
    for further in (_published, _interquartile, _improvement, _overall):
        texts += further(experiment, runs)
    texts += _dropped(labels, names, runs)
    return '\n\n'.join(text.rstrip('\n') for text in texts) + '\n'


def _final(runs):
    return _mean([run.final() for run in runs])


def _mean(finals):
    if len(finals) < 2:
        return f'{significant(finals[0], 4)} (1)' if finals else '–'
    mean, error = np.mean(finals), np.std(finals, ddof=1) / np.sqrt(len(finals))
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 2  # two of the error
    return f'{mean:.{digits}f} ± {error:.{digits}f} ({len(finals)})'


def _published(experiment, runs):
    """Ours beside others', both over the last tenth of the steps."""
    if not experiment.published:
        return []
    rows = []
    for task, methods in runs.items():
        steps = steps_of(methods)
        grid = np.linspace(0.9 * steps, steps, POINTS // 10 + 1)
        for name, of_method in methods.items():
            curve = _others_curve(experiment.published, task, name)
            there = curve[curve.step.between(grid[0], grid[-1])].mean(numeric_only=True)
            rows.append([task, experiment.methods[name].label,
                         _mean([run.curve(grid).mean() for run in of_method]),
                         '{} ({} to {})'.format(*(significant(there[key], 4) for key in ('mean', 'low', 'high')))])
    return ['Mean return over the last tenth of the steps: here, mean ± standard error of the runs (their number); '
            'published, with the band drawn there, whose kind is not said.',
            table(['task', 'method', 'here', 'published'], rows)]


def _interquartile(experiment, runs):
    if not experiment.interquartile:
        return []
    names = methods_of(experiment, runs)
    rows = [[task, *(_iqm_of([run.final() for run in methods.get(name, [])]) for name in names)]
            for task, methods in runs.items()]
    return [f'Final performance: interquartile mean of the runs, {INTERVAL}.',
            table(['task', *(experiment.methods[name].label for name in names)], rows)]


def _iqm_of(finals):
    if len(finals) < 2:
        return significant(finals[0], 4) if finals else '–'
    (mean,), (low, high) = interval(iqm, np.reshape(finals, (-1, 1, 1)))
    return f'{mean:.0f} [{low.item():.0f}, {high.item():.0f}]'


def _improvement(experiment, runs):
    """Tasks with both methods; for all of them together as many runs as all have."""
    both = {pair: {task: [np.array([[run.final()] for run in methods[name]]) for name in pair]
                   for task, methods in runs.items() if set(pair) <= set(methods)} for pair in experiment.comparisons}
    both = {pair: of_task for pair, of_task in both.items() if of_task}
    if not both:
        return []
    together = {pair: [np.hstack([scores[i][:min(len(s[i]) for s in of_task.values())] for scores in of_task.values()])
                       for i in (0, 1)] for pair, of_task in both.items()}
    head = ['', *runs, *['all'] * (len(runs) > 1)]
    rows = [[' over '.join(experiment.methods[name].label for name in pair),
             *(_probability(*of_task[task]) if task in of_task else '–' for task in runs),
             *[_probability(*together[pair])] * (len(runs) > 1)] for pair, of_task in both.items()]
    return ['Probability that a run of the first method ends above one of the second; bootstrapped 95 % interval, '
            'which is too narrow where runs are few (three above three others: [1, 1], though p = 0.05).',
            table(head, rows)]


def _probability(one, other):
    (mean,), (low, high) = interval(probability_of_improvement, one, other)
    if min(len(one), len(other)) < MIN_RUNS:
        return f'{mean:.2f}'
    return f'{mean:.2f} [{low.item():.2f}, {high.item():.2f}]'


def _overall(experiment, runs):
    scores = {} if experiment.panels else normalized(runs)
    if not scores:
        return []
    rows = []
    for name, score in scores.items():
        if len(score) < MIN_RUNS:
            return []  # no interval
        (mean,), (low, high) = interval(iqm, score[..., -1:])
        rows.append([experiment.methods[name].label, f'{mean:.3f} [{low.item():.3f}, {high.item():.3f}]'])
    return ['At the end, over all tasks: interquartile mean of normalised returns (0: mean of all runs at the '
            f'beginning; 1: mean final performance of the best method of the task); {INTERVAL}.',
            table(['method', 'normalised return'], rows)]


def _dropped(labels, names, runs):
    shares = [[task, *(_share_dropped(methods.get(name, [])) for name in names)] for task, methods in runs.items()]
    if all(share == '–' for _, *row in shares for share in row):
        return []
    return ['Share of the updates given up because the curvature along the step was not positive, mean of the runs.',
            table(['task', *labels], shares)]


def _share_dropped(runs):
    share = np.mean([run.given_up for run in runs]) if runs else np.nan
    return '–' if np.isnan(share) else f'{share:.1%}'


def draw(experiment: Experiment, folder: str) -> None:
    """Write <name>.png, <name>-iqm.png and <name>.md into `folder`, from the finished runs there."""
    runs = load(experiment, folder)
    if not runs:
        print(f'{experiment.name}: nothing to draw, no finished runs in {folder}', file=sys.stderr)
        return
    path = os.path.join(folder, experiment.name)
    with plt.rc_context(STYLE):
        fig, _ = make_figure(experiment, runs, *PLOTS[experiment.plot])
        save(fig, f'{path}.png')
        scores = {} if experiment.panels else normalized(runs)
        fig, rest = make_figure(experiment, runs, plot_iqm, IQM, extra=bool(scores))
        if scores:
            plot_all_tasks(next(rest), experiment, scores, of=len(methods_of(experiment, runs)))
        save(fig, f'{path}-iqm.png')
    with replacing(f'{path}.md', encoding='utf-8') as fh:
        fh.write(tables(experiment, runs))
    print(f'{path}.png, {path}-iqm.png, {path}.md')


def save(fig: plt.Figure, path: str) -> None:
    """Write the figure and close it: the same curves, the same bytes."""
    fig.savefig(path, metadata={'Software': None})
    plt.close(fig)
