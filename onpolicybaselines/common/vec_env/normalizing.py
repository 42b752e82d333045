"""What VecNormalize makes of one observation, and of a space; what a model file holds of it; where it is."""
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from onpolicybaselines.common.state import check_shapes


def normalize(venv: Any, obs: np.ndarray) -> np.ndarray:
    """Observations [..., *shape] by the present statistics of a VecNormalize."""
    obs = np.clip((obs - venv.ob_rms.mean) / np.sqrt(venv.ob_rms.var + venv.epsilon), -venv.clipob, venv.clipob)
    return obs.astype(venv.observation_space.dtype)


def normalized_space(space: gymnasium.Space, clipob: float) -> gymnasium.spaces.Box:
    """Where normalised observations lie: without it, images would come out in uint8 buffers."""
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(f'VecNormalize(ob=True) needs Box observations, got {space}: pick one entry by '
                         'VecExtractDictObs, or flatten them by gymnasium.wrappers.FlattenObservation')
    dtype = space.dtype if np.issubdtype(space.dtype, np.floating) else np.float32
    return gymnasium.spaces.Box(-clipob, clipob, space.shape, dtype)


def statistics(venv: Any) -> dict[str, np.ndarray]:
    """Those of a VecNormalize, flat: 'ob_rms/mean' and so on, 'ret_rms/mean' and so on; of what it does not
    normalise, none."""
    return {f'{of}/{name}': np.array(value) for of in ('ob_rms', 'ret_rms') if getattr(venv, of)
            for name, value in getattr(venv, of).state().items()}


def set_statistics(venv: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Give a VecNormalize what `statistics` gave of another. Raises ValueError if it does not fit."""
    check_shapes('VecNormalize', arrays, statistics(venv))
    for of in ('ob_rms', 'ret_rms'):
        if getattr(venv, of):
            getattr(venv, of).set_state({name: arrays[f'{of}/{name}'] for name in ('mean', 'var', 'count')})


def find(venv: Any, kind: type) -> Any:
    """The wrapper of that class that `venv` is, or has inside, VecNormalize for one; None without one."""
    while venv is not None and not isinstance(venv, kind):
        venv = vars(venv).get('venv')
    return venv
