"""Environments that take their steps one after the other in this process."""
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from onpolicybaselines.common.vec_env.rendering import render_env
from onpolicybaselines.common.vec_env.steps import Obs, Step, end_of_episode
from onpolicybaselines.common.vec_env.util import obs_space_info, obs_to_dict
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
        VecEnv.__init__(self, len(self.envs), env.observation_space, env.action_space)
        self.keys, _, self.dtypes = obs_space_info(env.observation_space)
        self.single_shape = env.action_space.shape if self.num_envs == 1 else None
        self.batch_shape = (self.num_envs, *(env.action_space.shape or ()))
        self.actions = None
        self.spec, self.render_mode, self.metadata = env.spec, env.render_mode, env.metadata

    def step_async(self, actions: Any) -> None:
        """Keep the actions for step_wait(). With one environment, its action may come without the leading axis."""
        if self.actions is not None:
            raise AlreadySteppingError()
        if getattr(actions, 'shape', None) != self.batch_shape:
            if self.single_shape is not None and np.shape(actions) == self.single_shape:
                actions = [actions]
            elif not hasattr(actions, '__len__') or len(actions) != self.num_envs:
                raise ValueError('%d environments need as many actions, got %r' % (self.num_envs, actions))
        self.actions = actions

    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""
        if self.actions is None:
            raise NotSteppingError()
        actions, self.actions = self.actions, None
        obs, infos = [], []
        rews, dones = np.empty(self.num_envs), np.zeros(self.num_envs, bool)
        for e, env in enumerate(self.envs):
            ob, rews[e], terminated, truncated, info = env.step(actions[e])
            if terminated or truncated:
                dones[e] = True
                info = end_of_episode(info, ob, terminated, truncated)
                ob, _ = env.reset()
            obs.append(ob)
            infos.append(info)
        return self._stack(obs), rews, dones, infos

    def reset(self) -> Obs:
        """See VecEnv.reset."""
        self.actions = None
        return self._stack([env.reset()[0] for env in self.envs])

    def close_extras(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def get_images(self) -> list[np.ndarray]:
        """See VecEnv.get_images."""
        return [render_env(env) for env in self.envs]

    def _stack(self, obs: list) -> Obs:
        """One observation per environment as new arrays [N, ...]."""
        if self.keys == [None]:
            return np.array(obs, self.dtypes[None])
        obs = [obs_to_dict(ob) for ob in obs]
        return {k: np.array([ob[k] for ob in obs], self.dtypes[k]) for k in self.keys}
