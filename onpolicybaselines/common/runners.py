"""Base class of the objects that collect batches of experience."""
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from onpolicybaselines.common.vec_env import VecEnv


class AbstractEnvRunner(ABC):
    """Holds what rolling out `model` in `env` for `nsteps` steps at a time carries from batch to batch.

    obs [nenv, ...] are the current observations, states the model's recurrent state (None without one), dones
    [nenv] whether the last step ended an episode; batch_ob_shape is the shape of a whole batch of observations.
    Resets `env`. Source: openai/baselines `common/runners.py`.
    """

    def __init__(self, *, env: VecEnv, model: Any, nsteps: int) -> None:
        self.env = env
        self.model = model
        self.nenv = nenv = env.num_envs
        self.batch_ob_shape = (nenv * nsteps,) + env.observation_space.shape
        self.obs = np.array(env.reset(), dtype=env.observation_space.dtype)
        self.nsteps = nsteps
        self.states = model.initial_state
        self.dones = [False for _ in range(nenv)]

    @abstractmethod
    def run(self) -> Any:
        """Take nsteps steps in every environment; returns the batch."""
