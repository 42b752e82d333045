"""What a run will take is said before it is taken."""
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from onpolicybaselines import logger
from onpolicybaselines.common import costs
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.vec_env import DummyVecEnv


class Images(gym.Env):
    observation_space = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    action_space = spaces.Discrete(2)


def test_a_batch_that_does_not_fit_is_refused():
    env = DummyVecEnv([Images])
    costs.check_batch(env, 100)
    with pytest.raises(UsageError, match=r'a batch of 1000000000 steps takes \d+\.\d GiB of memory at least'):
        costs.check_batch(env, 10**9)


def test_half_of_the_memory_is_a_warning(tmp_path):
    env = DummyVecEnv([Images])
    steps = int(0.7 * costs.available_memory() / (84 * 84 * 3 * 5))
    with logger.scoped_configure(str(tmp_path), ['log']):
        costs.check_batch(env, steps)
    assert (tmp_path / 'log.txt').read_text().count('GiB of memory at least') == 1


def test_factors_of_wide_layers_are_refused():
    costs.check_factors([np.zeros((64, 64)), np.zeros(64), np.zeros((8, 8, 4, 32))])
    with pytest.raises(UsageError, match='K-FAC of layers of up to 10000000 inputs'):
        costs.check_factors([np.zeros((64, 64)), np.broadcast_to(np.zeros(()), (10**7, 64))])


def test_free_memory_is_known_here():
    assert 2**26 < costs.available_memory() < 2**50
