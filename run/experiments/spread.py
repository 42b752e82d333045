"""Gaussians and flows of one KL divergence, or of one entropy (figure 1): fits, and how far they spread."""
import itertools
import math
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from run.experiments.measured import XLA_PAYS, lattice

STD = 0.1  # of the factorized Gaussian in the centre of the KL ball
N_ORIGINALS = 1000  # samples of it: the empirical distribution
KL = 0.01
ENTROPIES = (-1., -4.)
SPREADS = (0., 0.3, 1.)  # added to every initial parameter: N(0, spread^2); 0 is the released code's initialisation
SEEDS = 10
EXTENT, POINTS = 0.75, 101  # of the panels (a, b), and of their lattice along each axis


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

    from run.experiments.toy import Toy
    x, fresh = originals(0), originals(1, 100_000)
    toy = Toy(family, lambda pd, rows: -tf.reduce_mean(pd.logp(rows)), 2, scale >= XLA_PAYS)  # KL up to a constant
    return (toy, lambda np_random: descend_until(toy, lambda: kl_from(x, toy), KL, x, math.ceil(20000 * scale)),
            lambda samples: {'reached': kl_from(x, toy), 'fresh': kl_from(fresh, toy)})


def at_entropy(family, scale: float, entropy: float) -> tuple:
    """(toy, a function that brings it to that entropy, its measurements)."""
    import tensorflow as tf

    from run.experiments.toy import Toy

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
