"""One entry of dict observations."""
from typing import Any

import numpy as np

from onpolicybaselines.common.vec_env.steps import Obs
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvObservationWrapper


class VecExtractDictObs(VecEnvObservationWrapper):
    """Keeps only the entry `key` of observations from a Dict space.

    Source: openai/baselines `common/vec_env/vec_remove_dict_obs.py`.
    """

    def __init__(self, venv: VecEnv, key: Any) -> None:
        self.key = key
        super().__init__(venv=venv, observation_space=venv.observation_space.spaces[self.key])

    def process(self, obs: Obs) -> np.ndarray:
        """The entry `key`."""
        return obs[self.key]
