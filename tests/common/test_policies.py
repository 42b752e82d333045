"""PolicyWithValue on real environments: shapes, randomness, observation filter, files, and what it refuses."""
import json

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from onpolicybaselines.common import input as observations, tf_util
from onpolicybaselines.common.distributions import DiagGaussianPd, NormalizingFlowPd
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.layers import recording_layers
from onpolicybaselines.common.models import mlp
from onpolicybaselines.common.policies import PolicyWithValue, build_policy
from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.state import flatten, unflatten
from onpolicybaselines.common.variables import VariableStore


class Toy(gym.Env):
    """Any spaces; an episode is 5 random observations."""

    def __init__(self, observation_space, action_space):
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self._t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self._t += 1
        return self.observation_space.sample(), 1., self._t == 5, False, {}


BOX3 = spaces.Box(-np.inf, np.inf, (3,), 'float64')


@pytest.fixture(scope='module')
def envs():
    made = {
        'hopper': gym.make('Hopper-v5'),
        'cartpole': gym.make('CartPole-v1'),
        'multidiscrete': Toy(BOX3, spaces.MultiDiscrete([3, 2])),
        'multibinary': Toy(spaces.Discrete(5), spaces.MultiBinary(4)),
        'image': Toy(spaces.Box(0, 255, (44, 44, 1), 'uint8'), spaces.Discrete(3)),
    }
    yield made
    for env in made.values():
        env.close()


CASES = [('hopper', 'gaussian'), ('hopper', 'gmm'), ('hopper', 'flow'), ('cartpole', None), ('multidiscrete', None),
         ('multibinary', None)]


def make(env, policy=None, seed=0, network='mlp', dtype='float32', value_network='copy', normalize=False, **kwargs):
    if network == 'mlp':
        kwargs = {'num_hidden': 8, **kwargs}
    if policy == 'flow':
        kwargs = {'flow_layers': 1, 'flow_state_units': 8, **kwargs}
    policy_fn = build_policy(env, network, value_network, normalize, policy, **kwargs)
    return policy_fn(np_random=np.random.default_rng(seed), dtype=dtype)


def batch(env, n, seed=0):
    env.observation_space.seed(seed)
    if env.observation_space is BOX3 or env.observation_space.shape == (11,):
        return np.random.default_rng(seed).standard_normal((n, *env.observation_space.shape))
    if env.observation_space.shape == (4,):
        return np.random.default_rng(seed).uniform(-1, 1, (n, 4)).astype('float32')
    return np.stack([env.observation_space.sample() for _ in range(n)])


# ================================================================
# Step, act, value
# ================================================================

@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('name, policy', CASES)
def test_step_act_and_value(envs, name, policy, dtype):
    env = envs[name]
    pi = make(env, policy, dtype=dtype)
    space = env.action_space
    action_dtype = dtype if isinstance(space, spaces.Box) else 'int32'
    for ob, n in [(batch(env, 3), 3), (batch(env, 1)[0], 1), (batch(env, 1), 1)]:
        actions, values, state, neglogp = pi.step(ob)
        assert actions.shape == (n, *space.shape) and actions.dtype == action_dtype
        assert values.shape == neglogp.shape == (n,) and values.dtype == neglogp.dtype == dtype
        assert state is None
        assert pi.act(ob).shape == actions.shape and pi.act(ob).dtype == action_dtype
        np.testing.assert_allclose(pi.value(ob), values, rtol=1e-5)
        as_batch = tf.constant(np.reshape(ob, (n, *env.observation_space.shape)), pi.X.dtype)
        np.testing.assert_allclose(pi.pd(as_batch).neglogp(tf.constant(actions)), neglogp, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(pi.vf(as_batch), values, rtol=1e-5)


@pytest.mark.parametrize('name, policy', CASES)
def test_actions_fit_the_environment(envs, name, policy):
    env, pi = envs[name], make(envs[name], policy)
    ob, _ = env.reset(seed=0)
    for _ in range(5):
        action = pi.step(ob)[0][0]
        assert action.shape == env.action_space.shape
        ob, reward, terminated, truncated, _ = env.step(action)
        assert np.isfinite(reward)
        if terminated or truncated:
            ob, _ = env.reset()


@pytest.mark.parametrize('name, policy', CASES)
def test_deterministic_actions(envs, name, policy):
    env = envs[name]
    pi, twin = make(env, policy), make(env, policy)
    ob = batch(env, 4)
    mode = pi.pd(tf.constant(ob, pi.X.dtype)).mode()
    for _ in range(2):
        np.testing.assert_allclose(pi.act(ob, stochastic=False), mode, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pi.act(ob), twin.act(ob))  # no noise was used up


@pytest.mark.parametrize('name, policy', CASES)
def test_same_seed_same_variables_and_actions(envs, name, policy):
    env = envs[name]
    ob = batch(env, 8)
    a, b, c = (make(env, policy, seed=seed) for seed in (3, 3, 4))
    for u, v in zip(a.var_list + a.vf_var_list, b.var_list + b.vf_var_list, strict=True):
        np.testing.assert_array_equal(u, v)
    tf.random.set_seed(0)
    first = [a.act(ob), a.step(ob)[0], a.act(ob)]
    tf.random.set_seed(1)  # not where the noise comes from
    for x, y in zip(first, [b.act(ob), b.step(ob)[0], b.act(ob)], strict=True):
        np.testing.assert_array_equal(x, y)
    assert np.any(first[0] != first[2])
    assert np.any(first[0] != c.act(ob))


def test_without_a_generator_two_policies_differ(envs):
    policy_fn = build_policy(envs['hopper'], 'mlp', 'copy')
    a, b = policy_fn(), policy_fn()
    assert np.any(a.var_list[0] != b.var_list[0])


def test_batches_of_any_size_are_compiled_once(envs):
    traced = []

    def network(x):
        traced.append(x.shape)
        return mlp(num_hidden=8)(x)

    pi = build_policy(envs['hopper'], network, 'copy')()
    pi.step(batch(envs['hopper'], 2))
    count = len(traced)
    for n in (1, 3, 7):
        pi.step(batch(envs['hopper'], n))
    assert len(traced) == count


def test_wrong_observation_shape_is_refused(envs):
    pi = make(envs['hopper'])
    with pytest.raises(ValueError, match=r'\(12,\)'):
        pi.step(np.zeros(12))


# ================================================================
# Variables
# ================================================================

def test_variables_of_a_gaussian_policy(envs):
    pi = make(envs['hopper'], 'gaussian')
    assert [(v.name, tuple(v.shape)) for v in pi.var_list] == [
        ('pi/mlp_fc0/w:0', (11, 8)), ('pi/mlp_fc0/b:0', (8,)), ('pi/mlp_fc1/w:0', (8, 8)), ('pi/mlp_fc1/b:0', (8,)),
        ('pi/w:0', (8, 3)), ('pi/b:0', (3,)), ('pi/logstd:0', (1, 3))]
    assert [(v.name, tuple(v.shape)) for v in pi.vf_var_list] == [
        ('vf/mlp_fc0/w:0', (11, 8)), ('vf/mlp_fc0/b:0', (8,)), ('vf/mlp_fc1/w:0', (8, 8)), ('vf/mlp_fc1/b:0', (8,)),
        ('vf/w:0', (8, 1)), ('vf/b:0', (1,))]
    head = pi.var_list[4].numpy()
    np.testing.assert_allclose(head.T @ head, 1e-4 * np.eye(3), atol=1e-9)  # a fresh policy hardly depends on the state
    assert np.any(pi.var_list[0].numpy() != pi.vf_var_list[0].numpy())


def test_policy_and_value_in_numpy(envs):
    pi = make(envs['hopper'], 'gaussian', dtype='float64')
    for i, v in enumerate(pi.var_list + pi.vf_var_list):
        v.assign_add(0.3 * np.random.default_rng(i).standard_normal(v.shape))
    ob = batch(envs['hopper'], 4).astype('float32')

    def latent(w0, b0, w1, b1):
        return np.tanh(np.tanh(ob @ w0 + b0) @ w1 + b1)

    *pi_layers, w, b, logstd = (v.numpy() for v in pi.var_list)
    np.testing.assert_allclose(pi.act(ob, stochastic=False), latent(*pi_layers) @ w + b, rtol=1e-10)
    np.testing.assert_allclose(pi.pd(tf.constant(ob)).logstd, np.repeat(logstd, 4, axis=0), rtol=1e-15)
    *vf_layers, w, b = (v.numpy() for v in pi.vf_var_list)
    np.testing.assert_allclose(pi.value(ob), (latent(*vf_layers) @ w + b)[:, 0], rtol=1e-10)


def test_shared_value_network(envs):
    for value_network in ('shared', None):
        pi = make(envs['hopper'], 'gaussian', value_network=value_network)
        assert [v.name for v in pi.vf_var_list] == ['vf/w:0', 'vf/b:0']
        ob = tf.constant(batch(envs['hopper'], 2), tf.float32)
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(pi.vf(ob))
        gradients = tape.gradient(value, pi.var_list + pi.vf_var_list)
        reached = [v.name for v, g in zip(pi.var_list + pi.vf_var_list, gradients, strict=True) if g is not None]
        assert reached == [f'pi/mlp_fc{i}/{n}:0' for i in (0, 1) for n in 'wb'] + ['vf/w:0', 'vf/b:0']


def test_copied_value_network_is_apart_from_the_policy(envs):
    pi = make(envs['hopper'], 'flow')
    ob = tf.constant(batch(envs['hopper'], 2), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        value, logp = tf.reduce_sum(pi.vf(ob)), tf.reduce_sum(pi.pd(ob).logp(tf.ones([2, 3])))
    assert all(g is None for g in tape.gradient(value, pi.var_list) + tape.gradient(logp, pi.vf_var_list))
    assert all(g is not None for g in tape.gradient(value, pi.vf_var_list) + tape.gradient(logp, pi.var_list))


def test_value_network_of_ones_own(envs):
    pi = make(envs['hopper'], 'gaussian', value_network=mlp(num_layers=1, num_hidden=5))
    assert [tuple(v.shape) for v in pi.vf_var_list] == [(11, 5), (5,), (5, 1), (1,)]


def test_networks_of_ones_own(envs):
    pi = build_policy(envs['hopper'], mlp(num_layers=1, num_hidden=5))()
    assert [tuple(v.shape) for v in pi.var_list] == [(11, 5), (5,), (5, 3), (3,), (1, 3)]


def test_flow_reads_the_observation_itself_or_through_the_network(envs):
    own = make(envs['hopper'], 'flow')
    through = make(envs['hopper'], 'flow', flow_state_net='network', value_network='shared')
    assert isinstance(own.pd(tf.zeros([1, 11])), NormalizingFlowPd)
    assert own.var_list[0].name == 'pi/statelayer/dense/kernel:0' and own.var_list[0].shape == (11, 8)
    assert through.var_list[0].name == 'pi/mlp_fc0/w:0'
    assert not any('mlp' in v.name for v in own.var_list)


def test_distribution_at_other_parameters(envs):
    """Within `at`, `pd` is that of the flat vector; afterwards it is as before."""
    env = envs['hopper']
    ob = tf.constant(batch(env, 4), tf.float32)
    for policy in ('gaussian', 'gmm', 'flow'):
        pi, other = make(env, policy), make(env, policy, seed=1)
        x = other.pd(ob).sample()
        theta = tf_util.GetFlat(other.var_list)()
        before = pi.pd(ob).logp(x).numpy()
        expected = other.pd(ob).logp(x).numpy()
        assert np.abs(before - expected).max() > 1e-4
        with pi.at(tf.constant(theta)):
            np.testing.assert_allclose(pi.pd(ob).logp(x), expected, rtol=1e-5)
        np.testing.assert_array_equal(pi.pd(ob).logp(x), before)


def test_image_policy(envs):
    pi = make(envs['image'], network='cnn_small', value_network='shared', normalize=True)
    assert not hasattr(pi, 'ob_rms')  # pixels are scaled by the network
    ob = batch(envs['image'], 2)
    actions, values, _, neglogp = pi.step(ob)
    assert actions.shape == values.shape == neglogp.shape == (2,)
    np.testing.assert_allclose(neglogp, np.log(3), atol=0.1)  # fresh: close to uniform


def test_policy_and_value_together_evaluate_a_shared_network_once(envs):
    for value_network, count in [('shared', 2 + 1 + 1), ('copy', 2 + 1 + 2 + 1)]:
        pi = make(envs['cartpole'], value_network=value_network)
        ob = tf.constant(batch(envs['cartpole'], 3))
        with recording_layers() as layers:
            pd, vf, state = pi.pd_and_vf(ob)
        assert len(layers) == count and state is None
        np.testing.assert_allclose(pd.logits, pi.pd(ob).logits, rtol=1e-6)
        np.testing.assert_allclose(vf, pi.vf(ob), rtol=1e-6)


def test_states_have_no_effect_without_recurrence(envs):
    pi, twin = make(envs['hopper']), make(envs['hopper'])
    ob = batch(envs['hopper'], 3)
    for x, y in zip(pi.step(ob, S=np.ones((3, 4)), M=np.ones(3)), twin.step(ob), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(pi.value(ob, S=None, M=np.ones(3)), pi.value(ob))
    assert pi.initial_state(3) is None and not pi.recurrent


# ================================================================
# Recurrent policies
# ================================================================

RECURRENT = [('hopper', 'lstm'), ('cartpole', 'lnlstm'), ('multidiscrete', 'lstm'), ('image', 'cnn_lstm')]
NENV, NSTEPS = 3, 5


def recurrent_policy(env, network, nlstm=6, seed=0, **kwargs):
    """Away from its initial values: those hardly depend on the state."""
    pi = make(env, network=network, value_network='shared', nlstm=nlstm, seed=seed, **kwargs)
    for i, v in enumerate(pi.var_list + pi.vf_var_list):
        v.assign_add(0.3 * np.random.default_rng(i).standard_normal(v.shape) / max(1, np.sqrt(v.shape[0] / 6)))
    return pi


def rollout(env, seed=0):
    """Observations [NSTEPS, NENV, ...], states before [NENV, n], and starts of episodes [NSTEPS, NENV] in the midst."""
    rng = np.random.default_rng(seed)
    starts = np.zeros((NSTEPS, NENV))
    starts[0, 0] = starts[2, 1] = starts[3, 0] = starts[NSTEPS - 1, 2] = 1
    ob = batch(env, NSTEPS * NENV)
    return ob.reshape(NSTEPS, NENV, *ob.shape[1:]), rng.standard_normal((NENV, 12)).astype('f'), starts


def env_major(x):
    return np.swapaxes(x, 0, 1).reshape(-1, *np.shape(x)[2:])


@pytest.mark.parametrize('name, network', RECURRENT)
def test_steps_one_by_one_are_the_unrolled_batch(envs, name, network):
    """What acting saw, training sees: values, log-probabilities and the last state, across starts of episodes."""
    pi = recurrent_policy(envs[name], network)
    obs, S0, starts = rollout(envs[name])
    S, steps = S0, []
    for ob, M in zip(obs, starts, strict=True):
        value = pi.value(ob, S, M)
        *step, S, neglogp = pi.step(ob, S, M)
        assert S.shape == (NENV, 12)
        np.testing.assert_allclose(step[1], value, rtol=1e-6)
        steps.append((*step, neglogp))
    actions, values, neglogps = (env_major(x) for x in zip(*steps, strict=True))

    ob, M = tf.constant(env_major(obs), pi.X.dtype), tf.constant(env_major(starts), tf.float32)
    pd, vf, last = pi.pd_and_vf(ob, tf.constant(S0), M, nsteps=NSTEPS)
    np.testing.assert_allclose(vf, values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pd.neglogp(tf.constant(actions)), neglogps, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(last, S, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pi.vf(ob, tf.constant(S0), M, NSTEPS), vf, rtol=1e-6)
    np.testing.assert_allclose(pi.pd(ob, tf.constant(S0), M, NSTEPS).flatparam(), pd.flatparam(), rtol=1e-6)
    forgetful = pi.vf(ob, tf.constant(S0), M * 0, NSTEPS)
    assert np.abs(forgetful - values).max() > 1e-3  # the starts of episodes did matter


@pytest.mark.parametrize('name, network', RECURRENT)
def test_start_of_an_episode_is_the_zero_state(envs, name, network):
    pi = recurrent_policy(envs[name], network)
    (ob, *_), S, _ = rollout(envs[name])
    np.testing.assert_array_equal(pi.initial_state(NENV), np.zeros((NENV, 12)))
    fresh = pi.step(ob, stochastic=False)
    for S_, M in [(S, np.ones(NENV)), (pi.initial_state(NENV), np.zeros(NENV)), (None, [False] * NENV)]:
        for x, y in zip(pi.step(ob, S_, M, stochastic=False), fresh, strict=True):
            np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(pi.value(ob), fresh[1])
    remembering = pi.step(ob, S, stochastic=False)
    assert np.all(remembering[1] != fresh[1])
    mixed = pi.step(ob, S, np.array([1, 0, 0]), stochastic=False)[1]
    np.testing.assert_array_equal(mixed, [fresh[1][0], *remembering[1][1:]])
    as_batch = tf.constant(ob, pi.X.dtype)
    np.testing.assert_allclose(pi.vf(as_batch), fresh[1], rtol=1e-6)
    np.testing.assert_allclose(pi.pd(as_batch).mode(), fresh[0], rtol=1e-5)


def test_deterministic_steps(envs):
    pi, twin = recurrent_policy(envs['hopper'], 'lstm'), recurrent_policy(envs['hopper'], 'lstm')
    (ob, *_), S, M = rollout(envs['hopper'])
    for _ in range(2):
        action, value, _, neglogp = pi.step(ob, S, M[0], stochastic=False)
        pd = pi.pd(tf.constant(ob, tf.float32), tf.constant(S), tf.constant(M[0], tf.float32))
        np.testing.assert_allclose(action, pd.mean, rtol=1e-5)
        np.testing.assert_allclose(neglogp, pd.neglogp(tf.constant(action)), rtol=1e-5)
    for x, y in zip(pi.step(ob, S, M[0]), twin.step(ob, S, M[0]), strict=True):
        np.testing.assert_array_equal(x, y)  # no noise was used up
    assert np.any(pi.step(ob, S, M[0])[0] != action)


def test_gradients_reach_back_through_time_as_far_as_the_episode(envs):
    pi = recurrent_policy(envs['hopper'], 'lstm', dtype='float64')
    obs, S, starts = rollout(envs['hopper'])
    ob = tf.constant(env_major(obs), tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(ob)
        pd, vf, _ = pi.pd_and_vf(ob, tf.constant(S), tf.constant(env_major(starts)), nsteps=NSTEPS)
        lasts = tf.reshape(vf, [NENV, NSTEPS])[:, -1]
        total = tf.reduce_sum(pd.logp(tf.zeros([NENV * NSTEPS, 3], tf.float64)) + vf)
    reached = np.any(np.reshape(tape.gradient(lasts, ob), [NENV, NSTEPS, -1]) != 0, axis=-1)
    np.testing.assert_array_equal(reached, [[False] * 3 + [True] * 2, [False] * 2 + [True] * 3, [False] * 4 + [True]])
    assert all(g is not None for g in tape.gradient(total, pi.var_list + pi.vf_var_list))


def test_recurrent_policy_is_saved_and_loaded(envs, tmp_path):
    path = str(tmp_path / 'model.npz')
    saved, loaded = recurrent_policy(envs['hopper'], 'lstm', normalize=True), make(
        envs['hopper'], network='lstm', value_network=None, nlstm=6, seed=1, normalize=True)
    saved.save(path)
    loaded.load(path)
    (ob, *_), S, M = rollout(envs['hopper'])
    for x, y in zip(saved.step(ob, S, M[0], stochastic=False), loaded.step(ob, S, M[0], stochastic=False), strict=True):
        np.testing.assert_array_equal(x, y)
    _, meta = tf_util.load_variables(path)
    assert meta['spec'] == {'network': 'lstm', 'nlstm': 6, 'value_network': 'shared', 'policy': None,
                            'normalize_observations': True}


def test_trpo_takes_no_recurrent_network(envs):
    from onpolicybaselines.trpo_mpi import trpo_mpi
    for value_network, fault in [('copy', 'recurrent network'), ('shared', 'feed-forward networks only')]:
        with pytest.raises(UsageError, match=fault):
            trpo_mpi.learn(network='lstm', env=envs['cartpole'], total_timesteps=100, value_network=value_network)


def test_act_of_a_recurrent_policy_is_refused(envs):
    with pytest.raises(UsageError, match='use step'):
        recurrent_policy(envs['hopper'], 'lstm').act(np.zeros(11))


# ================================================================
# Observation filter
# ================================================================

def filtered(ob, rms):
    return np.clip((ob - rms.mean.numpy()) / rms.std.numpy(), -5, 5)


@pytest.mark.parametrize('policy', ['gaussian', 'flow'])
def test_observations_are_filtered_and_clipped(envs, policy):
    env = envs['hopper']
    plain, filtering = make(env, policy, dtype='float64'), make(env, policy, dtype='float64', normalize=True)
    assert not hasattr(plain, 'ob_rms')
    ob = batch(env, 6) * 2
    np.testing.assert_allclose(filtering.value(ob * 0.5), plain.value(ob * 0.5), rtol=1e-5)  # mean 0, std 1 at first
    filtering.ob_rms.update(batch(env, 50, seed=1) * np.linspace(0.001, 30, 11) + 3)
    ob[0] = 1e4 * np.sign(ob[0])
    seen = filtered(ob.astype('float32'), filtering.ob_rms)
    assert np.all(np.abs(seen[0]) == 5) and np.any(np.abs(seen) < 4) and not np.allclose(seen, ob)
    np.testing.assert_allclose(filtering.value(ob), plain.value(seen), rtol=1e-5)
    actions, expected = filtering.act(ob, stochastic=False), plain.act(seen, stochastic=False)
    np.testing.assert_allclose(actions, expected, rtol=1e-4, atol=1e-6)
    x = np.zeros((6, 3))
    np.testing.assert_allclose(filtering.pd(tf.constant(ob, tf.float32)).logp(x),
                               plain.pd(tf.constant(seen, tf.float32)).logp(x), rtol=1e-4)
    beyond = ob.copy()
    beyond[0] *= 10  # clipped already
    np.testing.assert_array_equal(filtering.value(beyond), filtering.value(ob))


def test_filter_is_no_variable_of_the_policy(envs):
    plain, filtering = make(envs['hopper']), make(envs['hopper'], normalize=True)
    for attribute in ('var_list', 'vf_var_list'):
        assert [v.name for v in getattr(filtering, attribute)] == [v.name for v in getattr(plain, attribute)]


def test_filter_of_integer_observations_is_left_out(envs):
    assert not hasattr(make(envs['multibinary'], normalize=True), 'ob_rms')


# ================================================================
# Files
# ================================================================

@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('name, policy', CASES)
def test_save_and_load(envs, name, policy, dtype, tmp_path):
    env, path = envs[name], str(tmp_path / 'model.npz')
    saved = make(env, policy, normalize=True, dtype=dtype)
    if hasattr(saved, 'ob_rms'):
        saved.ob_rms.update(batch(env, 20, seed=5) * 3 + 1)
    saved.save(path)
    loaded = make(env, policy, normalize=True, dtype=dtype, seed=1)
    loaded.load(path)
    for u, v in zip(saved.var_list + saved.vf_var_list, loaded.var_list + loaded.vf_var_list, strict=True):
        assert u.name == v.name and u.dtype == v.dtype
        np.testing.assert_array_equal(u, v)
    ob = batch(env, 5)
    np.testing.assert_array_equal(saved.act(ob, stochastic=False), loaded.act(ob, stochastic=False))
    np.testing.assert_array_equal(saved.value(ob), loaded.value(ob))
    saved.np_random, loaded.np_random = np.random.default_rng(9), np.random.default_rng(9)
    for u, v in zip(saved.step(ob), loaded.step(ob), strict=True):
        np.testing.assert_array_equal(u, v)
    if hasattr(saved, 'ob_rms'):
        more = batch(env, 20, seed=6)
        for pi in (saved, loaded):
            pi.ob_rms.update(more)  # the statistics go on where they were
        np.testing.assert_array_equal(saved.ob_rms.mean, loaded.ob_rms.mean)
        np.testing.assert_array_equal(saved.ob_rms.std, loaded.ob_rms.std)


def test_what_a_policy_sees_of_an_offset_is_right(envs):
    """In float32, whose step at 1e4 is 1e-3."""
    x = 1e4 + np.random.default_rng(0).standard_normal((2000, 11))
    pi = make(envs['hopper'], normalize=True)
    for rows in np.split(x, 20):
        pi.ob_rms.update(rows)
    y = np.clip((x - x.mean(axis=0)) / x.std(axis=0), -5, 5)
    np.testing.assert_allclose(pi.encoded(x), y, atol=2e-3)
    with pi._store.as_default():
        np.testing.assert_allclose(pi._encode(tf.constant(x, tf.float32)), y, atol=2e-3)


def test_files_of_earlier_revisions_have_sums_for_a_filter(envs, tmp_path):
    path = str(tmp_path / 'model.npz')
    pi = make(envs['hopper'], normalize=True)
    pi.ob_rms.update(batch(envs['hopper'], 20, seed=5) * 3 + 1)
    arrays = pi.arrays()
    mean, var, count = (arrays.pop(f'ob_rms/{name}') for name in ('mean', 'var', 'count'))
    sums = {'ob_rms/sum': mean * count, 'ob_rms/sumsq': (var + mean**2) * count, 'ob_rms/count': count}
    tf_util.save_variables(path, {**arrays, **sums}, {'spec': pi.spec})
    for load in (lambda pi: pi.load(path), lambda pi: pi.set_state({**pi.state(), 'arrays': {**arrays, **sums}})):
        loaded = make(envs['hopper'], normalize=True, seed=1)
        load(loaded)
        np.testing.assert_allclose(loaded.ob_rms.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(loaded.ob_rms.std, np.sqrt(np.maximum(var, 1e-2)), rtol=1e-6)


@pytest.mark.parametrize('name, policy', CASES)
def test_a_fresh_policy_with_the_state_goes_on_as_the_first(envs, name, policy):
    env = envs[name]
    first, fresh = make(env, policy, normalize=True), make(env, policy, normalize=True, seed=1)
    ob = batch(env, 5)
    first.step(ob)
    if hasattr(first, 'ob_rms'):
        first.ob_rms.update(batch(env, 20, seed=5) * 3 + 1)
    arrays, rest = flatten(first.state())
    later = first.step(ob), first.actor()(ob)
    fresh.set_state(unflatten(arrays, json.loads(json.dumps(rest))))
    for u, v in zip(tf.nest.flatten(later), tf.nest.flatten((fresh.step(ob), fresh.actor()(ob))), strict=True):
        np.testing.assert_array_equal(u, v)


def test_state_of_another_policy_is_refused(envs):
    pi = make(envs['hopper'])
    before = pi.state()
    with pytest.raises(ValueError, match='pi/mlp_fc0/w'):
        pi.set_state(make(envs['hopper'], num_hidden=9).state())
    np.testing.assert_equal(pi.state(), before)


def test_generator_is_in_the_state_and_not_in_the_file(envs, tmp_path):
    pi = make(envs['hopper'])
    pi.save(str(tmp_path / 'model.npz'))
    arrays, _ = tf_util.load_variables(str(tmp_path / 'model.npz'))
    assert set(arrays) == set(pi.state()['arrays']) == {v.name.split(':')[0] for v in pi.var_list + pi.vf_var_list}
    assert set(pi.state()) == {'arrays', 'np_random'}


def test_precision_may_change_between_save_and_load(envs, tmp_path):
    path = str(tmp_path / 'model.npz')
    saved = make(envs['hopper'], dtype='float64')
    saved.save(path)
    loaded = make(envs['hopper'], seed=1)
    loaded.load(path)
    assert loaded.var_list[0].dtype == 'float32'
    np.testing.assert_allclose(loaded.value(batch(envs['hopper'], 3)), saved.value(batch(envs['hopper'], 3)), rtol=1e-4)


def test_file_says_how_the_policy_was_asked_for(envs, tmp_path):
    path = str(tmp_path / 'model.npz')
    make(envs['hopper'], 'gmm', normalize=True, gmm_components=3).save(path)
    _, meta = tf_util.load_variables(path)
    assert meta['spec'] == {'network': 'mlp', 'policy': 'gmm', 'normalize_observations': True, 'num_hidden': 8,
                            'gmm_components': 3, 'value_network': 'copy'}
    assert meta['version']


@pytest.mark.parametrize('kwargs', [
    {'activation': tf.nn.relu}, {'num_layers': np.int64(2)}, {'network': mlp(num_hidden=8)},
    {'value_network': mlp(num_hidden=8)},
])
def test_any_policy_can_be_saved(envs, kwargs, tmp_path):
    """Functions and numpy numbers, too, are ways to ask for one."""
    saved, loaded = make(envs['hopper'], **kwargs), make(envs['hopper'], seed=1, **kwargs)
    saved.save(str(tmp_path / 'model.npz'))
    loaded.load(str(tmp_path / 'model.npz'))
    np.testing.assert_array_equal(saved.value(np.ones(11)), loaded.value(np.ones(11)))


def _state(pi):
    arrays = [v.numpy() for v in pi.var_list + pi.vf_var_list]
    if hasattr(pi, 'ob_rms'):
        arrays += [*pi.ob_rms.state().values(), pi.ob_rms.mean.numpy(), pi.ob_rms.std.numpy()]
    return arrays


def assert_load_changes_nothing(pi, path):
    before = _state(pi)
    with pytest.raises(UsageError) as error:
        pi.load(path)
    assert '\n' not in str(error.value) and repr(path) in str(error.value)
    for x, y in zip(before, _state(pi), strict=True):
        np.testing.assert_array_equal(x, y)
    return str(error.value)


@pytest.mark.parametrize('kwargs, named', [
    ({'num_hidden': 9}, 'pi/mlp_fc0/w'),
    ({'num_layers': 3}, 'pi/mlp_fc2/w'),
    ({'num_layers': 1}, 'pi/mlp_fc1/w'),
    ({'policy': 'flow'}, 'pi/mlp_fc0/w'),
    ({'normalize': False}, 'ob_rms/mean'),
    ({'value_network': 'shared'}, 'vf/mlp_fc0/w'),
    ({'fixed_logstd': True}, 'pi/logstd'),
    ({'state_dependent_std': True}, 'pi/logstd'),
])
def test_file_of_another_policy_is_refused(envs, kwargs, named, tmp_path):
    path = str(tmp_path / 'model.npz')
    make(envs['hopper'], **{'policy': 'gaussian', 'normalize': True, **kwargs}).save(path)
    pi = make(envs['hopper'], 'gaussian', normalize=True, seed=1)
    message = assert_load_changes_nothing(pi, path)
    assert named in message and 'mlp' in message


def test_file_of_another_environment_is_refused(envs, tmp_path):
    path = str(tmp_path / 'model.npz')
    make(envs['cartpole']).save(path)
    message = assert_load_changes_nothing(make(envs['hopper']), path)
    assert 'pi/mlp_fc0/w is (4, 8) in the file and (11, 8) here' in message


@pytest.mark.parametrize('damage', ['text', 'filter as text', 'missing', 'more'])
def test_tampered_file_is_refused(envs, damage, tmp_path):
    path = str(tmp_path / 'model.npz')
    pi = make(envs['hopper'], 'gaussian', normalize=True)
    make(envs['hopper'], 'gaussian', normalize=True, seed=1).save(path)
    arrays, meta = tf_util.load_variables(path)
    if damage == 'missing':
        del arrays['vf/b']
    elif damage == 'more':
        arrays['pi/more'] = np.ones(2)
    else:
        name = 'ob_rms/var' if 'filter' in damage else 'vf/b'  # the last, when all others are set
        arrays[name] = np.full(arrays[name].shape, 'x')
    np.savez(path, **arrays, __meta__=np.array(json.dumps(meta)))
    assert_load_changes_nothing(pi, path)


def test_missing_and_garbage_files_are_refused(envs, tmp_path):
    pi = make(envs['hopper'], normalize=True)
    assert_load_changes_nothing(pi, str(tmp_path / 'none.npz'))
    (tmp_path / 'model.npz').write_bytes(b'garbage')
    assert_load_changes_nothing(pi, str(tmp_path / 'model.npz'))


# ================================================================
# What is refused
# ================================================================

@pytest.mark.parametrize('name, args, kwargs, message', [
    ('hopper', ('mlp',), {'num_layer': 3}, "unknown option 'num_layer'; did you mean num_layers?"),
    ('hopper', ('mlp', 'copy', False, 'flow'), {'flow_layer': 3}, 'did you mean flow_layers?'),
    ('hopper', ('mlp', 'copy', False, 'gaussian'), {'flow_layers': 3}, "unknown option 'flow_layers'"),
    ('hopper', ('mlp', 'copy', False, 'gaussian'), {'size': 3}, "unknown option 'size'"),
    ('cartpole', ('mlp',), {'ncat': 3}, "unknown option 'ncat'"),
    ('cartpole', ('mlp',), {'fixed_logstd': True}, "unknown option 'fixed_logstd'"),
    ('hopper', (mlp(),), {'num_layers': 3}, "unknown option 'num_layers'"),
    ('hopper', ('mpl',), {}, 'did you mean mlp?'),
    ('hopper', ('mlp', 'copy', False, 'flaw'), {}, 'did you mean flow?'),
    ('cartpole', ('mlp', 'copy', False, 'flow'), {}, 'leave it out'),
    ('hopper', ('mlp', 'coppy'), {}, 'coppy'),
    ('hopper', ('mlp', 'mlp'), {}, "'mlp'"),
    ('hopper', ('mlp', 'shared', False, 'flow'), {}, "flow_state_net='network'"),
    ('hopper', ('mlp', None, False, 'flow'), {}, "flow_state_net='network'"),
    ('hopper', ('lstm', 'copy'), {}, "recurrent network 'lstm': a value network of its own (value_network='copy')"),
    ('image', ('cnn_lnlstm', mlp()), {}, "recurrent network 'cnn_lnlstm': a value network of its own"),
    ('hopper', ('mlp',), {'activation': 'rellu'}, "'rellu'"),
    ('hopper', ('mlp', 'copy', False, 'gmm'), {'gmm_components': 0}, 'gmm_components=0 must be positive'),
])
def test_refused_in_one_line(envs, name, args, kwargs, message):
    with pytest.raises(UsageError) as error:
        build_policy(envs[name], *args, **kwargs)
    assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('network', ['cnn', 'cnn_small', 'impala_cnn', 'conv_only'])
def test_misspelt_keyword_of_a_convolutional_network_is_refused(envs, network):
    """Also by the networks that hand keywords on to their convolutions."""
    with pytest.raises(UsageError) as error:
        make(envs['image'], network=network, one_dim_bais=True)
    assert "'one_dim_bais'" in str(error.value) and '\n' not in str(error.value)


def test_recurrent_value_network_is_refused(envs):
    recurrent = lambda x: x
    recurrent.recurrent = True
    with pytest.raises(UsageError, match='recurrent'):
        build_policy(envs['hopper'], 'mlp', recurrent)


def test_keywords_reach_network_and_policy(envs):
    pi = make(envs['hopper'], 'gmm', num_layers=1, num_hidden=5, gmm_components=3)
    assert [tuple(v.shape) for v in pi.var_list] == [(11, 5), (5,), *[(5, 3), (3,), (1, 3)] * 3]
    cnn = make(envs['image'], network='cnn_small', value_network='shared', one_dim_bias=True)
    assert cnn.var_list[1].shape == (8,)


def test_policy_made_directly(envs):
    """Without build_policy, as a program may."""
    from onpolicybaselines.common.distributions import make_pdtype
    env = envs['hopper']
    pi = PolicyWithValue(env, mlp(num_hidden=8), make_pdtype(env.action_space))
    assert isinstance(pi.pd(tf.zeros([1, 11])), DiagGaussianPd)
    assert pi.step(np.zeros(11))[0].shape == (1, 3)


# ================================================================
# Observations as input
# ================================================================

@pytest.mark.parametrize('space, ob, encoded', [
    (spaces.Box(-1, 1, (2,)), [[0.5, 1]], [[0.5, 1]]),
    (spaces.Box(0, 255, (2,), 'uint8'), [[3, 255]], [[3, 255]]),
    (spaces.Discrete(3), [2, 0], [[0, 0, 1], [1, 0, 0]]),
    (spaces.Discrete(3, start=-1), [1, -1], [[0, 0, 1], [1, 0, 0]]),
    (spaces.MultiDiscrete([2, 3]), [[1, 0], [0, 2]], [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]),
    (spaces.MultiDiscrete([2, 3], start=[5, 1]), [[6, 1], [5, 3]], [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]),
])
def test_encode_observation(space, ob, encoded):
    spec = observations.observation_placeholder(space)
    assert spec.shape.as_list() == [None, *space.shape] and spec.name == 'Ob'
    for dtype in ('float32', 'float64'):
        with VariableStore(dtype).as_default():
            x = observations.encode_observation(space, tf.constant(ob, spec.dtype))
        assert x.dtype == dtype
        np.testing.assert_array_equal(x, encoded)


def test_observation_placeholder():
    pixels = spaces.Box(0, 255, (2, 2, 1), 'uint8')
    for space, dtype in [(BOX3, 'float32'), (pixels, 'uint8'), (spaces.Discrete(3), 'int64')]:
        spec = observations.observation_placeholder(space, batch_size=7, name='x')
        assert spec.shape == (7, *space.shape) and spec.dtype == dtype and spec.name == 'x'


@pytest.mark.parametrize('space', [spaces.Dict(a=BOX3), spaces.Tuple([BOX3]), spaces.MultiBinary(3), spaces.Text(3),
                                   spaces.MultiDiscrete([[2, 2], [3, 3]])])
def test_other_observation_spaces_are_refused(space):
    with pytest.raises(UsageError) as error:
        observations.observation_placeholder(space)
    assert 'FlattenObservation' in str(error.value) and '\n' not in str(error.value)


# ================================================================
# What updates are compiled for
# ================================================================

@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_batch_placeholders(dtype):
    pendulum, cartpole = gym.make('Pendulum-v1'), gym.make('CartPole-v1')
    for env, shape, action_dtype, size in [(pendulum, [None, 1], dtype, 1), (cartpole, [None], 'int32', 2)]:
        A, ADV, noise = batch_placeholders(build_policy(env, 'mlp', num_hidden=4)(dtype=dtype))
        assert A.shape.as_list() == shape and A.dtype == action_dtype
        assert ADV.shape.as_list() == [None] and ADV.dtype == dtype
        assert noise.shape.as_list() == [None, size] and noise.dtype == 'float32'
