"""Batches of the PPO2 runner against what was seen at the environments, step by step."""
import copy

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from helpers import NENV, NSTEPS, Record, seen_in

from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.ppo2.model import Model
from onpolicybaselines.ppo2.runner import Runner


def setup(env_id='CartPole-v1', network='mlp', **kwargs):
    """Episodes are cut by the clock after a few steps, of each environment after another number."""
    def make(i):
        env = gym.make(env_id, max_episode_steps=4 + i)
        env.reset(seed=i)
        return env
    env = Record(DummyVecEnv([lambda i=i: make(i) for i in range(NENV)]))
    policy = build_policy(env, network, **({'num_hidden': 8} if network == 'mlp' else {'nlstm': 5}))
    model = Model(policy=policy, ob_space=env.observation_space, ac_space=env.action_space, nbatch_act=NENV,
                  nbatch_train=NENV * NSTEPS, nsteps=NSTEPS, ent_coef=0., vf_coef=0.5, max_grad_norm=0.5,
                  np_random=np.random.default_rng(0))
    for i, v in enumerate(model.params):
        v.assign_add(0.5 * np.random.default_rng(i).standard_normal(v.shape))
    return env, model, Runner(env=env, model=model, nsteps=NSTEPS, gamma=0.9, lam=0.7, **kwargs)


@pytest.mark.parametrize('network', ['mlp', 'lstm'])
@pytest.mark.parametrize('bootstrap_truncated', [False, True])
def test_returns_are_values_and_advantages_by_the_definition(network, bootstrap_truncated):
    """A sum over all later steps of the episode, each temporal difference weighted by (gamma lambda)^k."""
    env, model, runner = setup(network=network, bootstrap_truncated=bootstrap_truncated)
    ends, states = 0, runner.states
    for i in range(3):
        _, returns, _, _, values, _, _, _ = runner.run()
        (obs, _, rewards, dones, starts), last_obs = seen_in(env, i)
        lasts = model.value(last_obs, runner.states, dones[:, -1])
        values, returns = values.reshape(NENV, NSTEPS), returns.reshape(NENV, NSTEPS)
        beyond = np.zeros((NENV, NSTEPS))
        for t in range(NSTEPS):
            *_, states, _ = model.step(obs[:, t], states, starts[:, t])
            for n in range(NENV):
                info = env.steps[i * NSTEPS + t][4][n]
                if bootstrap_truncated and info.get('TimeLimit.truncated'):
                    S = None if states is None else states[n:n + 1]
                    beyond[n, t] = model.value(info['terminal_observation'], S)[0]
        for n in range(NENV):
            following = [*values[n, 1:], lasts[n]]
            for t in range(NSTEPS):
                advantage = 0.
                for k in range(t, NSTEPS):
                    after = beyond[n, k] if dones[n, k] else following[k]
                    advantage += 0.63 ** (k - t) * (rewards[n, k] + 0.9 * after - values[n, k])
                    if dones[n, k]:
                        ends += 1
                        break
                assert returns[n, t] == pytest.approx(values[n, t] + advantage, rel=1e-4, abs=1e-5)
    assert 0 < ends < 3 * NENV * NSTEPS  # both cases were there


@pytest.mark.parametrize('env_id', ['CartPole-v1', 'Pendulum-v1'])
def test_batches_are_one_environment_after_the_other(env_id):
    env, model, runner = setup(env_id)
    for i in range(3):
        obs, _, masks, actions, values, neglogpacs, states, _ = runner.run()
        (seen_obs, seen_actions, _, _, starts), _ = seen_in(env, i)
        np.testing.assert_array_equal(obs.reshape(seen_obs.shape), seen_obs)
        np.testing.assert_array_equal(actions.reshape(seen_actions.shape), seen_actions)
        np.testing.assert_array_equal(masks.reshape(NENV, NSTEPS), starts)
        np.testing.assert_allclose(values, model.value(obs), rtol=1e-5)
        pd = model.pi.pd(tf.constant(obs))
        np.testing.assert_allclose(neglogpacs, pd.neglogp(tf.constant(actions)), rtol=1e-5, atol=1e-6)
        assert states is None
    assert not np.any(seen_in(env, 0)[0][-1][:, 0]) and np.any(seen_in(env, 1)[0][-1])


@pytest.mark.parametrize('env_id', ['CartPole-v1', 'Pendulum-v1'])
def test_acting_without_tensorflow_gives_the_same_batches(env_id):
    (_, _, fast), (_, _, slow) = setup(env_id), setup(env_id)
    assert not fast.step_by_step
    slow.step_by_step = True
    for _ in range(2):
        for x, y in zip(fast.run()[:-1], slow.run()[:-1], strict=True):
            assert x is y is None or x.dtype == y.dtype and np.allclose(x, y, rtol=1e-4, atol=1e-5)


def test_training_sees_the_states_of_acting():
    """From the states and masks of each batch, the unrolled network has the values and probabilities of acting."""
    _, model, runner = setup(network='lstm')
    for _ in range(3):
        obs, _, masks, actions, values, neglogpacs, states, _ = runner.run()
        pd, vf, last = model.pi.pd_and_vf(tf.constant(obs), tf.constant(states), tf.constant(masks, tf.float32), NSTEPS)
        np.testing.assert_allclose(vf, values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(pd.neglogp(tf.constant(actions)), neglogpacs, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(last, runner.states, rtol=1e-5, atol=1e-5)
    assert np.any(masks) and np.any(states)


@pytest.mark.parametrize('network', ['mlp', 'lstm'])
def test_a_runner_goes_on_from_its_state(network):
    """In environments and with a model that are where the others were."""
    (env, model, first), (other_env, other_model, other) = setup(network=network), setup(network=network)
    first.run()
    other.set_state(copy.deepcopy(first.state()))
    other_env.venv.set_state(env.venv.state())
    other_model.set_state(model.state())
    for _ in range(2):
        (*arrays, epinfos), (*others, other_epinfos) = first.run(), other.run()
        for one, two in zip(arrays, others, strict=True):
            assert one is two is None or np.array_equal(one, two)
        assert epinfos == other_epinfos


class Broken(gym.RewardWrapper):
    def reward(self, reward):
        return np.nan


def test_what_is_not_finite_is_said_with_its_place():
    env = DummyVecEnv([lambda: Broken(gym.make('CartPole-v1'))] * NENV)
    _, model, _ = setup()
    runner = Runner(env=env, model=model, nsteps=NSTEPS, gamma=0.9, lam=0.7)
    with pytest.raises(FloatingPointError, match='reward is not finite at step 0 of the batch, environment 0: '):
        runner.run()
