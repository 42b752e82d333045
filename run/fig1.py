"""Figure 1: how far Gaussians and flows of one KL divergence, or of one entropy, spread (paper, section 4.2)."""
import itertools
import math
import os
import sys
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from run.figure import XLA_PAYS, lattice, measured, median_and_range, parse_args, run_figure, seeds_of, table

STD = 0.1  # of the factorized Gaussian in the centre of the KL ball
N_ORIGINALS = 1000  # samples of it: the empirical distribution
KL = 0.01
ENTROPIES = (-1., -4.)
SPREADS = (0., 0.3, 1.)  # added to every initial parameter: N(0, spread^2); 0 is the released code's initialisation
SEEDS = 10
INITIAL = {'released initialisation': 0., 'random initialisation': 1.}  # those shown
SHOWN = {'Gaussian': ('gaussian', 0.), **{f'flow,\n{name}': ('flow', spread) for name, spread in INITIAL.items()}}
EXTENT, POINTS = 0.75, 101  # of the panels (a, b), and of their lattice along each axis
RED, BLUE = '#d62728', '#1f77b4'


# ================================================================
# Measurements
# ================================================================

def log_original(x: np.ndarray) -> np.ndarray:
    """log N(x; 0, STD^2 I) of points [n, 2], [n]."""
    return -np.square(x / STD).sum(axis=-1) / 2 - np.log(2 * np.pi * STD**2)


def originals(seed: int, n: int = N_ORIGINALS) -> np.ndarray:
    """Samples of N(0, STD^2 I), [n, 2]."""
    return (STD * np.random.default_rng(seed).standard_normal((n, 2))).astype('float32')


def kl_from(x: np.ndarray, toy) -> float:
    """KL[original | toy], the mean of log N(x; 0, STD^2 I) - log toy(x) over samples x of the original."""
    return float(np.mean(log_original(x) - toy.logp(x)))


def descend_until(toy, quantity: Callable[[], float], target: float, rows: np.ndarray, steps: int,
                  stepsize: float = 2e-3) -> None:
    """Gradient steps, ten at a time, until `quantity` has fallen to `target`; then back to where it crossed."""
    for _ in range(0, steps, 10):
        before = toy.theta
        toy.descend(np.broadcast_to(rows, (10, *rows.shape)), stepsize)
        if quantity() <= target:
            break
    else:
        return
    after, low, high = toy.theta, 0., 1.
    for _ in range(20):
        middle = (low + high) / 2
        toy.theta = before + middle * (after - before)
        low, high = (middle, high) if quantity() > target else (low, middle)


def spread_of(x: np.ndarray) -> dict[str, float]:
    """Of samples [n, 2]: standard deviation of a coordinate, radii about the mean that hold so many of them."""
    radius = np.linalg.norm(x - x.mean(axis=0), axis=1)
    return {'std': float(np.sqrt(x.var(axis=0).mean())), 'radius_99': float(np.quantile(radius, 0.99)),
            'radius_9999': float(np.quantile(radius, 0.9999)), 'radius_max': float(radius.max())}


def families() -> dict:
    """Family by name."""
    from onpolicybaselines.common.distributions import DiagGaussianPdType, NormalizingFlowPdType
    return {'gaussian': DiagGaussianPdType(2), 'flow': NormalizingFlowPdType(2, flow_state_net='network')}


def on_kl_ball(family, scale: float) -> tuple:
    """(toy, a function that brings it to KL = 0.01, its measurements)."""
    import tensorflow as tf

    from run.toy import Toy
    x, fresh = originals(0), originals(1, 100_000)
    toy = Toy(family, lambda pd, rows: -tf.reduce_mean(pd.logp(rows)), 2, scale >= XLA_PAYS)  # KL up to a constant
    return (toy, lambda np_random: descend_until(toy, lambda: kl_from(x, toy), KL, x, math.ceil(20000 * scale)),
            lambda samples: {'reached': kl_from(x, toy), 'fresh': kl_from(fresh, toy)})


def at_entropy(family, scale: float, entropy: float) -> tuple:
    """(toy, a function that brings it to that entropy, its measurements)."""
    import tensorflow as tf

    from run.toy import Toy

    def loss(pd, noise):
        if pd.has_analytic_entropy:
            return tf.square(pd.entropy()[0] - entropy)
        surprise = pd.neglogp(pd.sample(noise)) - entropy
        # a square of means would be too large by the variance: two halves of the samples are independent
        return tf.reduce_mean(surprise[::2]) * tf.reduce_mean(surprise[1::2])

    toy = Toy(family, loss, family.noise_size, scale >= XLA_PAYS)
    return (toy, lambda np_random: toy.fit(np_random, math.ceil(1500 * scale), batch=512, stepsize=1e-2),
            lambda samples: {'reached': -float(np.mean(toy.logp(samples)))})


PANELS = {'KL = 0.01': on_kl_ball,
          **{f'H = {h:g}': lambda family, scale, h=h: at_entropy(family, scale, h) for h in ENTROPIES}}


def measure(scale: float, seeds: int) -> tuple[list[dict], dict[str, np.ndarray]]:
    """(measurements of every fit, what the panels show: the fits with the median 99 % radius)."""
    rows, arrays = [], {'originals': originals(0)}
    bar = tqdm(total=len(PANELS) * len(families()) * len(SPREADS) * seeds, unit='fit')
    for panel, (name, family) in itertools.product(PANELS, families().items()):
        toy, fit, measurements = PANELS[panel](family, scale)
        for spread in SPREADS:
            fits = []
            for seed in range(seeds):
                np_random = np.random.default_rng(seed)
                toy.restart(np_random, spread)
                fit(np_random)
                samples = toy.sample(np_random, 100_000)
                rows.append({'panel': panel, 'family': name, 'spread': spread, 'scale': scale, 'seed': seed,
                             **measurements(samples), **spread_of(samples)})
                fits.append((rows[-1]['radius_99'], seed, samples[:1000], toy.logp(lattice(EXTENT, POINTS)[0])))
                bar.update()
            _, _, samples, logp = sorted(fits)[len(fits) // 2]
            arrays |= {f'{panel} {name} {spread:g} samples': samples, f'{panel} {name} {spread:g} logp': logp}
    return rows, {name: a.astype('float32') for name, a in arrays.items() if _is_shown(name)}


def _is_shown(name):
    """Of the released and of the random initialisation; densities on the KL ball only."""
    return name == 'originals' or ' 0.3 ' not in name and not (name.startswith('H') and name.endswith('logp'))


# ================================================================
# Figure and table
# ================================================================

def draw(rows: Sequence[dict], arrays: dict[str, np.ndarray], path: str) -> None:
    """Contours (a) and samples (b) on the boundary of the KL ball, samples at fixed entropies (c)."""
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    plt.rcParams.update({'font.size': 9, 'axes.titlesize': 9})
    figure = plt.figure(figsize=(13, 5.4), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=[3.25, 2])
    draw_kl_ball(left, arrays)
    draw_entropies(right, arrays)
    seeds = len(seeds_of(rows))
    figure.suptitle(f'One KL divergence, or one entropy, different spread: of {seeds} seed{"s" * (seeds > 1)}, the '
                    'one with the median 99 % radius; 1000 samples each')
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
        bottom.scatter(*samples.T, s=3, color=BLUE, linewidths=0, label='$\\pi$, on the boundary')
        bottom.scatter(*arrays['originals'].T, s=1.5, color=RED, linewidths=0, alpha=0.8,
                       label='empirical distribution $\\hat{\\pi}_o$')
        bottom.set(aspect='equal', xlabel='$x_1$')
        outside = int((np.abs(samples) > EXTENT).any(axis=1).sum())
        bottom.text(0.03, 0.03, f'{outside} outside', transform=bottom.transAxes, fontsize=7)
    for ax, letter in zip(axes[:, 0], 'ab', strict=True):
        ax.set_ylabel(f'({letter})   $x_2$')
    figure.colorbar(contours, ax=axes, label='log density (a)', shrink=0.7)
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc='outside lower center', ncols=2, markerscale=4,
                  frameon=False)


def draw_entropies(figure, arrays: dict[str, np.ndarray]) -> None:
    """Panels (c), each about the means; of the flow what lies within twenty standard deviations of the Gaussian."""
    axes = figure.subplots(2, len(ENTROPIES))
    for ax, ((title, spread), h) in zip(axes.flat, itertools.product(INITIAL.items(), ENTROPIES), strict=True):
        flow, gaussian = (arrays[f'H = {h:g} {family} {spread:g} samples'] for family in ('flow', 'gaussian'))
        for samples, color, label in ((flow, BLUE, 'flow'), (gaussian, RED, 'Gaussian')):
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


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    args = parse_args('fig1', __doc__.splitlines()[0], SEEDS, argv)
    if args.dry_run:
        print(f'{len(PANELS)} panels × 2 families × initial spreads {SPREADS} × {args.seeds} seeds into '
              + os.path.join(args.folder, 'fig1.json'))
        return
    found = measured(args, 'fig1', measure)
    if found is None:
        return
    rows, arrays = found
    draw(rows, arrays, os.path.join(args.folder, 'fig1.png'))
    with open(os.path.join(args.folder, 'fig1.md'), 'w', encoding='utf-8') as fh:
        fh.write(report(rows))


if __name__ == '__main__':
    sys.exit(run_figure(main))
