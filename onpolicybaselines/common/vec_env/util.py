"""Helpers for dealing with vectorized environments."""
from typing import Any

import gymnasium
import numpy as np

from onpolicybaselines.common.vec_env.steps import Obs


def copy_obs_dict(obs: dict[Any, np.ndarray]) -> dict[Any, np.ndarray]:
    """A dict with copies of the arrays of `obs`."""
    return {k: np.copy(v) for k, v in obs.items()}


def dict_to_obs(obs_dict: dict[Any, np.ndarray]) -> Obs:
    """The inverse of obs_to_dict."""
    if None in obs_dict:
        return obs_dict[None]
    return obs_dict


def obs_space_info(obs_space: gymnasium.Space) -> tuple[list, dict[Any, tuple], dict[Any, np.dtype]]:
    """Keys, and shape and dtype by key, of the arrays an observation consists of.

    The keys are those of a Dict space, the indices of a Tuple space, and [None] for a space of single arrays.
    ValueError for a space whose parts are not arrays, such as a nested one.
    Source: openai/baselines `common/vec_env/util.py`.
    """
    if isinstance(obs_space, gymnasium.spaces.Dict):
        subspaces: dict[Any, gymnasium.Space] = obs_space.spaces
    elif isinstance(obs_space, gymnasium.spaces.Tuple):
        subspaces = {i: obs_space.spaces[i] for i in range(len(obs_space.spaces))}
    else:
        subspaces = {None: obs_space}
    keys = []
    shapes = {}
    dtypes = {}
    for key, box in subspaces.items():
        if box.shape is None or box.dtype is None:
            raise ValueError('observations must be arrays or a flat dict or tuple of arrays, but %s is %s: wrap the '
                             'environment in gymnasium.wrappers.FlattenObservation'
                             % ('the space' if key is None else 'part %r' % key, box))
        keys.append(key)
        shapes[key] = box.shape
        dtypes[key] = box.dtype
    return keys, shapes, dtypes


def obs_to_dict(obs: Any) -> dict[Any, Any]:
    """An observation as a dict with the keys of obs_space_info."""
    if isinstance(obs, tuple):
        return dict(enumerate(obs))
    if isinstance(obs, dict):
        return obs
    return {None: obs}
