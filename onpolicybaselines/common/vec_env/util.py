"""Helpers for dealing with vectorized environments."""
from typing import Any

import gymnasium
import numpy as np

from onpolicybaselines.common.vec_env.steps import Obs


def copy_obs_dict(obs: dict[Any, np.ndarray]) -> dict[Any, np.ndarray]:
    """A dict with copies of the arrays of `obs`."""
    return {k: np.array(v) for k, v in obs.items()}


def dict_to_obs(obs_dict: dict[Any, np.ndarray]) -> Obs:
    """The inverse of obs_to_dict."""
    return obs_dict[None] if None in obs_dict else obs_dict


def obs_space_info(obs_space: gymnasium.Space) -> tuple[list, dict[Any, tuple], dict[Any, np.dtype]]:
    """Keys, and shape and dtype by key, of the arrays an observation consists of.

    The keys are those of a Dict space, the indices of a Tuple space, and [None] for a space of single arrays.
    ValueError for a space whose parts are not arrays, such as a nested one.
    Source: openai/baselines `common/vec_env/util.py`.
    """
    if isinstance(obs_space, gymnasium.spaces.Dict):
        subspaces = dict(obs_space.spaces)
    elif isinstance(obs_space, gymnasium.spaces.Tuple):
        subspaces = dict(enumerate(obs_space.spaces))
    else:
        subspaces = {None: obs_space}
    for key, space in subspaces.items():
        if space.shape is None or space.dtype is None:
            raise ValueError('observations must be arrays or a flat dict or tuple of arrays, but %s is %s: wrap the '
                             'environment in gymnasium.wrappers.FlattenObservation'
                             % ('the space' if key is None else 'part %r' % key, space))
    return (list(subspaces), {k: space.shape for k, space in subspaces.items()},
            {k: space.dtype for k, space in subspaces.items()})


def obs_to_dict(obs: Any) -> dict[Any, Any]:
    """An observation as a dict with the keys of obs_space_info."""
    if isinstance(obs, tuple):
        return dict(enumerate(obs))
    return obs if isinstance(obs, dict) else {None: obs}
