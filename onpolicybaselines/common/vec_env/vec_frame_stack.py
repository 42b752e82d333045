"""Observations of several steps as one."""
import gymnasium
import numpy as np

from onpolicybaselines.common.vec_env.steps import Step, map_terminal_observation
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper


class VecFrameStack(VecEnvWrapper):
    """Stacks the last `nstack` observations of the episode along the last axis, the newest last; zeros before them.

    Box observations only. Source: openai/baselines `common/vec_env/vec_frame_stack.py`.
    """

    def __init__(self, venv: VecEnv, nstack: int) -> None:
        wos = venv.observation_space  # wrapped ob space
        if not isinstance(wos, gymnasium.spaces.Box):
            raise ValueError('VecFrameStack needs a Box observation space, got %s' % wos)
        self.nstack = nstack
        low = np.repeat(wos.low, nstack, axis=-1)
        high = np.repeat(wos.high, nstack, axis=-1)
        self.stackedobs = np.zeros((venv.num_envs,) + low.shape, low.dtype)
        VecEnvWrapper.__init__(self, venv, observation_space=gymnasium.spaces.Box(low, high, dtype=wos.dtype))

    def step_wait(self) -> Step:
        """Finish the step, with stacked observations."""
        obs, rews, news, infos = self.venv.step_wait()
        old = self.stackedobs
        infos = map_terminal_observation(lambda i, ob: _push(old[i], ob), infos)
        self.stackedobs = _push(np.where(news.reshape((-1,) + (1,) * (old.ndim - 1)), 0, old), obs)
        return self.stackedobs, rews, news, infos

    def reset(self) -> np.ndarray:
        """Reset, with stacked observations."""
        self.stackedobs = _push(np.zeros_like(self.stackedobs), self.venv.reset())
        return self.stackedobs


def _push(stack: np.ndarray, obs: np.ndarray) -> np.ndarray:
    """A new stack: the oldest part of `stack` dropped, `obs` added."""
    return np.concatenate([stack[..., obs.shape[-1]:], obs], axis=-1)
