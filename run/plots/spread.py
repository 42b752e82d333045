"""Figure 1 and its table."""
import itertools
from collections.abc import Sequence

import matplotlib

matplotlib.use('agg')
import matplotlib.pyplot as plt
import numpy as np

from run.experiments.experiment import FLOW, GAUSSIAN
from run.experiments.measured import lattice, seeds_of
from run.experiments.spread import ENTROPIES, EXTENT, KL, PANELS, POINTS, SEEDS, SPREADS
from run.plots.tables import median_and_range, table
from run.plots.titles import marked, missing

INITIAL = {'released initialisation': 0., 'random initialisation': 1.}  # those shown
SHOWN = {'Gaussian': ('gaussian', 0.), **{f'flow,\n{name}': ('flow', spread) for name, spread in INITIAL.items()}}
METHODS = {'gaussian': GAUSSIAN, 'flow': FLOW}
OTHER = '0.25'  # what is no method


@plt.rc_context({'font.size': 9, 'axes.titlesize': 9})
def draw(rows: Sequence[dict], arrays: dict[str, np.ndarray], path: str) -> None:
    """Contours (a) and samples (b) on the boundary of the KL ball, samples at fixed entropies (c)."""
    figure = plt.figure(figsize=(13, 5.4), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=[3.25, 2])
    draw_kl_ball(left, arrays)
    draw_entropies(right, arrays)
    seeds = len(seeds_of(rows))
    title = (f'One KL divergence, or one entropy, different spread: of {seeds} seed{"s" * (seeds > 1)}, the one with '
             'the median 99 % radius; 1000 samples each')
    figure.suptitle(marked(title, missing(seeds, SEEDS, 'seeds'), *{row['scale'] for row in rows}))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_kl_ball(figure, arrays: dict[str, np.ndarray]) -> None:
    """Panels (a), (b)."""
    axes = figure.subplots(2, len(SHOWN), sharex=True, sharey=True)
    _, axis = lattice(EXTENT, POINTS)
    for (title, (family, spread)), (top, bottom) in zip(SHOWN.items(), axes.T, strict=True):
        name = f'KL = {KL:g} {family} {spread:g}'
        logp = arrays[f'{name} logp'].reshape(len(axis), -1)
        contours = top.contourf(axis, axis, logp, levels=np.arange(-27.5, 5.1, 2.5), cmap='viridis', extend='min')
        top.set(title=title, aspect='equal', xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT))
        samples = arrays[f'{name} samples']
        bottom.scatter(*samples.T, s=3, color=METHODS[family].color, linewidths=0,
                       label=f'{METHODS[family].label}, on the boundary')
        bottom.scatter(*arrays['originals'].T, s=1.5, color=OTHER, linewidths=0, alpha=0.8,
                       label='empirical distribution $\\hat{\\pi}_o$')
        bottom.set(aspect='equal', xlabel='$x_1$')
        outside = int((np.abs(samples) > EXTENT).any(axis=1).sum())
        bottom.text(0.03, 0.03, f'{outside} outside', transform=bottom.transAxes, fontsize=7)
    for ax, letter in zip(axes[:, 0], 'ab', strict=True):
        ax.set_ylabel(f'({letter})   $x_2$')
    figure.colorbar(contours, ax=axes, label='log density (a)', shrink=0.7)
    handles = {label: handle for ax in axes[1] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc='outside lower center', ncols=3, markerscale=4,
                  frameon=False)


def draw_entropies(figure, arrays: dict[str, np.ndarray]) -> None:
    """Panels (c), each about the means; of the flow what lies within twenty standard deviations of the Gaussian."""
    axes = figure.subplots(2, len(ENTROPIES))
    for ax, ((title, spread), h) in zip(axes.flat, itertools.product(INITIAL.items(), ENTROPIES), strict=True):
        flow, gaussian = (arrays[f'H = {h:g} {family} {spread:g} samples'] for family in ('flow', 'gaussian'))
        for samples, color, label in ((flow, FLOW.color, FLOW.label), (gaussian, GAUSSIAN.color, GAUSSIAN.label)):
            ax.scatter(*(samples - np.median(samples, axis=0)).T, s=3, color=color, linewidths=0, label=label)
        extent = 1.1 * min(np.abs(flow - np.median(flow, axis=0)).max(), 20 * gaussian.std())
        ax.set(aspect='equal', xlim=(-extent, extent), ylim=(-extent, extent))
        ax.set_title(f'H = {h:g}, {title}')
    axes[0, 0].set_ylabel('(c)   $x_2$')
    axes[1, 0].set_ylabel('$x_2$')
    for ax in axes[1]:
        ax.set_xlabel('$x_1$')
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=2, markerscale=4,
                  frameon=False)


def report(rows: Sequence[dict]) -> str:
    """The measurements as a table, in Markdown."""
    head = ('held fixed', 'distribution', 'initial spread', 'reached', 'KL to fresh samples', 'std', '99 % radius',
            '99.99 % radius')
    lines = []
    for panel, family, spread in itertools.product(PANELS, ('gaussian', 'flow'), SPREADS):
        of_seeds = [r for r in rows if (r['panel'], r['family'], r['spread']) == (panel, family, spread)]
        if of_seeds:
            cells = [median_and_range([r[key] for r in of_seeds]) if key in of_seeds[0] else ''
                     for key in ('reached', 'fresh', 'std', 'radius_99', 'radius_9999')]
            lines.append((panel, family, f'{spread:g}', *cells))
    return table(head, lines)
