"""Observation and action spaces as JSON, for model files."""
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from onpolicybaselines.common.errors import UsageError


def space_to_json(space: spaces.Space) -> dict[str, Any]:
    """A space that policies take, as JSON values; `space_from_json` makes an equal one of them.

    >>> space_to_json(spaces.Box(-np.inf, 1, (3,)))
    {'type': 'Box', 'low': '-inf', 'high': 1.0, 'shape': [3], 'dtype': 'float32'}
    """
    if isinstance(space, spaces.Box):
        return {'type': 'Box', 'low': _bound(space.low), 'high': _bound(space.high), 'shape': list(space.shape),
                'dtype': space.dtype.name}
    if isinstance(space, spaces.Discrete):
        return {'type': 'Discrete', 'n': int(space.n), 'start': int(space.start), 'dtype': space.dtype.name}
    if isinstance(space, spaces.MultiDiscrete):
        return {'type': 'MultiDiscrete', 'nvec': space.nvec.tolist(), 'start': space.start.tolist(),
                'dtype': space.dtype.name}
    if isinstance(space, spaces.MultiBinary):
        return {'type': 'MultiBinary', 'n': space.n if isinstance(space.n, int) else list(space.n)}
    raise UsageError(f'{" ".join(str(space).split())} cannot be saved: policies take Box, Discrete, MultiDiscrete and '
                     'MultiBinary')


def _bound(array):
    """One number where all are the same; what is not finite as a text, which JSON has."""
    if array.size and (array == array.flat[0]).all():
        return _number(array.flat[0].item())
    return [_number(value) for value in array.ravel().tolist()]


def _number(value):
    return value if np.isfinite(value) else str(value)


def space_from_json(space: Mapping[str, Any]) -> spaces.Space:
    """Undo `space_to_json`. Raises ValueError, KeyError or TypeError for anything else."""
    match space['type']:
        case 'Box':
            dtype, shape = np.dtype(space['dtype']), tuple(space['shape'])
            low, high = (np.broadcast_to(_array(space[name], dtype, shape), shape) for name in ('low', 'high'))
            return spaces.Box(low, high, dtype=dtype)
        case 'Discrete':
            return spaces.Discrete(space['n'], start=space['start'], dtype=np.dtype(space['dtype']).type)
        case 'MultiDiscrete':
            return spaces.MultiDiscrete(space['nvec'], start=space['start'], dtype=np.dtype(space['dtype']).type)
        case 'MultiBinary':
            return spaces.MultiBinary(space['n'])
    raise ValueError(f'no space is called {space["type"]!r}')


def _array(bound, dtype, shape):
    """The numbers of `_bound`: integers of 64 bits must not become floats on the way."""
    array = np.array([_parsed(value, dtype) for value in bound] if isinstance(bound, list) else _parsed(bound, dtype),
                     dtype)
    return array if array.ndim == 0 else array.reshape(shape)


def _parsed(value, dtype):
    return float(value) if np.issubdtype(dtype, np.floating) else value
