"""Environments that are learnt in seconds, as those of upstream's own learning tests (common/tests/envs)."""
import copy

import gymnasium as gym
import numpy as np


class IdentityEnv(gym.Env):
    """The observation is the action to take. Reward: 1 for that, 0 for others; with Box actions, which are observed in
    [-1, 1], minus half the squared distance."""

    def __init__(self, space: gym.Space, episode_len: int = 100):
        self.action_space, self.observation_space = space, copy.deepcopy(space)
        self.episode_len = episode_len

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.time, self.wanted = 0, self.observation_space.sample()
        return self.wanted, {}

    def step(self, action):
        reward = self._reward(action)
        self.time, self.wanted = self.time + 1, self.observation_space.sample()
        return self.wanted, reward, self.time == self.episode_len, False, {}

    def _reward(self, action):
        if isinstance(self.action_space, gym.spaces.Box):
            return -0.5 * float(np.sum(np.square(action - self.wanted)))
        return float(np.all(action == self.wanted))


class FixedSequenceEnv(gym.Env):
    """Nothing is observed; reward 1 for the action, of ten, that is the next of upstream's sequence."""

    sequence = (5, 0, 3, 3, 7)

    def __init__(self):
        self.action_space, self.observation_space = gym.spaces.Discrete(10), gym.spaces.Discrete(1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return 0, {}

    def step(self, action):
        reward = float(action == self.sequence[self.time])
        self.time += 1
        return 0, reward, self.time == len(self.sequence), False, {}
