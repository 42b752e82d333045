"""Observations and rewards on a common scale."""
import numpy as np

from onpolicybaselines.common.checks import check_finite
from onpolicybaselines.common.running_mean_std import RunningMeanStd
from onpolicybaselines.common.vec_env.normalizing import clip, normalize, normalized_space
from onpolicybaselines.common.vec_env.steps import Step, map_terminal_observation
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper


class VecNormalize(VecEnvWrapper):
    """Normalises observations (to mean 0, variance 1, clipped to ±clipob) and rewards by running statistics.

    Rewards are divided by the standard deviation of the discounted return so far (discount `gamma`) and clipped to
    ±cliprew. ob=False or ret=False leaves observations or rewards as they are. While `training` is False the
    statistics stay as they are, for evaluation; statistics.py has them for model files. ValueError for ob=True with
    observations that are no Box.
    Source: openai/baselines `common/vec_env/vec_normalize.py`.
    """

    def __init__(self, venv: VecEnv, ob: bool = True, ret: bool = True, clipob: float = 10., cliprew: float = 10.,
                 gamma: float = 0.99, epsilon: float = 1e-8, training: bool = True) -> None:
        VecEnvWrapper.__init__(self, venv, normalized_space(venv.observation_space, clipob) if ob else None)
        self.ob_rms = RunningMeanStd(shape=self.observation_space.shape) if ob else None
        self.ret_rms = RunningMeanStd(shape=()) if ret else None
        self.clipob = clipob
        self.cliprew = cliprew
        self.ret = np.zeros(self.num_envs)
        self.gamma = gamma
        self.epsilon = epsilon
        self.training = training

    def step_wait(self) -> Step:
        """Finish the step, with normalised observations and rewards."""
        obs, rews, news, infos = self.venv.step_wait()
        check_finite(None, reward=rews[np.newaxis])
        self.ret = self.ret * self.gamma + rews
        obs = self._obfilt(obs)
        if self.ob_rms:
            infos = map_terminal_observation(lambda i, ob: normalize(self, ob), infos)
        if self.ret_rms:
            if self.training:
                self.ret_rms.update(self.ret)
            rews = clip(rews / np.sqrt(self.ret_rms.var + self.epsilon), self.cliprew)
        self.ret[news] = 0.
        return obs, rews, news, infos

    def _obfilt(self, obs):
        if self.ob_rms:
            check_finite(None, observation=obs[np.newaxis])
            if self.training:
                self.ob_rms.update(obs)
            obs = normalize(self, obs)
            return obs
        else:
            return obs

    def reset(self) -> np.ndarray:
        """Reset, with normalised observations."""
        self.ret = np.zeros(self.num_envs)
        obs = self.venv.reset()
        return self._obfilt(obs)
