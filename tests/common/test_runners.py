"""State of the base of runners."""
import functools

import gymnasium
import numpy as np
import pytest

from onpolicybaselines.common.runners import AbstractEnvRunner
from onpolicybaselines.common.vec_env import DummyVecEnv


class Model:
    initial_state = None


class Recurrent:
    initial_state = np.zeros((2, 4))


class Runner(AbstractEnvRunner):
    def run(self):
        self.obs[:], _, self.dones, _ = self.env.step([0] * self.nenv)
        if self.states is not None:
            self.states = self.states + 1


def make(model, n=2):
    return Runner(env=DummyVecEnv([functools.partial(gymnasium.make, 'CartPole-v1')] * n), model=model, nsteps=5)


@pytest.mark.parametrize('model', [Model, Recurrent])
def test_state_is_that_of_the_moment_and_comes_back(model):
    runner, fresh = make(model), make(model)
    np.testing.assert_equal(runner.state(), {'obs': runner.obs, 'states': runner.states, 'dones': [False, False]})
    runner.run()
    state = runner.state()
    before = {name: np.copy(value) for name, value in state.items()}
    runner.run()
    np.testing.assert_equal({name: np.copy(value) for name, value in state.items()}, before)
    fresh.set_state(state)
    np.testing.assert_equal(fresh.state(), state)


def test_state_of_another_number_of_environments_is_refused():
    with pytest.raises(ValueError, match="'obs' has shape"):
        make(Model).set_state(make(Model, 3).state())
