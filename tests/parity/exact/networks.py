"""Layers with their backward passes: every function returns (output, back), back(d output) -> d input.

B: batch. `Pass` keeps the gradients of parameters, and for each use of a parameter (input, d output), of which K-FAC
makes its factors.
"""
import functools
from collections.abc import Callable, Sequence

import numpy as np

from exact.arithmetic import cross, kept, real


class Pass:
    """One evaluation of a network with parameters {name: array}."""

    def __init__(self, params: dict[str, np.ndarray]):
        self.params = params
        self.grads = {name: np.zeros_like(value) for name, value in params.items()}
        self.uses: dict[str, list[tuple]] = {}

    def _used(self, name, x, d, grad):
        self.grads[name] = self.grads[name] + grad.reshape(self.grads[name].shape)
        self.uses.setdefault(name, []).append((x, d))

    def dense(self, w: str, b: str) -> Callable:
        def layer(x):
            def back(d):
                self._used(w, x, d, cross(x, d))
                self._used(b, None, d, d.sum(axis=0))
                return d @ self.params[w].T
            return x @ self.params[w] + self.params[b], back
        return layer

    def layer_norm(self, beta: str, gamma: str, epsilon: float = 1e-12) -> Callable:
        """contrib's: the mean inside the variance is held constant, which changes second derivatives only."""
        def layer(x):
            n = x.shape[1]
            mean = x.mean(axis=1, keepdims=True)
            deviation = x - real(mean)
            variance = (deviation * deviation).mean(axis=1, keepdims=True) + x.real.dtype.type(epsilon)
            scale = 1 / np.sqrt(variance)
            normed = (x - mean) * scale

            def back(d):
                self._used(beta, None, d, d.sum(axis=0))
                self._used(gamma, None, d * normed, (d * normed).sum(axis=0))
                d = d * self.params[gamma]
                d_scale = (d * (x - mean)).sum(axis=1, keepdims=True)
                d_x = d * scale
                return d_x - d_x.mean(axis=1, keepdims=True) - d_scale * scale / variance * deviation / n
            return normed * self.params[gamma] + self.params[beta], back
        return layer


def tanh(x: np.ndarray) -> tuple:
    y = kept(np.tanh(x))
    return y, lambda d: d * (1 - y * y)


def relu(x: np.ndarray) -> tuple:
    on = real(x) > 0
    return x * on, lambda d: d * on


def elu(x: np.ndarray) -> tuple:
    on = real(x) > 0
    y = kept(np.where(on, x, np.expm1(np.where(on, 0, x))))
    return y, lambda d: d * np.where(on, 1, y + 1)


def chain(x: np.ndarray, layers: Sequence[Callable]) -> tuple:
    backs = []
    for layer in layers:
        x, back = layer(x)
        backs.append(back)
    return x, lambda d: functools.reduce(lambda d, back: back(d), reversed(backs), d)


def dense_names(names: Sequence[str]) -> list[tuple[str, str]]:
    """(weights, bias) of dense layers, in order, from the names of the variables."""
    return [(name, name[:-1] + 'b') for name in map(str, names) if name.endswith('.w')]


def mlp(layers: Pass, x: np.ndarray, activation: Callable, names: Sequence[tuple[str, str]] | None = None) -> tuple:
    """Dense layers of those names (all of the parameters' by default), `activation` between them."""
    *hidden, last = dense_names(layers.params) if names is None else names
    return chain(x, [step for pair in hidden for step in (layers.dense(*pair), activation)] + [layers.dense(*last)])


def observed(ob: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Observations as TRPO's networks get them."""
    return np.clip((ob - mean) / std, -5, 5)
