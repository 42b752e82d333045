"""What a family of distributions adds to the network below it, in NumPy. N: observations at a time, A: dimensions."""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from onpolicybaselines.common.actors.machine import sigmoid
from onpolicybaselines.common.actors.networks import Dense, side_by_side


class Coupling(NamedTuple):
    """`flows.AffineCoupling`: of an x, `keep` coordinates from keep_from on stay, `move` others, from move_from on,
    become x exp(s) + t; layers: kept coordinates, then what a head's `flat` has after its first A -> [s | t]."""

    keep_from: int
    keep: int
    move_from: int
    move: int
    layers: list[Dense]


class Head(NamedTuple):
    """What a family adds to the network below it.

    layers: from the latent to `flat` [N, n]; sample(flat, noise of `PdType.noise`) and mode(flat): actions [N, ...].
    couplings: the same for numba, which pushes noise, or zeros for the mode, through these and adds the first A of
    `flat` after the first; none if the family cannot be written so.
    components: of a mixture, whose noise ends with what `component` takes, and for the rest is theirs.
    """

    layers: list[Dense]
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray]
    mode: Callable[[np.ndarray], np.ndarray]
    couplings: Sequence[Coupling] = ()
    components: Sequence['Head'] = ()


def categorical(layers: list[Dense]) -> Head:
    """`CategoricalPd`; flat: logits."""
    return Head(layers, lambda logits, u: _argmax(logits + _gumbel(u)), _argmax)


def multicategorical(layers: list[Dense], nvec: Sequence[int]) -> Head:
    """`MultiCategoricalPd`; flat: the logits of all categoricals."""
    ends = np.cumsum(nvec)[:-1]

    def mode(logits):
        return np.stack([_argmax(part) for part in np.split(logits, ends, axis=-1)], axis=-1)
    return Head(layers, lambda logits, u: mode(logits + _gumbel(u)), mode)


def bernoulli(layers: list[Dense]) -> Head:
    """`BernoulliPd`; flat: logits."""
    return Head(layers, lambda logits, u: (u < sigmoid(logits)).astype('int32'),
                lambda logits: np.round(sigmoid(logits)).astype('int32'))


def diag_gaussian(layers: list[Dense], logstd: np.ndarray) -> Head:
    """`DiagGaussianPd`; flat: the mean; logstd: [1, A]."""
    std, size = np.exp(logstd), logstd.size
    scale = Dense(np.zeros([0, 2 * size]), np.concatenate([logstd.ravel(), np.zeros(size)]))
    return Head(layers, lambda mean, noise: mean + std * noise, lambda mean: mean, [Coupling(0, 0, 0, size, [scale])])


def state_dependent_gaussian(layers: list[Dense]) -> Head:
    """`DiagGaussianPd`; flat: [mean | log standard deviation]."""
    size = len(layers[-1].b) // 2

    def sample(flat, noise):
        return flat[:, :size] + np.exp(flat[:, size:]) * noise
    scale = Dense(np.eye(size, 2 * size), np.zeros(2 * size))  # s is what flat has after the mean, t is 0
    return Head(layers, sample, lambda flat: flat[:, :size], [Coupling(0, 0, 0, size, [scale])])


def gaussian_mixture(layers: list[Dense], logstd: np.ndarray) -> Head:
    """`GaussianMixturePd`; flat: the means of the K components, from a layer each; logstd: [K, A]."""
    std, (components, size) = np.exp(logstd), logstd.shape

    def sample(flat, noise):
        k = component(noise, components)
        return mean_of(flat, k) + std.take(k, axis=0) * noise[:, :-1]

    def mode(flat):
        mean = flat.reshape(-1, components, size)
        z = (mean[:, :, np.newaxis] - mean[:, np.newaxis]) / std  # of each mean in each component
        logp = -0.5 * np.square(z).sum(axis=-1) - logstd.sum(axis=-1)
        return mean_of(flat, np.logaddexp.reduce(logp, axis=-1).argmax(axis=-1))

    def mean_of(flat, k):
        return flat.reshape(-1, size).take(k + np.arange(0, components * len(k), components), axis=0)
    return Head([side_by_side(layers)], sample, mode,
                components=[diag_gaussian([layer], row[np.newaxis])
                            for layer, row in zip(layers, logstd, strict=True)])


def flow(layers: list[Dense], couplings: Sequence[Coupling]) -> Head:
    """`NormalizingFlowPd`; flat: the state vector."""
    def sample(flat, noise):
        y = noise.astype(flat.dtype)
        for i, (keep_from, keep, move_from, move, layers) in enumerate(couplings):
            h = y[:, keep_from:keep_from + keep]
            for layer in layers:
                h = layer(h)
            y[:, move_from:move_from + move] *= np.exp(h[:, :move])
            y[:, move_from:move_from + move] += h[:, move:2 * move]
            if i == 0:
                y += flat
        return y
    return Head(layers, sample, lambda flat: sample(flat, np.zeros_like(flat)), couplings)


def component(noise: np.ndarray, components: int) -> np.ndarray:
    """Which component the last column of the noise, uniform on [0, 1], chooses for each row."""
    return np.minimum((noise[:, -1] * components).astype(int), components - 1)  # it may round up to 1


def _argmax(logits):
    return logits.argmax(axis=-1).astype('int32')


def _gumbel(u):
    with np.errstate(divide='ignore'):  # u may be 0
        return -np.log(-np.log(u))
