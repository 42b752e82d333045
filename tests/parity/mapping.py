"""Released parameter vectors and ours.

The originals' networks hold entries that cannot matter: the couplings see a masked vector of all action coordinates,
and their outputs at kept coordinates are masked too. Ours have the other entries only, s and t stacked. So our flat
vector is a selection of the released one, and so are gradients and Fisher-vector products, which are 0 elsewhere.
"""
import re
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf


class Mapping:
    """index [n]: the position in the released vector of each of our n entries; size: length of the released vector."""

    def __init__(self, index: np.ndarray, size: int):
        self.index = index
        self.size = size
        self.dropped = np.setdiff1d(np.arange(size), index)
        if len(self.index) + len(self.dropped) != size:
            raise ValueError('two of our entries come from one released entry')

    def ours(self, released: np.ndarray) -> np.ndarray:
        """[..., size] -> [..., n]."""
        return released[..., self.index]

    def released(self, ours: np.ndarray, dropped: np.ndarray | float = 0.) -> np.ndarray:
        """[..., n] -> [..., size], with `dropped` at the entries that ours lack."""
        out = np.empty((*ours.shape[:-1], self.size), ours.dtype)
        out[..., self.dropped] = dropped
        out[..., self.index] = ours
        return out


def mapping(var_list: Iterable[tf.Variable], names: np.ndarray, shapes: np.ndarray,
            pick: Callable[[str, dict[str, np.ndarray]], np.ndarray]) -> Mapping:
    """The mapping from the released variables `names` of `shapes` (padded by -1) to `var_list`.

    pick(name of ours, {released name: positions, shaped as the variable}): the positions of our variable's entries, in
    its shape up to axes of length 1.
    """
    positions, size = {}, 0
    for name, shape in zip(names.tolist(), shapes, strict=True):
        shape = shape[shape >= 0]
        positions[name] = size + np.arange(np.prod(shape, dtype=int)).reshape(shape)
        size += positions[name].size
    index = []
    for v in var_list:
        name = v.name.split(':')[0]
        picked = pick(name, positions)
        if _squeezed(picked.shape) != _squeezed(v.shape):
            raise ValueError(f'{name} has shape {tuple(v.shape)}, its counterpart in the trace {picked.shape}')
        index.append(picked.ravel())
    return Mapping(np.concatenate(index), size)


def _squeezed(shape):
    return [n for n in shape if n != 1]


def renamed(*rules: tuple[str, str]) -> Callable:
    """A `pick` by name alone: 'a/b' becomes 'a.b', then each regular expression of `rules` is replaced."""
    def pick(name, positions):
        name = name.replace('/', '.')
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        return positions[name]
    return pick


def numbered(replacement: str) -> Callable:
    """Replaces a group that is a layer's number from 0 by `replacement` with the number from 1."""
    return lambda match: replacement.format(int(match[1]) + 1)


SAME_NAMES = renamed()
RELEASED_VALUE = renamed((r'^vf\.mlp_fc(\d+)', numbered('value.vffc{}')), (r'^vf\.', 'value.vffinal.'))
RELEASED_MIXTURE = renamed((r'^pi\.mlp_fc(\d+)', numbered('forward.polfc{}')),
                           (r'^pi\.(\d+)\.logstd', r'forward.logstd_\1'), (r'^pi\.(\d+)', r'forward.polfinal_\1'))


def released_flow(masks: np.ndarray) -> Callable:
    """The `pick` of the flow policy; masks [couplings, A]: 1 where a coupling keeps a coordinate."""
    def pick(name, positions):
        prefix = next(iter(positions)).split('Nlayer_')[0]
        name = name.removeprefix('pi/').replace('/', '.')
        coupling = re.fullmatch(r'(Nlayer_(\d+))\.(.*)', name)
        if not coupling:
            return positions[prefix + name]
        layer, number, entry = coupling.groups()
        keep = masks[int(number)] == 1
        s_and_t = np.stack([positions[f'{prefix}{layer}.{net}.{entry}'] for net in 'st'])
        if entry == 'dense.kernel':
            return s_and_t[:, keep]  # rows of masked inputs
        if entry.startswith('dense_2'):
            return s_and_t[..., ~keep]  # columns of masked outputs
        return s_and_t
    return pick
