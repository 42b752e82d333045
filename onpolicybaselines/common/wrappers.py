"""Wrappers of a single environment."""
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np


class ClipActionsWrapper(gym.Wrapper):
    """Clip actions to the bounds of the Box action space; NaN stays NaN, so that a broken policy shows.

    The action space keeps its bounds (`gymnasium.wrappers.ClipAction` makes it unbounded). TypeError for
    another kind of action space. Source: openai/baselines `common/wrappers.py`.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, gym.spaces.Box):
            raise TypeError('ClipActionsWrapper needs a Box action space, got %s' % env.action_space)
        self._low, self._high = env.action_space.low, env.action_space.high

    def step(self, action: np.ndarray) -> tuple[Any, SupportsFloat, bool, bool, dict]:
        """Step with the clipped action."""
        return self.env.step(np.minimum(np.maximum(action, self._low), self._high))  # np.clip is 3x slower


class RewardScaler(gym.RewardWrapper):
    """Multiply rewards by `scale`. A Monitor inside still reports the raw ones.

    Source: openai/baselines `common/retro_wrappers.py`.
    """

    def __init__(self, env: gym.Env, scale: float = 0.01) -> None:
        super().__init__(env)
        self.scale = scale

    def reward(self, reward: SupportsFloat) -> float:
        """The scaled reward."""
        return reward * self.scale
