"""Continuous ACKTR: rollouts, advantages, step sizes, whole runs on real environments, files and bad input."""
import copy
import json

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from gymnasium import spaces

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.acktr import acktr_cont
from onpolicybaselines.acktr.acktr_cont import adapt_stepsize, compute_advantages, rollout
from onpolicybaselines.acktr.cont_model import scale_action
from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.filters import ZFilter
from onpolicybaselines.common.layers import recording_layers
from onpolicybaselines.common.vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.gym_vec_env import as_vec_env

POLICIES = {'gaussian': {}, 'gmm': {}, 'flow': {'flow_layers': 1}}
STATE_STD = {'state_dependent_std': True, 'init_logstd': -1.}
BOX = spaces.Box(-1, 1, [3])


class Recorder(gym.Wrapper):
    """Keeps every observation and action that goes through it."""

    def __init__(self, env):
        super().__init__(env)
        self.obs, self.actions, self.resets = [], [], 0

    def reset(self, **kwargs):
        ob, info = self.env.reset(**kwargs)
        self.resets += 1
        self.obs = [ob]
        return ob, info

    def step(self, action):
        ob, *rest = self.env.step(action)
        self.actions.append(np.array(action))
        self.obs.append(ob)
        return ob, *rest


def uniform_actions(n, seed=0):
    rng = np.random.default_rng(seed)
    return lambda ob: rng.uniform(-1.5, 1.5, (1, n)).astype('float32')


# ---------------------------------------------------------------- rollouts

def test_rollout():
    inner = Recorder(gym.make('Hopper-v5'))
    seen = []
    original = inner.step
    def step(action):
        result = original(action)
        seen[:] = inner.obs  # before the automatic reset
        return result
    inner.step = step
    env = as_vec_env(inner, seed=0)
    act = uniform_actions(3)
    path = rollout(env, act, 1000, ZFilter((11,)))
    length = len(path['reward'])
    assert path['terminated'] and 5 < length < 300
    assert path['observation'].shape == (length, 22) and path['action'].shape == (length, 3)

    replay = ZFilter((11,))
    filtered = np.array([replay(ob) for ob in seen])
    assert len(filtered) == length + 1
    np.testing.assert_allclose(path['observation'][:, :11], filtered[:-1])
    np.testing.assert_allclose(path['observation'][1:, 11:], filtered[:-2])
    np.testing.assert_array_equal(path['observation'][0, 11:], 0)
    np.testing.assert_allclose(inner.actions, np.clip(path['action'], -1, 1), atol=1e-6)
    assert path['ep_ret'] == pytest.approx(path['reward'].sum())


def test_the_last_observation_of_an_episode_is_known_to_the_filter():
    obfilter = ZFilter((11,))
    path = rollout(as_vec_env(gym.make('Hopper-v5'), seed=0), uniform_actions(3), 1000, obfilter)
    assert obfilter.rs.n == len(path['reward']) + 1


def test_actions_reach_the_bounds_of_the_space():
    space = spaces.Box(np.float32([-2, 0]), np.float32([4, 10]))
    scaled = scale_action(np.array([[-1., -1.], [0., 0.], [1., 1.], [-3., 7.]]), space)
    np.testing.assert_allclose(scaled, [[-2, 0], [1, 5], [4, 10], [-2, 10]])


@pytest.mark.parametrize('bootstrap_truncated', [False, True])
def test_time_limits(bootstrap_truncated):
    path = rollout(as_vec_env(gym.make('Reacher-v5'), seed=0), uniform_actions(2), 1000,
                   bootstrap_truncated=bootstrap_truncated)
    assert len(path['reward']) == 50 and path['terminated'] is not bootstrap_truncated


def test_a_path_has_a_longest_length():
    env = as_vec_env(gym.make('Reacher-v5'), seed=0)
    for _ in range(2):  # the next one begins anew
        path = rollout(env, uniform_actions(2), 20)
        assert len(path['reward']) == 20 and not path['terminated']
        np.testing.assert_array_equal(path['observation'][0, 10:], 0)


class Faulty(gym.RewardWrapper):
    def reward(self, reward):
        return np.nan


def test_not_finite_rewards_end_a_run_with_a_line_that_says_where():
    with pytest.raises(FloatingPointError, match='reward is not finite at step 0 of an episode: nan'):
        rollout(as_vec_env(Faulty(gym.make('Reacher-v5')), seed=0), uniform_actions(2), 50)


# ---------------------------------------------------------------- advantages and step sizes

@pytest.mark.parametrize('terminated', [True, False])
def test_advantages_by_their_definition(terminated):
    rng = np.random.default_rng(0)
    rew, vpred, gamma, lam = rng.standard_normal(7), rng.standard_normal(7), 0.9, 0.8
    (vtarg,), (adv,) = compute_advantages([{'reward': rew, 'terminated': terminated}], [vpred], gamma, lam)
    beyond = np.append(vpred, 0. if terminated else vpred[-1])
    for t in range(7):
        assert vtarg[t] == pytest.approx(sum(gamma**k * rew[t + k] for k in range(7 - t)))
        deltas = [rew[k] + gamma * beyond[k + 1] - beyond[k] for k in range(7)]
        assert adv[t] == pytest.approx(sum((gamma * lam)**k * deltas[t + k] for k in range(7 - t)))


@pytest.mark.parametrize('stepsize, kl, expected', [
    (0.03, 0.0041, 0.02), (0.03, 0.0009, 0.045), (0.03, 0.002, 0.03), (0.03, 0.0039, 0.03), (0.03, 0.0011, 0.03),
    (0.9, 0., 1.), (1.2e-8, 1., 1e-8), (0.03, -0.01, 0.045)])
def test_adapt_stepsize(stepsize, kl, expected):
    assert adapt_stepsize(stepsize, kl, desired_kl=0.002) == pytest.approx(expected)


# ---------------------------------------------------------------- networks

def test_gaussian_policy_is_upstreams():
    policy = MlpPolicy(5, BOX, np_random=np.random.default_rng(0))
    shapes = {v.name.split(':')[0]: tuple(v.shape) for v in policy.var_list}
    assert shapes == {'pi/h1/w': (10, 64), 'pi/h1/b': (64,), 'pi/h2/w': (64, 64), 'pi/h2/b': (64,),
                      'pi/mean/w': (64, 3), 'pi/mean/b': (3,), 'pi/logstd': (1, 3)}
    values = dict(zip(shapes, (v.numpy() for v in policy.var_list), strict=True))
    for name, norm in [('pi/h1/w', 1.), ('pi/h2/w', 1.), ('pi/mean/w', 0.1)]:
        np.testing.assert_allclose(np.linalg.norm(values[name], axis=0), norm, rtol=1e-6)
    assert not any(values[name].any() for name in ('pi/h1/b', 'pi/h2/b', 'pi/mean/b', 'pi/logstd'))
    assert policy.wd_dict == dict.fromkeys(['pi/h1/w', 'pi/h2/w', 'pi/mean/w'], 3e-4)


def test_state_dependent_std_is_a_dense_layer_on_the_network():
    """With the curvature that any other has, whatever `std_fisher` says; the mean is a layer beside it."""
    for std_fisher in ('batch', 'sample'):
        policy = MlpPolicy(5, BOX, np_random=np.random.default_rng(0), std_fisher=std_fisher, **STATE_STD)
        shapes = {v.name.split(':')[0]: tuple(v.shape) for v in policy.var_list}
        assert shapes == {'pi/h1/w': (10, 64), 'pi/h1/b': (64,), 'pi/h2/w': (64, 64), 'pi/h2/b': (64,),
                          'pi/w': (64, 3), 'pi/b': (3,), 'pi/logstd/w': (64, 3), 'pi/logstd/b': (3,)}
        assert policy.wd_dict == dict.fromkeys(['pi/h1/w', 'pi/h2/w', 'pi/w', 'pi/logstd/w'], 3e-4)
        ob, ac, adv = inputs_of(policy)
        np.testing.assert_allclose(policy.action_dist(ob, ac)[:, 3:], np.exp(-1), rtol=1e-6)
        perturb(policy)
        with recording_layers() as layers:
            policy.losses(*map(tf.constant, (ob, ac, adv)))
        assert [layer.kind for layer in layers] == ['dense'] * 4
        np.testing.assert_allclose(layers[-1].h, np.log(policy.action_dist(ob, ac)[:, 3:]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(policy.actor(stochastic=False)(ob), policy.act(ob, stochastic=False), rtol=1e-4,
                                   atol=1e-6)


@pytest.mark.parametrize('name', ['gaussian', 'gmm'])
@pytest.mark.parametrize('std_fisher', ['batch', 'sample'])
def test_standard_deviations_start_at_init_logstd(name, std_fisher):
    policy = MlpPolicy(5, BOX, name, np.random.default_rng(0), std_fisher, init_logstd=-1.)
    logstds = [v.numpy() for v in policy.var_list if 'logstd' in v.name]
    assert logstds and all((logstd == -1).all() for logstd in logstds)


def inputs_of(policy, n=200, seed=1):
    rng = np.random.default_rng(seed)
    ob = rng.standard_normal((n, policy.ob_space.shape[0])).astype('float32')
    return ob, policy.act(ob), rng.standard_normal(n).astype('float32')


def perturb(policy, scale=0.05):
    rng = np.random.default_rng(2)
    for v in policy.var_list:
        v.assign_add(scale * rng.standard_normal(v.shape))


def theta_of(policy):
    return U.GetFlat(policy.var_list)()


@pytest.mark.parametrize('name', POLICIES)
def test_kl_of_a_policy_to_itself_is_0_and_grows(name):
    policy = MlpPolicy(5, BOX, name, np.random.default_rng(0), **POLICIES[name])
    ob, ac, _ = inputs_of(policy, 4000)
    thold = theta_of(policy)
    assert policy.compute_kl(thold, ob, ac) == pytest.approx(0, abs=1e-6)
    perturb(policy)
    assert policy.compute_kl(thold, ob, ac) > 1e-3


def test_kl_of_gaussians_is_the_closed_form():
    policy = MlpPolicy(5, BOX, np_random=np.random.default_rng(0))
    ob, ac, _ = inputs_of(policy)
    thold, old = theta_of(policy), policy.action_dist(ob, ac).astype('float64')
    perturb(policy)
    new = policy.action_dist(ob, ac).astype('float64')
    (m1, s1), (m2, s2) = (np.split(d, 2, axis=1) for d in (old, new))
    expected = (np.log(s2 / s1) + (s1**2 + (m1 - m2)**2) / (2 * s2**2) - 0.5).sum(axis=1).mean()
    assert policy.compute_kl(thold, ob, ac) == pytest.approx(expected, rel=1e-4)


def test_estimators_of_a_sampled_kl():
    """On Gaussians written as a mixture of one, whose divergence is known: both are within four standard errors, and
    that of k3 is much smaller. Larger errors are rarer than 1 in 10,000."""
    estimates = {}
    for name in ('k1', 'k3'):
        policy = MlpPolicy(5, BOX, 'gmm', np.random.default_rng(0), kl_estimator=name, gmm_components=1)
        ob, ac, _ = inputs_of(policy, 20_000)
        thold, first = theta_of(policy), policy.action_dist(ob, ac).astype('float64')
        perturb(policy, 0.02)
        second = policy.action_dist(ob, ac).astype('float64')
        estimates[name] = policy.compute_kl(thold, ob, ac)
    (m1, l1), (m2, l2) = (np.split(flat, 2, axis=1) for flat in (first, second))
    kl = (l2 - l1 + (np.exp(2 * l1) + (m1 - m2)**2) / (2 * np.exp(2 * l2)) - 0.5).sum(axis=1).mean()
    # log r is nearly normal with variance 2 KL
    assert estimates['k1'] == pytest.approx(kl, abs=4 * np.sqrt(2 * kl / len(ob)))
    assert estimates['k3'] == pytest.approx(kl, abs=8 * kl / np.sqrt(len(ob)))


@pytest.mark.parametrize('name', POLICIES)
def test_what_critics_are_told_does_not_depend_on_the_action(name):
    """Else the baseline would take from the advantage what the action did."""
    policy = MlpPolicy(5, BOX, name, np.random.default_rng(0), **POLICIES[name])
    ob, ac, _ = inputs_of(policy)
    told = policy.action_dist(ob, ac)
    assert told.shape == (200, policy.dist_dim)
    np.testing.assert_array_equal(told, policy.action_dist(ob, ac + 1))


@pytest.mark.parametrize('name', ['gmm', 'flow'])
def test_critics_can_be_told_the_log_probability(name):
    policy = MlpPolicy(5, BOX, name, np.random.default_rng(0), critic_sees='logp', **POLICIES[name])
    ob, ac, _ = inputs_of(policy)
    logp = U.function(lambda ob, ac: policy.pd(ob).logp(ac), *policy.inputs[:2])(ob, ac)
    np.testing.assert_allclose(policy.action_dist(ob, ac), logp[:, np.newaxis], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', POLICIES)
def test_losses(name):
    policy = MlpPolicy(5, BOX, name, np.random.default_rng(0), **POLICIES[name])
    ob, ac, adv = inputs_of(policy)
    logp = U.function(lambda ob, ac: policy.pd(ob).logp(ac), *policy.inputs[:2])(ob, ac)
    loss, loss_sampled = U.function(policy.losses, *policy.inputs)(ob, ac, adv)
    assert loss == pytest.approx(-np.mean(adv * logp), rel=1e-4, abs=1e-5)
    assert loss_sampled == pytest.approx(-np.mean(logp), rel=1e-5)


def recorded_std(policy, inputs):
    """(layers on record that are standard deviations, gradients of the sampled loss by their h)."""
    with tf.GradientTape(persistent=True) as tape, recording_layers() as layers:
        _, loss_sampled = policy.losses(*map(tf.constant, inputs))
    free = [layer for layer in layers if layer.kind == 'free']
    return free, [tape.gradient(loss_sampled, layer.h).numpy() for layer in free]


@pytest.mark.parametrize('name, count', [('gaussian', 1), ('gmm', 2)])
def test_curvature_of_the_standard_deviation(name, count):
    """'batch': one gradient by the standard deviation, the sum of the samples', which 'sample' has one by one."""
    batch, sample = (MlpPolicy(5, BOX, name, np.random.default_rng(0), std_fisher=rule) for rule in ('batch', 'sample'))
    perturb(batch)
    perturb(sample)
    inputs = inputs_of(batch)
    (_, once), (layers, each) = recorded_std(batch, inputs), recorded_std(sample, inputs)
    assert len(once) == len(each) == count
    for layer, sum_by_std, by_logstd in zip(layers, once, each, strict=True):
        assert sum_by_std.shape == (1, 3) and by_logstd.shape == (200, 3)
        std = np.exp(layer.variables[0].numpy())
        np.testing.assert_allclose(sum_by_std * std, by_logstd.sum(axis=0, keepdims=True), rtol=1e-4, atol=1e-6)


def paths_of(n, length=20):
    rng = np.random.default_rng(3)
    return [{'observation': rng.standard_normal((length, 6)), 'action_dist': rng.standard_normal((length, 2)),
             'reward': rng.standard_normal(length), 'terminated': True} for _ in range(n)]


def test_critic_sees_observation_distribution_time_and_1():
    vf = NeuralNetValueFunction(3, 2, np.random.default_rng(0))
    path, = paths_of(1)
    X = vf._preproc(path)
    np.testing.assert_array_equal(X[:, :6], path['observation'])
    np.testing.assert_array_equal(X[:, 6:8], path['action_dist'])
    np.testing.assert_allclose(X[:, 8], np.arange(20) / 10)
    np.testing.assert_array_equal(X[:, 9], 1)


def test_critic_is_fitted(tmp_path):
    logger.configure(str(tmp_path), [])
    vf = NeuralNetValueFunction(3, 2, np.random.default_rng(0))
    paths = paths_of(10)
    targets = [path['observation'][:, 0] + np.arange(20) / 10 for path in paths]
    for _ in range(16):
        vf.fit(paths, targets)
    logged = logger.getkvs()
    assert logged['EVAfter'] > max(logged['EVBefore'], 0.8)
    np.testing.assert_allclose(1 - np.var(np.concatenate(targets) - np.concatenate(vf.predict(paths)))
                               / np.var(np.concatenate(targets)), logged['EVAfter'], rtol=1e-4)


@pytest.mark.parametrize('n, length, scale', [(12, 200, -1000.), (1, 2500, -1000.), (12, 200, 1e6)])
def test_critic_outlives_large_returns_and_long_episodes(n, length, scale, tmp_path):
    """Plain steps at a fixed rate diverge beyond a scale of returns; a bound has them outlive any."""
    logger.configure(str(tmp_path), [])
    paths = paths_of(n, length)
    left = 1 - np.arange(length) / length
    targets = [scale * (1.1 + np.sin(path['observation'][:, 0])) * left for path in paths]

    def fitted(bounded):
        vf = NeuralNetValueFunction(3, 2, np.random.default_rng(0))
        if not bounded:
            vf.optim.max_grad_norm = None
        for _ in range(4):
            vf.fit(paths, targets)
        return np.concatenate(vf.predict(paths))

    with pytest.raises(FloatingPointError, match='not finite; parameters unchanged'):
        fitted(bounded=False)
    assert np.isfinite(fitted(bounded=True)).all()


# ---------------------------------------------------------------- whole runs

def learn(folder, env='InvertedPendulum-v5', steps=600, **kwargs):
    logger.configure(str(folder), ['csv'])
    options = {'seed': 0, 'timesteps_per_batch': 200, 'vf_iters': 3, 'total_timesteps': steps, **kwargs}
    try:
        return acktr_cont.learn(env=gym.make(env) if isinstance(env, str) else env, **options)
    finally:
        logger.reset()


def arrays_equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('policy, env, kwargs', [
    ('gaussian', 'Reacher-v5', STATE_STD), ('gmm', 'InvertedPendulum-v5', {}),
    pytest.param('flow', 'Reacher-v5', {'flow_base_logstd': -1.}, marks=pytest.mark.slow),
    pytest.param('gaussian', 'Reacher-v5', {}, marks=pytest.mark.slow),
    pytest.param('flow', 'InvertedPendulum-v5', {}, marks=pytest.mark.slow)])
def test_same_seed_same_model(policy, env, kwargs, tmp_path):
    kwargs = {**POLICIES[policy], **kwargs}
    one, other = (learn(tmp_path / str(i), env, policy=policy, **kwargs).arrays() for i in range(2))
    assert arrays_equal(one, other)
    log = pd.read_csv(tmp_path / '0' / 'progress.csv')
    assert np.isfinite(log).all(axis=None) and (log.KL != 0).all()


def test_another_seed_another_model(tmp_path):
    one, other = (learn(tmp_path, steps=0, seed=seed).arrays() for seed in range(2))
    assert not np.array_equal(one['pi/h1/w'], other['pi/h1/w']) and not np.array_equal(one['vf/h1/w'], other['vf/h1/w'])


def test_learns_to_balance(tmp_path):
    """Returns of this seed rise from 5 to 115 in 5000 steps."""
    learn(tmp_path, steps=5000, timesteps_per_batch=400, vf_iters=10, stepsize=0.2)
    log = pd.read_csv(tmp_path / 'progress.csv')
    assert log.EpRewMean.iloc[0] < 10 and log.EpRewMean.iloc[-1] > 40


def test_time_steps_are_counted_truly(tmp_path):
    env = Recorder(gym.make('InvertedPendulum-v5'))
    learn(tmp_path, env)
    log = pd.read_csv(tmp_path / 'progress.csv')
    assert log.TimestepsSoFar.iloc[-1] == len(env.actions) >= 600 > log.TimestepsSoFar.iloc[-2]
    np.testing.assert_allclose(log.EpLenMean * log.EpisodesSoFar.diff().fillna(log.EpisodesSoFar[0]),
                               log.TimestepsSoFar.diff().fillna(log.TimestepsSoFar[0]))


def test_callback_and_nothing_to_do(tmp_path):
    seen = []
    model = learn(tmp_path, steps=0, callback=lambda values, _: seen.append(values['timesteps_so_far']))
    assert seen == [0] and model.obfilter.rs.n == 0


@pytest.mark.parametrize('policy', POLICIES)
def test_save_and_load(policy, tmp_path):
    model = learn(tmp_path, steps=100, policy=policy, **POLICIES[policy])
    model.save(str(tmp_path / 'model.npz'))
    loaded = learn(tmp_path, steps=0, seed=5, load_path=str(tmp_path / 'model.npz'), policy=policy, **POLICIES[policy])
    assert arrays_equal(model.arrays(), loaded.arrays())
    ob = np.random.default_rng(0).standard_normal((2, 4))
    for m in (model, loaded):
        m.policy.np_random = np.random.default_rng(7)
    np.testing.assert_array_equal(model.step(ob)[0], loaded.step(ob)[0])


@pytest.mark.parametrize('name', ['gaussian', 'flow'])
def test_a_model_goes_on_from_its_state(name, tmp_path):
    """Policy, critic and their optimizers, filter and step size."""
    logger.configure(str(tmp_path), [])
    models = [model_of(name) for _ in range(2)]
    for i in range(3):
        update_of(*models[0], i)
    models[1][0].set_state(copy.deepcopy(models[0][0].state()))
    for model in models:
        for i in range(3, 5):
            update_of(*model, i)
    (first, _), (other, _) = models
    assert arrays_equal(first.arrays(), other.arrays())
    assert first.optim.learning_rate == other.optim.learning_rate != 0.03
    ob = np.random.default_rng(0).standard_normal((2, 5))
    np.testing.assert_array_equal(first.step(ob)[0], other.step(ob)[0])


def model_of(name):
    """(model, the update of its policy)."""
    np_random = np.random.default_rng(0)
    policy = MlpPolicy(5, BOX, name, np_random, **POLICIES[name])
    vf = NeuralNetValueFunction(5, policy.dist_dim, np_random, vf_iters=2)
    optim = KfacOptimizer(learning_rate=0.03, cold_lr=0.003, cold_iter=1, max_grad_norm=None)
    return acktr_cont.Model(spaces.Box(-9, 9, [5]), BOX, policy, vf, optim), optim.minimize(
        policy.losses, policy.var_list, *policy.inputs)


def update_of(model, do_update, i):
    """One of everything that a run changes."""
    rng = np.random.default_rng(i)
    for ob in rng.standard_normal((40, 5)):
        model.obfilter(ob)
    ob_no = rng.standard_normal((40, 10))
    action_na = model.policy.act(ob_no)
    path = {'observation': ob_no, 'action_dist': model.policy.action_dist(ob_no, action_na),
            'reward': rng.standard_normal(40), 'terminated': True}
    model.vf.fit([path], [rng.standard_normal(40)])
    do_update(ob_no, action_na, rng.standard_normal(40))
    model.optim.learning_rate = adapt_stepsize(model.optim.learning_rate, 1., 0.002)


def test_file_of_another_model_is_refused(tmp_path):
    learn(tmp_path, steps=0).save(str(tmp_path / 'model.npz'))
    with pytest.raises(UsageError, match='does not fit this policy'):
        learn(tmp_path, policy='gmm', load_path=str(tmp_path / 'model.npz'))


def test_steps_of_a_model_see_what_rollouts_see():
    """The same noise and filter: the same actions, along an episode and into the next."""
    space = gym.make('Hopper-v5')
    policy = MlpPolicy(11, space.action_space, np_random=np.random.default_rng(0))
    vf = NeuralNetValueFunction(11, policy.dist_dim)
    model = acktr_cont.Model(space.observation_space, space.action_space, policy, vf)
    for ob in np.random.default_rng(1).standard_normal((50, 11)):
        model.obfilter(ob)

    def frozen(x):
        return model.obfilter(x, update=False)

    policy.np_random = np.random.default_rng(3)
    env = as_vec_env(gym.make('Hopper-v5'), seed=4)
    expected = np.concatenate([rollout(env, policy.act, 1000, frozen)['action'] for _ in range(2)])

    policy.np_random = np.random.default_rng(3)
    env, state, actions = as_vec_env(gym.make('Hopper-v5'), seed=4), None, []
    for _ in range(2):
        ob, done = env.reset(), np.ones(1)
        while True:
            action, _, state, _ = model.step(ob, S=state, M=done)
            actions.append(action[0])
            ob, _, done, _ = env.step(action)
            if done[0]:
                break
    np.testing.assert_allclose(actions, scale_action(expected, space.action_space), atol=1e-6)


# ---------------------------------------------------------------- bad input

class Unbounded(gym.Wrapper):
    action_space = spaces.Box(-np.inf, np.inf, [1])


@pytest.mark.parametrize('kwargs, message', [
    ({'gamma': 1.5}, 'gamma=1.5 must lie between 0 and 1'),
    ({'desired_kl': 0.}, 'desired_kl=0.0 must be positive'),
    ({'timesteps_per_batch': 0}, 'timesteps_per_batch=0 must be positive'),
    ({'kfac_update': 0}, 'kfac_update=0 must be positive'),
    ({'policy': 'flwo'}, "unknown policy 'flwo'; did you mean flow"),
    ({'policy': 'flow', 'flow_unit': 3}, "unknown option 'flow_unit'; did you mean flow_units"),
    ({'std_fisher': 'all'}, "std_fisher='all': use 'batch' or 'sample'"),
    ({'critic_sees': 'all'}, "critic_sees='all': use 'parameters' or 'logp'"),
    ({'kl_estimator': 'k2'}, "kl_estimator='k2': use 'k1' or 'k3'"),
    ({'env': 'CartPole-v1'}, r'continuous \(Box\) actions'),
    ({'env': DummyVecEnv([lambda: gym.make('Reacher-v5')] * 2)}, 'one environment per rank, not 2'),
    ({'env': Unbounded(gym.make('Pendulum-v1'))}, 'which has none'),
])
def test_bad_input(kwargs, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        learn(tmp_path, **{'env': 'InvertedPendulum-v5', **kwargs})


RANKS = '''
    import json, sys
    import gymnasium as gym
    import numpy as np
    from onpolicybaselines import logger
    from onpolicybaselines.acktr import acktr_cont
    from onpolicybaselines.common.mpi_world import allgather, rank

    logger.configure(sys.argv[1] if rank() == 0 else None, ['csv'] if rank() == 0 else [])
    model = acktr_cont.learn(env=gym.make('InvertedPendulum-v5'), total_timesteps=2000, timesteps_per_batch=300,
                             vf_iters=2, seed=0)
    arrays = allgather(model.arrays())
    if rank() == 0:
        same = [all(np.array_equal(other[name], value) for other in arrays) for name, value in arrays[0].items()]
        print(json.dumps({'same': same, 'n': int(arrays[0]['obfilter/n'])}))
'''


@pytest.mark.slow
def test_ranks_learn_the_same_model_from_all_their_episodes(mpirun, tmp_path):
    process = mpirun(2, RANKS, tmp_path)
    assert process.returncode == 0, process.stderr[-3000:]
    result = json.loads([line for line in process.stdout.splitlines() if line.startswith('{')][-1])
    assert all(result['same'])
    log = pd.read_csv(tmp_path / 'progress.csv')
    assert result['n'] == log.TimestepsSoFar.iloc[-1] + log.EpisodesSoFar.iloc[-1]  # one observation more per episode
    assert log.TimestepsSoFar.iloc[0] > 600
