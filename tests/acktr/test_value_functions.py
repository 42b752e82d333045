"""State of the policy and the critic of continuous ACKTR."""
import json

import numpy as np
import pytest
from gymnasium import spaces

from onpolicybaselines import logger
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.state import flatten, unflatten

BOX = spaces.Box(-1, 1, (2,))


def through_json(state):
    arrays, rest = flatten(state)
    return unflatten(arrays, json.loads(json.dumps(rest)))


def paths_of(n, length=20):
    rng = np.random.default_rng(3)
    return [{'observation': rng.standard_normal((length, 6)), 'action_dist': rng.standard_normal((length, 2)),
             'reward': rng.standard_normal(length)} for _ in range(n)]


def test_a_fresh_critic_with_the_state_goes_on_as_the_first(tmp_path):
    logger.configure(str(tmp_path), [])
    paths = paths_of(3)
    targets = [path['reward'] for path in paths]
    first, fresh = (NeuralNetValueFunction(3, 2, np.random.default_rng(seed), vf_iters=5) for seed in range(2))
    first.fit(paths, targets)
    state = through_json(first.state())
    first.fit(paths, targets)
    fresh.set_state(state)
    fresh.fit(paths, targets)
    np.testing.assert_equal(fresh.state(), first.state())
    logger.reset()


def test_state_of_another_critic_is_refused():
    one, other = NeuralNetValueFunction(3, 2), NeuralNetValueFunction(4, 2)
    before = one.state()
    with pytest.raises(ValueError, match='vf/h1/w'):
        one.set_state(other.state())
    np.testing.assert_equal(one.state(), before)


@pytest.mark.parametrize('policy', ['gaussian', 'gmm', 'flow'])
def test_a_fresh_policy_with_the_state_acts_as_the_first(policy):
    first, fresh = (MlpPolicy(3, BOX, policy, np.random.default_rng(seed)) for seed in range(2))
    ob = np.random.default_rng(0).standard_normal((4, 6)).astype('float32')
    first.act(ob)
    fresh.set_state(through_json(first.state()))
    np.testing.assert_array_equal(fresh.act(ob), first.act(ob))
    np.testing.assert_array_equal(fresh.actor()(ob), first.actor()(ob))
