"""Environments of gymnasium, single or vectorized, as VecEnvs."""
import copy
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.vector.utils import iterate
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.steps import Obs, Step, check_observation, end_of_episode, seed_env
from onpolicybaselines.common.vec_env.util import copy_obs_dict, dict_to_obs, obs_space_info, obs_to_dict
from onpolicybaselines.common.vec_env.vec_env import AlreadySteppingError, NotSteppingError, VecEnv
from onpolicybaselines.common.wrappers import ClipActionsWrapper


class GymVecEnv(VecEnv):
    """A gymnasium.vector.VectorEnv as VecEnv. Box actions are clipped to their bounds unless clip_actions=False.

    Whatever its autoreset mode, an environment whose episode ends is reset in the same step: in the modes NEXT_STEP and
    DISABLED by `reset` with a mask, so that there is no step in which an action is ignored. ValueError where that
    cannot be: in such a mode of what is no SyncVectorEnv or AsyncVectorEnv.
    """

    def __init__(self, venv: VectorEnv, clip_actions: bool = True) -> None:
        mode = venv.metadata.get('autoreset_mode')
        self.resets = mode is not AutoresetMode.SAME_STEP
        if self.resets and not _resets_some(venv.unwrapped, mode):
            raise ValueError('%s has autoreset mode %s and cannot reset single environments: make it with '
                             "gymnasium.make_vec(..., vectorization_mode='sync')" % (venv, getattr(mode, 'name', mode)))
        obs_space_info(venv.single_observation_space)
        VecEnv.__init__(self, venv.num_envs, venv.single_observation_space, venv.single_action_space)
        self.venv = venv
        self.spec, self.render_mode, self.metadata = venv.spec, venv.render_mode, venv.metadata
        self.clip_actions = clip_actions and isinstance(self.action_space, gymnasium.spaces.Box)
        self.waiting = False

    def reset(self) -> Obs:
        """See VecEnv.reset."""
        if self.waiting:
            self.step_wait()
        obs, _ = self.venv.reset()
        return self._copy_obs(obs)

    def step_async(self, actions: np.ndarray) -> None:
        """See VecEnv.step_async."""
        if self.waiting:
            raise AlreadySteppingError()
        if len(actions) != self.num_envs:
            raise ValueError('%d environments need as many actions, got %r' % (self.num_envs, actions))
        if self.clip_actions:
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        self.actions = actions
        self.waiting = True

    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""
        if not self.waiting:
            raise NotSteppingError()
        self.waiting = False
        obs, rews, terminated, truncated, infos = DictInfoToList(self.venv).step(self.actions)
        dones = np.logical_or(terminated, truncated)
        if self.resets and dones.any():
            obs = self._reset(dones, obs, infos)
        for i in np.flatnonzero(dones):
            # an 'episode' beside them would be that of gymnasium.wrappers.vector.RecordEpisodeStatistics, which counts
            # wrongly where environments are reset in the same step
            infos[i] = end_of_episode(infos[i]['final_info'], infos[i]['final_obs'], terminated[i], truncated[i])
        return self._copy_obs(obs), np.array(rews, np.float64), dones, infos

    def _reset(self, dones, last, infos):
        """Observations after a reset of those whose episodes have ended, whose infos become those of SAME_STEP."""
        last = copy.deepcopy(last)  # a VectorEnv may overwrite its arrays
        for i, ob in enumerate(iterate(self.venv.observation_space, last)):
            if dones[i]:
                if _has_statistics(self.venv):  # which a reset with a mask begins anew for all
                    infos[i].pop('episode', None)
                infos[i] = {'final_info': infos[i], 'final_obs': ob}
        obs, _ = self.venv.reset(options={'reset_mask': np.asarray(dones, bool)})
        return obs

    def close_extras(self) -> None:
        """Close the VectorEnv."""
        self.venv.close()

    def get_images(self) -> list[np.ndarray]:
        """See VecEnv.get_images."""
        return list(self.venv.render())

    def _copy_obs(self, obs: Any) -> Obs:
        """`obs` in arrays of its own: VectorEnv may overwrite its arrays in the next step. Raises EnvironmentFault."""
        check_observation(self.observation_space, obs, (self.num_envs,))
        return dict_to_obs(copy_obs_dict(obs_to_dict(obs)))


def _has_statistics(venv):
    """Whether a wrapper of the VectorEnv counts episodes."""
    while isinstance(venv, VectorWrapper):
        if isinstance(venv, RecordEpisodeStatistics):
            return True
        venv = venv.env
    return False


def _resets_some(venv, mode):
    """Whether `reset` with a mask is all that is needed after an episode in this mode."""
    if isinstance(venv, AsyncVectorEnv) and not venv.shared_memory:
        return mode is AutoresetMode.DISABLED  # gymnasium's worker would reset again in the next step
    return isinstance(venv, (SyncVectorEnv, AsyncVectorEnv)) and isinstance(mode, AutoresetMode)


def as_vec_env(env: Any, seed: int | None = None, make: Callable[[list], VecEnv] = DummyVecEnv) -> VecEnv:
    """`env` as VecEnv, whatever a user has; `seed` seeds a plain gymnasium.Env (the others are their maker's to seed).

    A VecEnv, or another object with its methods (that of Stable-Baselines3, say), passes as it is; a
    gymnasium.vector.VectorEnv becomes a GymVecEnv; a gymnasium.Env the `make` of a function that returns it,
    with Box actions clipped to their bounds. TypeError for anything else.
    """
    if isinstance(env, VectorEnv):  # before the next line, as AsyncVectorEnv has these methods as well
        return GymVecEnv(env)
    if all(hasattr(env, name) for name in ('num_envs', 'step_async', 'step_wait')):
        return env
    if isinstance(env, gymnasium.Env):
        if seed is not None:
            seed_env(env, seed)
        return make([lambda: env if _clips_actions(env) else ClipActionsWrapper(env)])
    raise TypeError('env must be a VecEnv, a gymnasium.vector.VectorEnv or a gymnasium.Env, got %s: an id is turned '
                    'into an environment by gymnasium.make(id)' % type(env).__name__)


def _clips_actions(env: gymnasium.Env) -> bool:
    """Whether nothing is to be clipped, or a wrapper of `env` clips already."""
    if not isinstance(env.action_space, gymnasium.spaces.Box):
        return True
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, ClipActionsWrapper):
            return True
        env = env.env
    return False
