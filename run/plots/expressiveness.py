"""Figure 2 and its tables."""
import itertools
from collections.abc import Sequence

import matplotlib

matplotlib.use('agg')
import matplotlib.pyplot as plt
import numpy as np

from run.experiments.ants import ANT, ANT_METHODS, EPISODES
from run.experiments.bandits import BANDITS, POLICIES, SEEDS, SHOWN, SPREADS
from run.experiments.experiment import FLOW, GAUSSIAN, GMM2, GMM5, GYM
from run.experiments.measured import lattice, seeds_of
from run.plots.tables import median_and_range, significant, table
from run.plots.titles import marked, missing

COLORS = {method.label: method.color for method in (GAUSSIAN, GMM2, GMM5, FLOW)}
OPTIMUM = '0.25'  # its contours


@plt.rc_context({'font.size': 9, 'axes.titlesize': 9})
def draw(samples: dict[str, np.ndarray], rows: Sequence[dict], trajectories: dict, steps: int, path: str) -> None:
    """Samples over the optimum's contours (a, b), trajectories of policies trained for `steps` (c)."""
    figure = plt.figure(figsize=(15, 7), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=[5, 2.6])
    draw_bandits(left, samples, rows)
    draw_ant(right.subplots(), trajectories, steps)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_bandits(figure, samples: dict[str, np.ndarray], rows: Sequence[dict]) -> None:
    """Panels (a), (b): of the released initialisation, the seed with the median KL divergence."""
    axes = figure.subplots(len(BANDITS), len(POLICIES), sharex=True, sharey=True)
    points, axis = lattice(1.5, 151)
    for line, letter, (task, bandit) in zip(axes, ('a', 'b', 'b'), BANDITS.items(), strict=True):
        logp = bandit.log_optimum(points).reshape(len(axis), -1)
        for ax, policy in zip(line, POLICIES, strict=True):
            ax.scatter(*samples[f'{task} {policy}'].T, s=2, linewidths=0,
                       color=COLORS[policy.removesuffix(', released density')])
            ax.contour(axis, axis, logp, levels=logp.max() - np.array([4.5, 2., 0.5]), colors=OPTIMUM, linewidths=0.9,
                       linestyles='solid')
            kl = np.median([r['kl'] for r in rows if (r['task'], r['policy'], r['spread']) == (task, policy, SHOWN)])
            ax.set(aspect='equal', xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
            name = policy.replace(', released', ',\nreleased') + '\n' if letter == 'a' else ''
            ax.set_title(f'{name}KL = {kl:.3f}')
        line[0].set_ylabel(f'({letter}) {task}\n$a_2$')
    for ax in axes[-1]:
        ax.set_xlabel('$a_1$')
    seeds = len(seeds_of(rows))
    median = marked(f'median of {seeds} seed{"s" * (seeds > 1)}', missing(seeds, SEEDS, 'seeds'),
                    *{row['scale'] for row in rows})
    figure.suptitle(f'Trained policies (1000 samples) over the contours of the optimum at 1, 2, 3 σ\n{median}')


def draw_ant(ax, trajectories: dict, steps: int) -> None:
    """Panel (c)."""
    for name in reversed(trajectories):  # the flow below the others, which stay near the start
        color = ANT_METHODS[name].color
        for i, xy in enumerate(trajectories[name]['xy']):
            ax.plot(*xy.T, color=color, linewidth=0.9, alpha=0.8, label=ANT_METHODS[name].label if i == 0 else None)
            end = xy[np.isfinite(xy[:, 0])][-1]
            ax.plot(*end, '.', color=color, markersize=4)
    episodes = max((len(t['xy']) for t in trajectories.values()), default=0)
    ax.plot(0, 0, 'k+', markersize=10, label='start')
    ax.set(aspect='equal', xlabel='x, m (the reward is for going this way)', ylabel='y, m')
    ax.set_title(marked(f'(c) {ANT} after {steps:,} steps of TRPO, 1 seed, {episodes} episodes each\n', [
        *missing(len(trajectories), len(ANT_METHODS), 'policies'), *missing(episodes, EPISODES, 'episodes')],
        min(steps / GYM[ANT], 1)).rstrip())
    ax.legend(frameon=False, loc='upper center', bbox_to_anchor=(0.5, -0.13), ncols=4)


def bandit_table(rows: Sequence[dict]) -> str:
    """Measurements of the bandits, in Markdown."""
    head = ('task', 'policy', 'initial spread', 'KL to the optimum', 'largest standard error', 'correlation',
            'share of the lesser mode', 'seeds with 10 % in each mode')
    lines = []
    for task, policy, spread in itertools.product(BANDITS, POLICIES, SPREADS):
        of_seeds = [r for r in rows if (r['task'], r['policy'], r['spread']) == (task, policy, spread)]
        column = {key: [r[key] for r in of_seeds] for key in of_seeds[0]}
        two = len(BANDITS[task].centres) == 2
        shares = column['lesser_mode']
        lines.append((task, policy, f'{spread:g}', median_and_range(column['kl']), f'{max(column["kl_error"]):.1g}',
                      '' if two else median_and_range(column['correlation'], 2),
                      median_and_range(shares, 2) if two else '',
                      f'{sum(s >= 0.1 for s in shares)} of {len(shares)}' if two else ''))
    return table(head, lines)


def ant_table(trajectories: dict) -> str:
    """Measurements of the trajectories, in Markdown."""
    head = ('policy', 'return', 'length', 'episodes ended early', 'x at the end, m', 'off the x axis at the end, m',
            'farthest from the start, m')
    lines = []
    for name, t in trajectories.items():
        ends = np.array([xy[np.isfinite(xy[:, 0])][-1] for xy in t['xy']])
        farthest = np.nanmax(np.linalg.norm(t['xy'], axis=-1), axis=1)
        columns = t['returns'], t['lengths'], ends[:, 0], np.abs(ends[:, 1]), farthest
        returns, lengths, *distances = (f'{significant(c.mean(), 3)} ± {significant(c.std(), 2)}' for c in columns)
        early = (t['lengths'] < 1000).sum()
        lines.append((ANT_METHODS[name].label, returns, lengths, f'{early} of {len(ends)}', *distances))
    return table(head, lines)
