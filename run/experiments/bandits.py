"""Maximum-entropy bandits (figure 2 a, b): their optima, and how near each policy gets."""
import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tqdm import tqdm

from run.experiments.measured import XLA_PAYS, lattice

SEEDS = 5
SPREADS = (0., 1.)  # added to every initial parameter: N(0, spread^2)
SHOWN = 0.  # of SPREADS: the initialisation of training


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

    from run.experiments.toy import Toy

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
