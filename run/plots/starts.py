"""What the standard deviation at the start decides: final returns against it, entropy and length of episodes beside."""
import os
import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from onpolicybaselines.logger import read_csv
from run.experiments.experiment import Experiment
from run.experiments.jobs import LOGS
from run.plots import curves

LINES = {'1': '-', '0.37': '--'}  # starts whose entropies and lengths are drawn
MEASURES = {'entropy': 'entropy, nats', 'EpLenMean': 'steps of an episode'}
CAPTION = (f'Left: final performance, mean return of the last {curves.EPISODES} episodes; dots: runs, line: '
           'their interquartile mean. Right: means of the runs; solid: std 1 at the start, dashed: 0.37.')

Starts = Mapping[str, Mapping[str, str]]  # by the standard deviation: method by family


def draw(experiment: Experiment, folder: str, starts: Starts) -> None:
    """Write <name>-start.png into `folder`, from the finished runs there: a row for each task."""
    runs = curves.load(experiment, folder)
    if not runs:
        return
    path = os.path.join(folder, f'{experiment.name}-start.png')
    with plt.rc_context(curves.STYLE):
        fig, axes = plt.subplots(len(runs), 1 + len(MEASURES), figsize=(11, 2.6 * len(runs) + 1), squeeze=False,
                                 layout='constrained')
        for (left, *right), (task, methods) in zip(axes, runs.items(), strict=True):
            _plot_finals(left, experiment, starts, methods)
            left.set_title(curves.panel_title(experiment, task, '', methods, len(experiment.methods)))
            logs = {name: _logs(experiment, folder, task, name) for name in methods}
            for ax, measure in zip(right, MEASURES, strict=True):
                _plot_measure(ax, experiment, starts, logs, measure)
        fig.suptitle(curves.figure_title(experiment, runs))
        curves.add_legend(fig, experiment, textwrap.fill(CAPTION, 140), ncols=4)
        curves.save(fig, path)
    print(path)


def _families(starts):
    return tuple(next(iter(starts.values())))


def _plot_finals(ax, experiment, starts, methods):
    for family in _families(starts):
        finals = {float(std): [run.final() for run in methods[of[family]]] for std, of in starts.items()
                  if of[family] in methods}
        if not finals:
            continue
        style = {'color': experiment.methods[family].color}
        for std, values in finals.items():
            ax.plot([std] * len(values), values, '.', alpha=0.5, markersize=4, **style)
        ax.plot(list(finals), [curves.iqm(np.array(values)[:, None])[0] for values in finals.values()],
                label=experiment.methods[family].label, **style)
    stds = [float(std) for std in starts]
    ax.set(xscale='log', xlim=(min(stds) / 1.2, max(stds) * 1.2), xlabel='standard deviation at the start',
           ylabel='final return')
    ax.set_xticks(stds, starts)
    ax.minorticks_off()


def _logs(experiment, folder, task, method):
    """The measures of each finished run, indexed by time steps."""
    runs = os.path.dirname(experiment.folder(folder, task, method, 0))
    return [read_csv(os.path.join(runs, name, f'{LOGS[0]}.gz')).set_index('TimestepsSoFar')[list(MEASURES)]
            for name in curves.finished_in(runs)]


def _plot_measure(ax, experiment, starts, logs, measure):
    for std, line in LINES.items():
        for family in _families(starts):
            found = logs.get(starts[std][family])
            if found:
                mean = pd.concat([log[measure] for log in found], axis=1, join='inner').mean(axis=1)
                ax.plot(mean.index, mean, line, color=experiment.methods[family].color)
    ax.set(xlabel='time steps', ylabel=MEASURES[measure])
    ax.xaxis.set_major_formatter(curves.short)
