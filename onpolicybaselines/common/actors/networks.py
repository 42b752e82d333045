"""Networks of an actor: lists of dense layers, in NumPy. N: observations at a time."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from onpolicybaselines.common.actors.machine import ACTIVATIONS, activate

Arrays = Mapping[str, np.ndarray]


def in_scope(arrays: Arrays, scope: str) -> dict[str, np.ndarray]:
    """The arrays under `scope`, by their names within it."""
    return {name.removeprefix(scope + '/'): array for name, array in arrays.items() if name.startswith(scope + '/')}


class Dense(NamedTuple):
    """A layer activation(norm(x @ w + b)), [N, in] -> [N, out]; activation: one of ACTIVATIONS.

    norm: (gamma [out], beta [out], epsilon, groups) of a layer normalisation of each of `groups` equal parts; None: no.
    """

    w: np.ndarray
    b: np.ndarray
    activation: str = 'linear'
    norm: tuple[np.ndarray, np.ndarray, float, int] | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The output at x."""
        h = x.dot(self.w)
        h += self.b
        if self.norm is not None:
            gamma, beta, epsilon, groups = self.norm
            part = h.reshape(len(h), groups, -1)
            part -= part.mean(axis=2, keepdims=True)
            part /= np.sqrt(np.square(part).mean(axis=2, keepdims=True) + epsilon)
            h = h * gamma + beta
        return activate(h, ACTIVATIONS.index(self.activation))


def dense(arrays: Arrays, scope: str, activation: str = 'linear', layer_norm: bool = False) -> Dense:
    """The layer with variables w and b in `scope`, such as `a2c.utils.fc` makes; layer_norm: `tf_util.layer_norm`
    follows, in the same scope."""
    norm = None
    if layer_norm:
        norm = arrays[f'{scope}/LayerNorm/gamma'], arrays[f'{scope}/LayerNorm/beta'], 1e-12, 1
    return Dense(arrays[f'{scope}/w'], arrays[f'{scope}/b'], activation, norm)


def matching_dense(arrays: Arrays, scope: str) -> list[Dense]:
    """The layer in `scope`; none where the latent has its size already, as in `distributions._matching_fc`."""
    return [dense(arrays, scope)] if f'{scope}/w' in arrays else []


def side_by_side(layers: Sequence[Dense]) -> Dense:
    """Linear layers with the same input as one, their outputs one after the other."""
    return Dense(np.concatenate([layer.w for layer in layers], axis=1), np.concatenate([layer.b for layer in layers]))
