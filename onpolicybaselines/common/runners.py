"""Base class of the objects that collect batches of experience (upstream common/runners.py)."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.vec_env import VecEnv


class AbstractEnvRunner(ABC):
    """Holds what rolling out `model` in `env` for `nsteps` steps at a time carries from batch to batch.

    obs [nenv, ...] are the current observations, states the model's recurrent state (None without one), dones
    [nenv] whether the last step ended an episode; batch_ob_shape is the shape of a whole batch of observations.
    Resets `env`.
    """

    def __init__(self, *, env: VecEnv, model: Any, nsteps: int) -> None:
        self.env = env
        self.model = model
        self.nenv = nenv = env.num_envs
        self.batch_ob_shape = (nenv*nsteps,) + env.observation_space.shape
        self.obs = np.zeros((nenv,) + env.observation_space.shape, dtype=env.observation_space.dtype.name)
        self.obs[:] = env.reset()
        self.nsteps = nsteps
        self.states = model.initial_state
        self.dones = [False for _ in range(nenv)]

    @abstractmethod
    def run(self) -> Any:
        """Take nsteps steps in every environment; returns the batch."""

    def state(self) -> State:
        """The current observations, the model's states, and which episodes are over; those of `env` are its own."""
        return {'obs': np.array(self.obs), 'states': None if self.states is None else np.array(self.states),
                'dones': np.array(self.dones)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        check_shapes('the runner', state, self.state())
        self.obs, self.dones = np.array(state['obs']), np.array(state['dones'])
        self.states = None if state['states'] is None else np.array(state['states'])
