"""Fisher-vector products without TensorFlow, whose calls cost more than the arithmetic of small networks."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from onpolicybaselines.common import actors
from onpolicybaselines.common.distributions import DiagGaussianPdType
from onpolicybaselines.common.policies import PolicyWithValue

SLOPES = {'linear': lambda h: np.ones_like(h), 'tanh': lambda h: 1 - h * h, 'relu': lambda h: (h > 0).astype(h.dtype)}
"""derivatives of activations, from their values"""


class Part(NamedTuple):
    """Where a variable is in a flat vector."""

    where: slice
    shape: tuple[int, ...]

    def of(self, flat: np.ndarray) -> np.ndarray:
        """The variable, a view."""
        return flat[self.where].reshape(self.shape)


def gaussian_fisher(pi: PolicyWithValue) -> 'GaussianFisher | None':
    """That of a Gaussian with a free standard deviation, if its mean comes from dense layers with SLOPES; else None."""
    numbers = np.arange(sum(v.shape.num_elements() for v in pi.var_list))
    ends = np.cumsum([v.shape.num_elements() for v in pi.var_list])
    places = {v.name.partition(':')[0]: part.reshape(v.shape)
              for v, part in zip(pi.var_list, np.split(numbers, ends[:-1]), strict=True)}
    hidden = pi.latent_layers(places)
    if type(pi.pdtype) is not DiagGaussianPdType or 'pi/logstd' not in places or hidden is None:
        return None
    layers = [*hidden, *actors.matching_dense(places, 'pi')]
    if any(layer.norm is not None or layer.activation not in SLOPES for layer in layers):
        return None
    return GaussianFisher(pi, layers, _part(places['pi/logstd']))


def _part(places):
    return Part(slice(places.flat[0], places.flat[-1] + 1), places.shape)


class GaussianFisher:
    """F v = mean over states of J' diag(1/std^2) J v, J the Jacobian of the mean; 2 v for log standard deviations.

    It is the Hessian of the mean KL divergence at th, as `losses.make_functions` has it for all policies.

    layers: `actors.Dense` whose numbers say where they are in th.
    """

    def __init__(self, pi: PolicyWithValue, layers: list[actors.Dense], logstd: Part) -> None:
        self.pi, self.logstd = pi, logstd
        self.layers = [(_part(w), _part(b), activation) for w, b, activation, _ in layers]

    def __call__(self, flat_tangent: np.ndarray, th: np.ndarray, ob: np.ndarray, ac: np.ndarray) -> np.ndarray:
        """F v at th, of the states ob [B, ...]."""
        return self.given(th, ob, ac)(flat_tangent)

    def given(self, th: np.ndarray, ob: np.ndarray, ac: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """v -> F v, with what does not depend on v computed once."""
        x = encoded = self.pi.encoded(ob)
        passes = []
        for w, b, activation in self.layers:
            h = actors.Dense(w.of(th), b.of(th), activation)(x)
            passes.append((w, b, x, w.of(th), SLOPES[activation](h)))
            x = h
        metric = np.exp(-2 * self.logstd.of(th)) / th.dtype.type(len(ob))

        def product(v):
            out, d = np.empty_like(v), np.zeros_like(encoded)
            for w, b, x, weights, slope in passes:
                d = (x @ w.of(v) + d @ weights + b.of(v)) * slope
            d *= metric
            for w, b, x, weights, slope in reversed(passes):
                d *= slope
                w.of(out)[:], b.of(out)[:] = x.T @ d, d.sum(axis=0)
                d = d @ weights.T
            self.logstd.of(out)[:] = 2 * self.logstd.of(v)
            return out
        return product
