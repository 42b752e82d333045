"""Batches of the A2C runner against what was seen at the environments, step by step."""
import copy

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from helpers import NENV, NSTEPS, Record, seen_in

from onpolicybaselines.a2c.a2c import Model
from onpolicybaselines.a2c.runner import Runner
from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv


def cartpoles(time_limit=4, monitor=False):
    """Falls after about 20 steps, so that most of these are cut by the clock."""
    def make(i):
        env = gym.make('CartPole-v1', max_episode_steps=time_limit + i)
        env.reset(seed=i)
        return Monitor(env, None, allow_early_resets=True) if monitor else env
    return DummyVecEnv([lambda i=i: make(i) for i in range(NENV)])


def setup(env=None, network='mlp', gamma=0.9, **kwargs):
    env = Record(cartpoles() if env is None else env)
    kwargs, network_kwargs = kwargs, {'num_hidden': 8} if network == 'mlp' else {'nlstm': 5}
    model = Model(build_policy(env, network, **network_kwargs), env, NSTEPS, np_random=np.random.default_rng(0))
    for i, v in enumerate(model.params):
        v.assign_add(0.5 * np.random.default_rng(i).standard_normal(v.shape))
    return env, model, Runner(env, model, nsteps=NSTEPS, gamma=gamma, **kwargs)


@pytest.mark.parametrize('network', ['mlp', 'lstm'])
@pytest.mark.parametrize('bootstrap_truncated', [False, True])
def test_returns_are_n_step_returns(network, bootstrap_truncated):
    """By the definition, step by step: rewards up to the end of the episode, or to the value that follows the batch."""
    env, model, runner = setup(network=network, bootstrap_truncated=bootstrap_truncated)
    ends, states = 0, runner.states
    for i in range(3):
        _, states, returns, masks, _, _, _ = runner.run()
        (_, _, rewards, dones, _), last_obs = seen_in(env, i)
        lasts = model.value(last_obs, runner.states, dones[:, -1])
        beyond = np.zeros((NENV, NSTEPS))
        if bootstrap_truncated:
            beyond = values_beyond(env, model, i, states)
            assert np.count_nonzero(beyond) == dones.sum() > 0
        for n in range(NENV):
            for t in range(NSTEPS):
                expected, weight = 0., 1.
                for k in range(t, NSTEPS):
                    expected += weight * (rewards[n, k] + 0.9 * beyond[n, k])
                    weight *= 0.9
                    if dones[n, k]:
                        ends += 1
                        break
                else:
                    expected += weight * lasts[n]
                assert returns.reshape(NENV, NSTEPS)[n, t] == pytest.approx(expected, rel=1e-5)
    assert 0 < ends < 3 * NENV * NSTEPS  # both cases were there


def values_beyond(env, model, batch, states):
    """[NENV, NSTEPS]: the value of each last observation that a time limit cut, the state followed from `states`."""
    values = np.zeros((NENV, NSTEPS))
    (obs, *_, starts), _ = seen_in(env, batch)
    for t in range(NSTEPS):
        *_, states, _ = model.step(obs[:, t], states, starts[:, t])
        infos = env.steps[batch * NSTEPS + t][4]
        for n in range(NENV):
            if infos[n].get('TimeLimit.truncated'):
                S = None if states is None else states[n:n + 1]
                values[n, t] = model.value(infos[n]['terminal_observation'], S)[0]
    return values


def test_batches_are_one_environment_after_the_other():
    env, model, runner = setup()
    for i in range(3):
        obs, states, _, masks, actions, values, _ = runner.run()
        (seen_obs, seen_actions, _, _, starts), _ = seen_in(env, i)
        np.testing.assert_array_equal(obs.reshape(NENV, NSTEPS, 4), seen_obs)
        np.testing.assert_array_equal(actions.reshape(NENV, NSTEPS), seen_actions)
        np.testing.assert_array_equal(masks.reshape(NENV, NSTEPS), starts)
        np.testing.assert_allclose(values, model.value(obs), rtol=1e-5)
        assert states is None
    assert not np.any(seen_in(env, 0)[0][-1][:, 0]) and np.any(seen_in(env, 1)[0][-1])


def test_acting_without_tensorflow_gives_the_same_batches():
    (_, _, fast), (_, _, slow) = setup(), setup()
    assert not fast.step_by_step
    slow.step_by_step = True
    for _ in range(2):
        for x, y in zip(fast.run()[:-1], slow.run()[:-1], strict=True):
            assert x is y is None or x.dtype == y.dtype and np.allclose(x, y, rtol=1e-5, atol=1e-6)


def test_training_sees_the_states_of_acting():
    """From the states and masks of each batch, the unrolled network has the values that acting had."""
    env, model, runner = setup(network='lstm')
    np.testing.assert_array_equal(runner.states, np.zeros((NENV, 10)))
    for _ in range(3):
        obs, states, _, masks, actions, values, _ = runner.run()
        _, vf, last = model.pi.pd_and_vf(tf.constant(obs), tf.constant(states), tf.constant(masks, tf.float32), NSTEPS)
        np.testing.assert_allclose(vf, values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(last, runner.states, rtol=1e-5, atol=1e-5)
    assert np.any(masks) and np.any(states)


@pytest.mark.parametrize('monitor', [False, True])
def test_episodes_are_reported(monitor):
    env, _, runner = setup(cartpoles(monitor=monitor))
    epinfos = [epinfo for _ in range(4) for epinfo in runner.run()[-1]]
    expected = []  # each step is worth 1, so that the return is the length
    length = np.zeros(NENV, int)
    for step in env.steps:
        length += 1
        for n in np.flatnonzero(step[3]):
            expected.append(length[n])
            length[n] = 0
    assert len(expected) > 5
    assert [epinfo['r'] for epinfo in epinfos] == [epinfo['l'] for epinfo in epinfos] == expected


def test_monitor_inside_knows_the_raw_return():
    env, _, runner = setup(DummyVecEnv([lambda: Scaled(Monitor(gym.make('CartPole-v1', max_episode_steps=5), None))] *
                                       NENV))
    epinfos = runner.run()[-1]
    assert [epinfo['r'] for epinfo in epinfos] == [5] * NENV
    assert np.all(seen_in(env, 0)[0][2] == 100)


class Scaled(gym.RewardWrapper):
    def reward(self, reward):
        return 100 * reward


class Lives(gym.Wrapper):
    """A game of two lives, each of which is an episode for the learner, as in Atari."""

    def reset(self, **kwargs):
        self.lives = 2
        return self.env.reset(**kwargs)

    def step(self, action):
        ob, reward, terminated, truncated, info = self.env.step(action)
        self.lives = 2 - self.env.get_wrapper_attr('_elapsed_steps') // 2
        return ob, reward, terminated or self.lives == 1, truncated, {**info, 'lives': self.lives}


def test_a_lost_life_is_no_episode():
    _, _, runner = setup(DummyVecEnv([lambda: Lives(gym.make('CartPole-v1'))] * NENV))
    assert runner.run()[-1] == []


class Broken(gym.Wrapper):
    """The second environment breaks at its third step."""

    def __init__(self, env, what, i):
        super().__init__(env)
        self.what, self.i, self.t = what, i, 0

    def step(self, action):
        ob, reward, *rest = self.env.step(action)
        self.t += 1
        if (self.t, self.i) == (3, 1):
            if self.what == 'reward':
                reward = np.nan
            else:
                ob = np.full_like(ob, np.inf)
        return ob, reward, *rest


@pytest.mark.parametrize('what, step', [('reward', 2), ('observation', 3)])
def test_what_is_not_finite_is_said_with_its_place(what, step):
    env = DummyVecEnv([lambda i=i: Broken(gym.make('CartPole-v1'), what, i) for i in range(NENV)])
    _, _, runner = setup(env)
    with pytest.raises(FloatingPointError, match=f'{what} is not finite at step {step} of the batch, environment 1: '):
        runner.run()


@pytest.mark.parametrize('network', ['mlp', 'lstm'])
def test_a_runner_goes_on_from_its_state(network):
    """In environments and with a model that are where the others were."""
    venvs = [cartpoles(monitor=False) for _ in range(2)]
    (_, model, first), (_, other_model, other) = (setup(venv, network) for venv in venvs)
    first.run()
    for env in venvs[1].envs:
        env.reset(seed=0)
    other.set_state(copy.deepcopy(first.state()))
    for env, there in zip(venvs[1].envs, venvs[0].envs, strict=True):
        env.unwrapped.state, env._elapsed_steps = there.unwrapped.state, there._elapsed_steps
        env.unwrapped.np_random.bit_generator.state = there.unwrapped.np_random.bit_generator.state
    other_model.pi.np_random.bit_generator.state = model.pi.np_random.bit_generator.state
    for _ in range(2):
        (*arrays, epinfos), (*others, other_epinfos) = first.run(), other.run()
        for one, two in zip(arrays, others, strict=True):
            assert one is two is None or np.array_equal(one, two)
        assert epinfos == other_epinfos
    with pytest.raises(ValueError, match='the runner does not fit'):
        setup(network='mlp' if network == 'lstm' else 'lstm')[2].set_state(first.state())
