"""The interface of vectorized environments: N environments that take their steps as one."""
import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np

from onpolicybaselines.common.env_state import env_state, set_env_state
from onpolicybaselines.common.state import State
from onpolicybaselines.common.tile_images import tile_images
from onpolicybaselines.common.vec_env.steps import Obs, Step, process_terminal_observations


class AlreadySteppingError(Exception):
    """step_async() was called while a step is pending."""

    def __init__(self) -> None:
        Exception.__init__(self, 'a step is already pending: call step_wait() before the next step_async()')


class NotSteppingError(Exception):
    """step_wait() was called while no step is pending."""

    def __init__(self) -> None:
        Exception.__init__(self, 'no step is pending: call step_async(actions) before step_wait()')


class VecEnv(ABC):
    """N environments of equal spaces, stepped together; an environment whose episode ends is reset at once.

    observation_space and action_space are those of one environment. Observations come as a new array [N, ...]
    (a dict of arrays for Dict and Tuple spaces), actions go in as [N, ...].
    Source: openai/baselines `common/vec_env/vec_env.py`.
    """

    closed = False
    spec = None
    render_mode = None

    metadata = {
        'render_modes': ['human', 'rgb_array']
    }

    def __init__(self, num_envs: int, observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
        self.num_envs = num_envs
        self.observation_space = observation_space
        self.action_space = action_space

    @abstractmethod
    def reset(self) -> Obs:
        """Start a new episode in every environment; returns the observations. A pending step is dropped."""

    @abstractmethod
    def step_async(self, actions: np.ndarray) -> None:
        """Let all environments start a step. AlreadySteppingError if one is pending."""

    @abstractmethod
    def step_wait(self) -> Step:
        """Finish the step of step_async(). NotSteppingError if there is none.

        Returns (obs, rews, dones, infos): the observations (after an episode's end, the first of the next one),
        rewards float64 [N], whether the episode ended bool [N], and a list of N dicts. At an episode's end the
        dict has 'terminal_observation', the last observation of the episode, and 'TimeLimit.truncated', True
        iff the episode was cut off (truncated) and not terminated.
        """

    def close_extras(self) -> None:  # noqa: B027
        """Free what the subclass holds; called once, by close()."""

    def close(self) -> None:
        """Free all resources. Further calls do nothing."""
        if self.closed:
            return
        self.closed = True
        self.close_extras()

    def step(self, actions: np.ndarray) -> Step:
        """step_async() and step_wait() in one."""
        self.step_async(actions)
        return self.step_wait()

    def render(self, mode: str = 'human') -> np.ndarray | None:
        """All environments as one image uint8 [h, w, 3] ('rgb_array'), or in their windows ('human').

        ValueError unless the environments were made with this render_mode.
        """
        if mode != self.render_mode:
            raise ValueError('render(%r) needs environments made with render_mode=%r, these have %r'
                             % (mode, mode, self.render_mode))
        imgs = self.get_images()
        return tile_images(imgs) if mode == 'rgb_array' else None

    def get_images(self) -> list[np.ndarray]:
        """What each environment's render() returns: for render_mode='rgb_array', N images uint8 [h, w, 3]."""
        raise TypeError('%s has no get_images(), so it cannot be rendered' % type(self).__name__)

    def state(self) -> State:
        """All that the future of the environments depends on. Raises NoStateError, see `common/env_state.py`."""
        return env_state(self)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on, to the bit, from the state of a VecEnv that was made alike. Raises ValueError if it was not."""
        set_env_state(self, state)

    @property
    def unwrapped(self) -> 'VecEnv':
        """The VecEnv inside all wrappers."""
        if isinstance(self, VecEnvWrapper):
            return self.venv.unwrapped
        else:
            return self


class VecEnvWrapper(VecEnv):
    """A VecEnv around another; attributes it lacks are looked up inside.

    Source: openai/baselines `common/vec_env/vec_env.py`.
    """

    def __init__(self, venv: VecEnv, observation_space: gymnasium.Space | None = None,
                 action_space: gymnasium.Space | None = None) -> None:
        self.venv = venv
        super().__init__(num_envs=venv.num_envs,
                         observation_space=venv.observation_space if observation_space is None else observation_space,
                         action_space=venv.action_space if action_space is None else action_space)
        # VecEnv has these on the class, so __getattr__ would never look inside for them
        for name in ('spec', 'render_mode', 'metadata'):
            setattr(self, name, getattr(venv, name, getattr(VecEnv, name)))

    def step_async(self, actions: np.ndarray) -> None:
        """Pass the actions on."""
        self.venv.step_async(actions)

    @abstractmethod
    def reset(self) -> Obs:
        """See VecEnv.reset."""

    @abstractmethod
    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""

    def close_extras(self) -> None:
        """Close the inner VecEnv."""
        self.venv.close()

    def render(self, mode: str = 'human') -> np.ndarray | None:
        """Render the inner VecEnv."""
        return self.venv.render(mode=mode)

    def get_images(self) -> list[np.ndarray]:
        """The images of the inner VecEnv."""
        return self.venv.get_images()

    def __getattr__(self, name: str) -> Any:
        if name.startswith('_') or name == 'venv':
            raise AttributeError("%s has no attribute '%s'" % (type(self).__name__, name))
        return getattr(self.venv, name)


class VecEnvObservationWrapper(VecEnvWrapper):
    """Changes observations, those at episodes' ends too. Source: openai/baselines `common/vec_env/vec_env.py`."""

    @abstractmethod
    def process(self, obs: Obs) -> Obs:
        """The changed batch of observations."""

    def reset(self) -> Obs:
        """Reset, with changed observations."""
        obs = self.venv.reset()
        return self.process(obs)

    def step_wait(self) -> Step:
        """Finish the step, with changed observations."""
        obs, rews, dones, infos = self.venv.step_wait()
        return self.process(obs), rews, dones, process_terminal_observations(self.process, infos)

@contextlib.contextmanager
def clear_mpi_env_vars() -> Iterator[None]:
    """Hide the MPI launcher's environment variables while child processes are started.

    A child that inherits them takes itself for its parent's MPI rank, and hangs or breaks when it initialises MPI.
    Source: openai/baselines `common/vec_env/vec_env.py`.
    """
    removed_environment = {}
    for k, v in list(os.environ.items()):
        # Open MPI, MPICH and its kin, PMIx, MVAPICH
        for prefix in ['OMPI_', 'PMI_', 'PMIX_', 'MPI_', 'HYDI_', 'MV2_']:
            if k.startswith(prefix):
                removed_environment[k] = v
                os.environ.pop(k, None)
    try:
        yield
    finally:
        os.environ.update(removed_environment)
