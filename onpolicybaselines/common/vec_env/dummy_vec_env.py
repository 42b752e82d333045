"""Environments that take their steps one after the other in this process."""
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from onpolicybaselines.common.vec_env.rendering import render_env
from onpolicybaselines.common.vec_env.steps import Obs, Step, end_of_episode, reset_of, step_of
from onpolicybaselines.common.vec_env.util import copy_obs_dict, dict_to_obs, obs_space_info
from onpolicybaselines.common.vec_env.vec_env import AlreadySteppingError, NotSteppingError, VecEnv


class DummyVecEnv(VecEnv):
    """VecEnv that steps its environments one after the other: the fastest for one environment or cheap ones.

    env_fns are functions that make the environments. ValueError without environments or if their spaces differ.
    Source: openai/baselines `common/vec_env/dummy_vec_env.py`.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]]) -> None:
        self.envs = [fn() for fn in env_fns]
        if not self.envs:
            raise ValueError('DummyVecEnv needs at least one environment')
        env = self.envs[0]
        for other in self.envs[1:]:
            if (other.observation_space, other.action_space) != (env.observation_space, env.action_space):
                raise ValueError('all environments of a VecEnv need the same spaces, got %s, %s and %s, %s'
                                 % (env.observation_space, env.action_space,
                                    other.observation_space, other.action_space))
        VecEnv.__init__(self, len(env_fns), env.observation_space, env.action_space)
        obs_space = env.observation_space
        self.keys, shapes, dtypes = obs_space_info(obs_space)

        self.buf_obs = {k: np.zeros((self.num_envs,) + tuple(shapes[k]), dtype=dtypes[k]) for k in self.keys}
        self.buf_dones = np.zeros((self.num_envs,), dtype=bool)
        self.buf_rews = np.zeros((self.num_envs,))
        self.buf_infos = [{} for _ in range(self.num_envs)]
        self.actions = None
        self.spec, self.render_mode, self.metadata = env.spec, env.render_mode, env.metadata

    def step_async(self, actions: Any) -> None:
        """Keep the actions for step_wait(). With one environment, its action may come without the leading axis."""
        if self.actions is not None:
            raise AlreadySteppingError()
        listify = self.num_envs == 1 and np.shape(actions) == self.action_space.shape

        if not listify:
            if not hasattr(actions, '__len__') or len(actions) != self.num_envs:
                raise ValueError('%d environments need as many actions, got %r' % (self.num_envs, actions))
            self.actions = actions
        else:
            self.actions = [actions]

    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""
        if self.actions is None:
            raise NotSteppingError()
        actions, self.actions = self.actions, None
        for e in range(self.num_envs):
            action = actions[e]

            obs, self.buf_rews[e], terminated, truncated, self.buf_infos[e] = step_of(self.envs[e], action)
            self.buf_dones[e] = terminated or truncated
            if self.buf_dones[e]:
                self.buf_infos[e] = end_of_episode(self.buf_infos[e], obs, terminated, truncated)
                obs, _ = reset_of(self.envs[e])
            self._save_obs(e, obs)
        return (self._obs_from_buf(), np.copy(self.buf_rews), np.copy(self.buf_dones),
                self.buf_infos.copy())

    def reset(self) -> Obs:
        """See VecEnv.reset."""
        self.actions = None
        for e in range(self.num_envs):
            obs, _ = reset_of(self.envs[e])
            self._save_obs(e, obs)
        return self._obs_from_buf()

    def close_extras(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def _save_obs(self, e, obs):
        for k in self.keys:
            if k is None:
                self.buf_obs[k][e] = obs
            else:
                self.buf_obs[k][e] = obs[k]

    def _obs_from_buf(self):
        return dict_to_obs(copy_obs_dict(self.buf_obs))

    def get_images(self) -> list[np.ndarray]:
        """See VecEnv.get_images."""
        return [render_env(env) for env in self.envs]
