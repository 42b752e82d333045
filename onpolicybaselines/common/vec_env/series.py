"""Many environments in a few processes: each steps several, one after the other (upstream's `in_series`)."""
import functools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space

from onpolicybaselines.common.cores import cores
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.steps import Step
from onpolicybaselines.common.vec_env.subproc_vec_env import SubprocVecEnv
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper


class Series(gymnasium.Env):
    """The environments of one process as one that never ends: they reset themselves, and what else a step gave is its
    info. spaces: where those of one environment are put."""

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], spaces: dict[str, gymnasium.Space]) -> None:
        self.venv = DummyVecEnv(env_fns)
        self.spec = self.venv.spec
        spaces.update(observation_space=self.venv.observation_space, action_space=self.venv.action_space)
        self.observation_space = batch_space(self.venv.observation_space, len(env_fns))
        self.action_space = batch_space(self.venv.action_space, len(env_fns))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Reset them all; seeds are their makers'."""
        return self.venv.reset(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Step them all."""
        obs, *rest = self.venv.step(actions)
        return obs, 0., False, False, {'step': rest}

    def close(self) -> None:
        """Close them all."""
        self.venv.close()


class SeriesVecEnv(VecEnvWrapper):
    """SubprocVecEnv of `processes` processes, among which the environments are shared out evenly, neighbours together.

    Observations must be single arrays. ValueError if `processes` does not divide the number of environments.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], processes: int) -> None:
        n, rest = divmod(len(env_fns), processes)
        if rest:
            raise ValueError(f'{len(env_fns)} environments cannot be shared out evenly among {processes} processes')
        spaces: dict[str, gymnasium.Space] = {}
        venv = SubprocVecEnv([functools.partial(Series, env_fns[i:i + n], spaces) for i in range(0, len(env_fns), n)])
        super().__init__(venv, **spaces)
        self.num_envs = len(env_fns)

    def reset(self) -> np.ndarray:
        """See VecEnv.reset."""
        return self._flat(self.venv.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """See VecEnv.step_async."""
        if len(actions) != self.num_envs:
            raise ValueError(f'{self.num_envs} environments need as many actions, got {actions!r}')
        self.venv.step_async(np.reshape(actions, (self.venv.num_envs, -1, *self.action_space.shape)))

    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""
        obs, _, _, infos = self.venv.step_wait()
        rews, dones, infos = zip(*(info['step'] for info in infos), strict=True)
        return self._flat(obs), np.concatenate(rews), np.concatenate(dones), [info for of in infos for info in of]

    def _flat(self, obs: Any) -> np.ndarray:
        return obs.reshape(self.num_envs, *obs.shape[2:])


def in_series(env_fns: Sequence[Callable[[], gymnasium.Env]]) -> VecEnv:
    """As many processes as there are cores for this rank, or the next number that divides that of environments.

    One process is this one. For environments that keep a core busy, as games do: more processes than cores only wait
    for each other.
    """
    processes = max(n for n in range(1, len(env_fns) + 1) if len(env_fns) % n == 0 and n <= cores())
    return DummyVecEnv(env_fns) if processes == 1 else SeriesVecEnv(env_fns, processes)
