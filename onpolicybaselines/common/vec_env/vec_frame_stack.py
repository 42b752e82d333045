"""Observations of several steps as one."""
import numpy as np
from gymnasium import spaces

from onpolicybaselines.common.vec_env.steps import Step, map_terminal_observation
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper


class VecFrameStack(VecEnvWrapper):
    """Stacks the last `nstack` observations of the episode along the last axis, the newest last; zeros before them.

    Box observations only. Source: openai/baselines `common/vec_env/vec_frame_stack.py`.
    """

    def __init__(self, venv: VecEnv, nstack: int) -> None:
        self.venv = venv
        self.nstack = nstack
        wos = venv.observation_space  # wrapped ob space
        if not isinstance(wos, spaces.Box):
            raise ValueError('VecFrameStack needs a Box observation space, got %s' % wos)
        low = np.repeat(wos.low, self.nstack, axis=-1)
        high = np.repeat(wos.high, self.nstack, axis=-1)
        self.stackedobs = np.zeros((venv.num_envs,) + low.shape, low.dtype)
        observation_space = spaces.Box(low=low, high=high, dtype=venv.observation_space.dtype)
        VecEnvWrapper.__init__(self, venv, observation_space=observation_space)

    def step_wait(self) -> Step:
        """Finish the step, with stacked observations."""
        obs, rews, news, infos = self.venv.step_wait()
        newest = slice(-obs.shape[-1], None)
        self.stackedobs = np.roll(self.stackedobs, shift=newest.start, axis=-1)  # a new array
        infos = map_terminal_observation(lambda i, ob: np.concatenate(
            [self.stackedobs[i, ..., :newest.start], ob], axis=-1), infos)
        for (i, new) in enumerate(news):
            if new:
                self.stackedobs[i] = 0
        self.stackedobs[..., newest] = obs
        return self.stackedobs, rews, news, infos

    def reset(self) -> np.ndarray:
        """Reset, with stacked observations."""
        obs = self.venv.reset()
        self.stackedobs = np.zeros_like(self.stackedobs)
        self.stackedobs[..., -obs.shape[-1]:] = obs
        return self.stackedobs
