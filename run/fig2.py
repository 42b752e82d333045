"""Figure 2: correlated actions, two modes, the ways of an ant: what policies can express (paper, section 4.3)."""
import itertools
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from run.command_line import print_lines
from run.experiment import FLOW, FROZEN, GAUSSIAN, GYM, with_both_fishers
from run.figure import (
    XLA_PAYS,
    lattice,
    measured,
    median_and_range,
    parse_args,
    run_figure,
    seeds_of,
    significant,
    table,
    write_arrays,
)
from run.jobs import LOGS, Job, run_jobs
from run.reproduce import report_failed

SEEDS = 5
SPREADS = (0., 1.)  # added to every initial parameter: N(0, spread^2)
SHOWN = 0.  # of SPREADS: the initialisation of training
ANT = 'Ant-v5'
ANT_METHODS = {'gaussian': GAUSSIAN, 'gaussian-frozen': FROZEN, 'flow': with_both_fishers({'flow': FLOW})['flow']}
EPISODES = 20
RED, BLUE = FLOW.color, GAUSSIAN.color


# ================================================================
# (a, b) Maximum-entropy bandits
# ================================================================

@dataclass(frozen=True)
class Bandit:
    """r(a) = max_i -(a - centre_i)' precision_i (a - centre_i), a in R^2; entropy is worth c a nat.

    The optimum of E[r(a)] + c H is proportional to exp(r / c): near a mode, normal with covariance c/2 precision^-1.
    """

    centres: np.ndarray
    precisions: np.ndarray
    c: float

    def log_bumps(self, a):
        """r / c of each mode at points [n, 2], arrays or tensors, [n, modes]."""
        (p, q), (_, r) = np.moveaxis(self.precisions, 0, -1).astype('float32') / np.float32(self.c)
        x, y = (a[:, i:i + 1] - self.centres[:, i].astype('float32') for i in range(2))
        return -(p * x * x + 2 * q * x * y + r * y * y)

    def log_optimum(self, a: np.ndarray) -> np.ndarray:
        """The optimum's log-density at points [n, 2], [n]."""
        return self.log_bumps(a).max(axis=-1) - self.log_normalizer

    @cached_property
    def log_normalizer(self) -> float:
        """log of the integral of exp(r / c), by quadrature."""
        points, axis = lattice(2.5, 1001)
        return float(np.log(np.exp(self.log_bumps(points).max(axis=-1)).sum(dtype='float64') * (axis[1] - axis[0])**2))


SIGMA = np.array([[1., 0.9], [0.9, 1.]])
BANDITS = {
    'correlated': Bandit(np.zeros([1, 2]), np.linalg.inv(SIGMA)[np.newaxis], c=0.2),
    **{name: Bandit(np.array([[-x, -x], [x, x]]), np.stack([np.diag([1., 2.]), np.diag([2., 1.])]), c=0.08)
       for name, x in (('two modes', 0.3), ('two modes, far apart', 0.5))},
}
POLICIES = ('Gaussian', 'GMM, K=2', 'GMM, K=5', 'flow', 'GMM, K=5, released density')


def families() -> dict:
    """Family by name."""
    from onpolicybaselines.common.distributions import (
        DiagGaussianPdType,
        GaussianMixturePdType,
        NormalizingFlowPdType,
    )
    return dict(zip(POLICIES, (
        DiagGaussianPdType(2), GaussianMixturePdType(2, 2), GaussianMixturePdType(2, 5),
        NormalizingFlowPdType(2, flow_state_net='network'), GaussianMixturePdType(2, 5, gmm_log_prob='released'),
    ), strict=True))


def learner(bandit: Bandit, family, xla: bool = True):
    """A `Toy` whose loss is KL(policy || optimum) up to a constant, -(E[r] / c + H), by reparameterised samples.

    That works for mixtures, too, since their weights are fixed. What the released code takes for a mixture's density
    is none: it is followed as there, by the score function.
    """
    import tensorflow as tf

    from run.toy import Toy

    def loss(pd, noise):
        a = pd.sample(noise)
        if getattr(family, 'gmm_log_prob', None) == 'released':
            a = tf.stop_gradient(a)
            logp = pd.logp(a)
            gain = tf.stop_gradient(tf.reduce_max(bandit.log_bumps(a), axis=-1) - logp)
            return -tf.reduce_mean((gain - tf.reduce_mean(gain)) * logp)
        return tf.reduce_mean(pd.logp(a) - tf.reduce_max(bandit.log_bumps(a), axis=-1))

    return Toy(family, loss, family.noise_size, xla)


def evaluate(bandit: Bandit, toy, a: np.ndarray) -> dict[str, float]:
    """Of samples a [n, 2]: KL(policy || optimum) with its standard error, correlation, share of the lesser mode."""
    terms = toy.logp(a) - bandit.log_optimum(a)
    shares = np.bincount(bandit.log_bumps(a).argmax(axis=-1), minlength=2) / len(a)
    return {'kl': float(terms.mean()), 'kl_error': float(terms.std() / np.sqrt(len(a))),
            'correlation': float(np.corrcoef(a.T)[0, 1]), 'lesser_mode': float(shares.min())}


def train_on_bandits(scale: float, seeds: int) -> tuple[list[dict], dict[str, np.ndarray]]:
    """(measurements of every fit, samples of the fit with the median KL from the SHOWN spread by 'bandit policy')."""
    rows, arrays = [], {}
    bar = tqdm(total=len(BANDITS) * len(POLICIES) * len(SPREADS) * seeds, unit='fit')
    for (task, bandit), (name, family) in itertools.product(BANDITS.items(), families().items()):
        toy = learner(bandit, family, scale >= XLA_PAYS)
        for spread in SPREADS:
            fits = []
            for seed in range(seeds):
                np_random = np.random.default_rng(seed)
                toy.restart(np_random, spread)
                toy.fit(np_random, math.ceil(3000 * scale), batch=256, stepsize=1e-2)
                a = toy.sample(np_random, 100_000)
                rows.append({'task': task, 'policy': name, 'spread': spread, 'scale': scale, 'seed': seed,
                             **evaluate(bandit, toy, a)})
                fits.append((rows[-1]['kl'], seed, a[:1000]))
                bar.update()
            if spread == SHOWN:
                arrays[f'{task} {name}'] = sorted(fits)[len(fits) // 2][-1]
    return rows, arrays


# ================================================================
# (c) Ant
# ================================================================

def ant_jobs(folder: str, scale: float) -> dict[str, Job]:
    """The training run of each policy, which ends with a model.npz in its folder."""
    jobs = {}
    for name, method in ANT_METHODS.items():
        run_folder = os.path.join(folder, 'ant', name)
        jobs[name] = Job(run_folder, max(round(GYM[ANT] * scale), 4096), (
            '--alg=trpo_mpi', f'--env={ANT}', '--seed=0', '--num_hidden=64', *method.options,
            f'--save_path={os.path.join(run_folder, "model.npz")}'))
    return jobs


def unfinished(jobs: dict[str, Job]) -> dict[str, Job]:
    """Those that have neither trajectories nor a model to make them with, or of fewer steps."""
    return {name: job for name, job in jobs.items() if job.recorded_steps() < job.steps
            or not any(os.path.exists(job.path(f)) for f in ('trajectories.npz', 'model.npz'))}


def load_policy(path: str, env):
    """The policy of a model file."""
    from onpolicybaselines.common.policies import build_policy
    from onpolicybaselines.common.tf_util import load_variables
    spec = {name: value for name, value in load_variables(path)[1]['spec'].items() if value is not None}
    pi = build_policy(env, spec.pop('network'), **spec)(np.random.default_rng(0))
    pi.load(path)
    return pi


def roll_out(path: str, episodes: int) -> dict[str, np.ndarray]:
    """Positions of the torso, [episodes, steps + 1, 2] in m, NaN after the end; returns and lengths.

    Actions are sampled, as in training.
    """
    from onpolicybaselines.common.cmd_util import make_env
    env = make_env(ANT, 'mujoco', seed=1000)
    act = load_policy(path, env).actor()
    paths, rewards = [], []
    for _ in range(episodes):
        observation, info = env.reset()
        positions, ended, rewards_here = [], False, 0.
        while not ended:
            positions.append((info['x_position'], info['y_position']))
            observation, reward, terminated, truncated, info = env.step(act(observation)[0])
            ended, rewards_here = terminated or truncated, rewards_here + reward
        paths.append([*positions, (info['x_position'], info['y_position'])])
        rewards.append(rewards_here)
    env.close()
    lengths = np.array([len(p) - 1 for p in paths])
    xy = np.full([episodes, lengths.max() + 1, 2], np.nan, 'float32')
    for row, positions in zip(xy, paths, strict=True):
        row[:len(positions)] = positions
    return {'xy': xy, 'returns': np.array(rewards), 'lengths': lengths}


def walk(jobs: dict[str, Job], workers: int, episodes: int) -> list[Job]:
    """Train what is not trained and roll out what is not rolled out; a model is kept until then.

    Returns the jobs that failed.
    """
    failed = run_jobs(list(unfinished(jobs).values()), workers) if unfinished(jobs) else []
    for job in jobs.values():
        if job not in failed and not os.path.exists(job.path('trajectories.npz')):
            write_arrays(job.path('trajectories.npz'), roll_out(job.path('model.npz'), episodes))
            for name in ('model.npz', f'{LOGS[-1]}.gz'):  # the log of each of so many short episodes takes a megabyte
                Path(job.path(name)).unlink(missing_ok=True)
    return failed


# ================================================================
# Figure and tables
# ================================================================

def load_trajectories(jobs: dict[str, Job]) -> dict[str, dict[str, np.ndarray]]:
    """What `roll_out` gave, by policy, as far as it is there."""
    trajectories = {}
    for name, job in jobs.items():
        if os.path.exists(job.path('trajectories.npz')):
            with np.load(job.path('trajectories.npz')) as data:
                trajectories[name] = dict(data)
    return trajectories


def draw(samples: dict[str, np.ndarray], rows: Sequence[dict], trajectories: dict, steps: int, path: str) -> None:
    """Samples over the optimum's contours (a, b), trajectories of policies trained for `steps` (c)."""
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    plt.rcParams.update({'font.size': 9, 'axes.titlesize': 9})
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
                       color=BLUE if policy == 'flow' else '#2ca02c')
            ax.contour(axis, axis, logp, levels=logp.max() - np.array([4.5, 2., 0.5]), colors=RED, linewidths=0.9,
                       linestyles='solid')
            kl = np.median([r['kl'] for r in rows if (r['task'], r['policy'], r['spread']) == (task, policy, SHOWN)])
            ax.set(aspect='equal', xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
            name = policy.replace(', released', ',\nreleased') + '\n' if letter == 'a' else ''
            ax.set_title(f'{name}KL = {kl:.3f}')
        line[0].set_ylabel(f'({letter}) {task}\n$a_2$')
    for ax in axes[-1]:
        ax.set_xlabel('$a_1$')
    seeds = len(seeds_of(rows))
    figure.suptitle(f'Trained policies (1000 samples) over the contours of the optimum at 1, 2, 3 σ\n'
                    f'median of {seeds} seed{"s" * (seeds > 1)}')


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
    lacks = f'\n(partial: {len(trajectories)} of {len(ANT_METHODS)} policies)' * (len(trajectories) < len(ANT_METHODS))
    ax.set_title(f'(c) {ANT} after {steps:,} steps of TRPO, 1 seed, {episodes} episodes each{lacks}')
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 1 if a training run failed, when all else is done."""
    args = parse_args('fig2', __doc__.splitlines()[0], SEEDS, argv)
    jobs = ant_jobs(args.folder, args.scale)
    if args.dry_run:
        print_lines([f'{len(BANDITS)} bandits × {len(POLICIES)} policies × initial spreads {SPREADS} × {args.seeds} '
                     f'seeds into {os.path.join(args.folder, "fig2.json")}',
                     *(job.command for job in unfinished(jobs).values())])
        return 0
    failed = [] if args.plot_only else walk(jobs, args.workers, EPISODES if args.scale == 1 else 2)
    found = measured(args, 'fig2', train_on_bandits)
    if found is not None:
        rows, samples = found
        trajectories = load_trajectories(jobs)
        steps = min((jobs[name].recorded_steps() for name in trajectories), default=0)
        draw(samples, rows, trajectories, steps, os.path.join(args.folder, 'fig2.png'))
        with open(os.path.join(args.folder, 'fig2.md'), 'w', encoding='utf-8') as fh:
            fh.write(bandit_table(rows) + '\n' + ant_table(trajectories))
    return report_failed(failed)


if __name__ == '__main__':
    sys.exit(run_figure(main))
