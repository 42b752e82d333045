"""What VecNormalize makes of one observation, and of a space."""
from typing import Any

import gymnasium
import numpy as np


def normalize(venv: Any, obs: np.ndarray) -> np.ndarray:
    """Observations [..., *shape] by the present statistics of a VecNormalize."""
    obs = (obs - venv.ob_rms.mean) / np.sqrt(venv.ob_rms.var + venv.epsilon)
    return clip(obs, venv.clipob).astype(venv.observation_space.dtype)


def clip(x: np.ndarray, limit: float) -> np.ndarray:
    """Between -limit and limit; faster for few numbers than np.clip."""
    return np.minimum(np.maximum(x, -limit), limit)


def normalized_space(space: gymnasium.Space, clipob: float) -> gymnasium.spaces.Box:
    """Where normalised observations lie: without it, images would come out in uint8 buffers."""
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(f'VecNormalize(ob=True) needs Box observations, got {space}: pick one entry by '
                         'VecExtractDictObs, or flatten them by gymnasium.wrappers.FlattenObservation')
    dtype = space.dtype if np.issubdtype(space.dtype, np.floating) else np.float32
    return gymnasium.spaces.Box(-clipob, clipob, space.shape, dtype)
