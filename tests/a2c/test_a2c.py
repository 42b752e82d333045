"""A2C: the optimizer, one update against its definition, whole runs, files, errors, MPI ranks."""
import copy
import csv
import functools
import json

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from helpers import theta_of, vec_env

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import run
from onpolicybaselines.a2c import a2c
from onpolicybaselines.a2c.a2c import Model
from onpolicybaselines.a2c.rmsprop import RMSPropOptimizer
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.vec_env.gym_vec_env import as_vec_env

pytestmark = pytest.mark.usefixtures('quiet_logger')


# ================================================================
# RMSProp
# ================================================================

def test_rmsprop_by_hand():
    """The mean square begins at 1, and epsilon is below the root."""
    v = tf.Variable([1., 2.])
    RMSPropOptimizer([v], decay=0.9, epsilon=0.5).apply_gradients(np.array([3., -4.], 'f'), 0.1)
    np.testing.assert_allclose(v, [1 - 0.3 / np.sqrt(0.9 + 0.9 + 0.5), 2 + 0.4 / np.sqrt(0.9 + 1.6 + 0.5)], rtol=1e-6)


def test_rmsprop_is_that_of_tensorflow_1():
    """Its kernel is still there."""
    rng = np.random.default_rng(0)
    ours = [tf.Variable(rng.standard_normal(shape)) for shape in ((3, 2), (4,))]
    theirs = [(tf.Variable(v), tf.Variable(tf.ones_like(v)), tf.Variable(tf.zeros_like(v))) for v in ours]
    optimizer = RMSPropOptimizer(ours, decay=0.99, epsilon=1e-5)
    for i in range(20):
        grads, lr = [rng.standard_normal(v.shape) for v in ours], 1e-2 / (i + 1)
        optimizer.apply_gradients(np.concatenate([g.ravel() for g in grads]), lr)
        for (var, ms, mom), g in zip(theirs, grads, strict=True):
            rates = {name: tf.constant(value, tf.float64)
                     for name, value in [('lr', lr), ('rho', 0.99), ('momentum', 0.), ('epsilon', 1e-5)]}
            tf.raw_ops.ResourceApplyRMSProp(var=var.handle, ms=ms.handle, mom=mom.handle, grad=g, **rates)
    for v, (var, _, _) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(v, var, rtol=1e-12)


@pytest.mark.parametrize('max_grad_norm, scale', [(None, 1.), (10., 1.), (2.5, 0.5)])
def test_gradients_are_scaled_down_to_the_norm(max_grad_norm, scale):
    """By the norm of all variables together, as tf.clip_by_global_norm."""
    a, b = tf.Variable([0.]), tf.Variable([0.])
    RMSPropOptimizer([a, b], decay=0.99, epsilon=0., max_grad_norm=max_grad_norm).apply_gradients(
        np.array([3., 4.], 'f'), 1.)
    g = scale * np.array([3., 4.])
    np.testing.assert_allclose([a.numpy()[0], b.numpy()[0]], -g / np.sqrt(0.99 + 0.01 * g ** 2), rtol=1e-6)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite(value):
    a, b = tf.Variable([1.], name='a'), tf.Variable([1., 1.], name='b')
    optimizer = RMSPropOptimizer([a, b], max_grad_norm=0.5)
    with pytest.raises(FloatingPointError, match="update 1: the gradient of 'b' is not finite; parameters unchanged"):
        optimizer.apply_gradients(np.array([1., 2., value], 'f'), 1.)
    np.testing.assert_array_equal([*a.numpy(), *b.numpy(), *optimizer.ms.numpy()], np.ones(6))


def test_rmsprop_goes_on_from_its_state():
    rng = np.random.default_rng(0)
    first, other = (RMSPropOptimizer([tf.Variable([1., 2.])], max_grad_norm=0.5) for _ in range(2))
    grads = rng.standard_normal((6, 2)).astype('f')
    for g in grads[:3]:
        first.apply_gradients(g, 0.1)
    other._var_list[0].assign(first._var_list[0])
    other.set_state(first.state())
    for optimizer in (first, other):
        for g in grads[3:]:
            optimizer.apply_gradients(g, 0.1)
    np.testing.assert_array_equal(other._var_list[0], first._var_list[0])
    assert other.updates == first.updates == 6
    with pytest.raises(ValueError, match="the state of RMSProp does not fit: 'ms'"):
        RMSPropOptimizer([tf.Variable([1.])]).set_state(first.state())


# ================================================================
# One update
# ================================================================

def model_and_batch(env_id, network='mlp', policy=None, nenv=2, nsteps=3, value_network=None, **kwargs):
    """A float64 model away from its initial values, and a batch that it did not sample."""
    env = vec_env(env_id, nenv)
    network_kwargs = {'nlstm': 4} if 'lstm' in network else {'num_hidden': 5, 'num_layers': 1}
    if policy == 'flow':
        network_kwargs |= {'flow_layers': 1}
    policy_fn = build_policy(env, network, value_network, policy=policy, **network_kwargs)
    model = Model(functools.partial(policy_fn, dtype='float64'), env, nsteps, np_random=np.random.default_rng(0),
                  total_timesteps=1000, **kwargs)
    rng = np.random.default_rng(1)
    for v in model.params:
        v.assign_add(0.3 * rng.standard_normal(v.shape))
    n = nenv * nsteps
    obs = rng.standard_normal((n, *env.observation_space.shape)).astype('f')
    env.action_space.seed(0)
    actions = np.array([env.action_space.sample() for _ in range(n)])
    states = None if model.initial_state is None else rng.standard_normal(model.initial_state.shape).astype('f')
    masks = rng.random(n) < 0.3
    return model, (obs, states, rng.standard_normal(n), masks, actions, rng.standard_normal(n))


CASES = [('CartPole-v1', 'mlp', None, None), ('CartPole-v1', 'lstm', None, None),
         ('Pendulum-v1', 'mlp', 'gaussian', None), ('Pendulum-v1', 'mlp', 'gmm', 'copy'),
         ('Pendulum-v1', 'mlp', 'flow', 'copy')]


def losses_by_definition(model, batch, noise, nsteps=3):
    """(policy loss, value loss, entropy), from the distributions and values of the model as it is."""
    obs, states, rewards, masks, actions, values = batch
    state = [] if states is None else [tf.constant(states), tf.constant(masks, tf.float32)]
    pd, vf, _ = model.pi.pd_and_vf(tf.constant(obs), *state, nsteps=nsteps)
    entropy = pd.entropy() if pd.has_analytic_entropy else pd.sampled_entropy(10, tf.constant(noise))
    logp = pd.logp(tf.constant(actions, tf.int32 if model.pi.pdtype.sample_dtype() == tf.int32 else tf.float64))
    return -np.mean((rewards - values) * logp), np.mean((vf - rewards) ** 2), np.mean(entropy)


@pytest.mark.parametrize('env_id, network, policy, value_network', CASES)
def test_losses_and_their_gradient(env_id, network, policy, value_network):
    """The gradient by central differences of policy loss - 0.1 entropy + 0.7 value loss, along random directions."""
    model, batch = model_and_batch(env_id, network, policy, value_network=value_network, ent_coef=0.1, vf_coef=0.7)
    obs, states, rewards, masks, actions, values = batch
    noise = a2c.entropy_noise(model.pi.pdtype, np.random.default_rng(2), len(obs))
    losses, grad = model.compute_lossandgrad(obs, actions, rewards - values, rewards, noise,
                                             *([] if states is None else [states, masks]))
    np.testing.assert_allclose(losses, losses_by_definition(model, batch, noise), rtol=1e-6)
    theta, set_theta = theta_of(model), U.SetFromFlat(model.params)

    def loss(th):
        set_theta(th)
        pg_loss, vf_loss, entropy = losses_by_definition(model, batch, noise)
        return pg_loss - 0.1 * entropy + 0.7 * vf_loss

    rng = np.random.default_rng(3)
    for _ in range(4):
        direction = rng.standard_normal(theta.size)
        slope = (loss(theta + 1e-6 * direction) - loss(theta - 1e-6 * direction)) / 2e-6
        assert grad @ direction == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_an_update_is_a_step_of_rmsprop():
    """Learning rates fall with the steps taken: 5 / 1000 at the last of the first six, 11 / 1000 at the twelfth."""
    model, batch = model_and_batch('CartPole-v1', lr=0.01, alpha=0.9, epsilon=0.1, max_grad_norm=0.5)
    obs, _, rewards, _, actions, values = batch
    ms = np.ones(theta_of(model).size)
    for lr in (0.01 * 0.995, 0.01 * 0.989):
        before = theta_of(model)
        losses, grad = model.compute_lossandgrad(obs, actions, rewards - values, rewards, np.zeros((0, 2)))
        norm = np.sqrt(np.sum(grad ** 2))
        assert norm > 0.5
        grad *= 0.5 / norm
        ms = 0.9 * ms + 0.1 * grad ** 2
        np.testing.assert_array_equal(model.train(*batch), losses)
        np.testing.assert_allclose(theta_of(model), before - lr * grad / np.sqrt(ms + 0.1), rtol=1e-6)


def test_nan_in_the_batch_leaves_the_parameters():
    model, batch = model_and_batch('CartPole-v1')
    before = theta_of(model)
    batch[2][0] = np.nan
    with pytest.raises(FloatingPointError, match="update 1: the gradient of 'pi/mlp_fc0/w' is not finite"):
        model.train(*batch)
    np.testing.assert_array_equal(theta_of(model), before)


@pytest.mark.parametrize('env_id, network, policy, value_network', CASES[:3])
def test_a_model_goes_on_from_its_state(env_id, network, policy, value_network):
    """Its actions, too."""
    (first, batch), (other, _) = (model_and_batch(env_id, network, policy, value_network=value_network)
                                  for _ in range(2))
    for _ in range(3):
        first.train(*batch)
    first.step(batch[0][:2], S=first.initial_state)
    other.set_state(copy.deepcopy(first.state()))
    for model in (first, other):
        for _ in range(2):
            model.train(*batch)
    np.testing.assert_array_equal(theta_of(other), theta_of(first))
    actions = [model.step(batch[0][:2], S=model.initial_state)[0] for model in (first, other)]
    np.testing.assert_array_equal(*actions)


# ================================================================
# Whole runs
# ================================================================

def learn(env_id='CartPole-v1', n=4, network='mlp', total_timesteps=200, **kwargs):
    return a2c.learn(network, vec_env(env_id, n), **{'seed': 3, 'total_timesteps': total_timesteps, **kwargs})


RUNS = [{}, {'network': 'lstm', 'nlstm': 8}, {'env_id': 'Pendulum-v1', 'policy': 'gaussian'},
        {'normalize_observations': True, 'bootstrap_truncated': True},
        {'env_id': 'Pendulum-v1', 'policy': 'flow', 'value_network': 'copy', 'flow_layers': 1}]


@pytest.mark.parametrize('kwargs', RUNS)
def test_same_seed_same_parameters(kwargs):
    first, second = (learn(**kwargs, seed=3) for _ in range(2))
    for u, v in zip(first.params, second.params, strict=True):
        np.testing.assert_array_equal(u, v)


def test_another_seed_other_parameters():
    assert np.all(theta_of(learn(seed=3))[:50] != theta_of(learn(seed=4))[:50])


def test_log_and_callback(tmp_path):
    seen = []
    learn(total_timesteps=250, nsteps=5, log_interval=4,
          callback=lambda values, _: seen.append((values['timesteps_so_far'], len(values['rewbuffer']))))
    assert [steps for steps, _ in seen] == [20 * i for i in range(13)]  # 12 whole batches, and the end
    with open(tmp_path / 'log' / 'progress.csv') as fh:
        rows = list(csv.DictReader(fh))
    assert set(rows[0]) == {
        'nupdates', 'total_timesteps', 'fps', 'policy_entropy', 'value_loss', 'explained_variance', 'eprewmean',
        'eplenmean'}
    assert [row['nupdates'] for row in rows] == ['1', '4', '8', '12']
    assert [row['total_timesteps'] for row in rows] == ['20', '80', '160', '240']
    assert rows[-1]['eprewmean'] == rows[-1]['eplenmean'] != 'nan' and seen[-1][1] > 2
    assert float(rows[0]['policy_entropy']) == pytest.approx(np.log(2), rel=1e-3)


def test_any_environment():
    for env in (gym.make('CartPole-v1'), gym.make_vec('CartPole-v1', 2, vectorization_mode='sync', vector_kwargs={
            'autoreset_mode': gym.vector.AutoresetMode.SAME_STEP}), as_vec_env(gym.make('CartPole-v1'))):
        model = a2c.learn('mlp', env, total_timesteps=20, seed=0)
        assert model.act(np.zeros((2, 4))).shape == (2,)


def test_no_steps_give_the_loaded_model(tmp_path):
    learn().save(tmp_path / 'model.npz')
    first = a2c.learn('mlp', vec_env(), seed=5, total_timesteps=0, load_path=str(tmp_path / 'model.npz'))
    np.testing.assert_array_equal(theta_of(first), theta_of(learn()))


@pytest.mark.parametrize('kwargs', [{'normalize_observations': True}, {'network': 'lstm', 'nlstm': 8}])
def test_training_sees_what_acting_saw(kwargs):
    """The filter learns between updates, and states and starts of episodes are handed on: the value loss is that of the
    values that acting predicted."""
    starts = 0

    def callback(values, _):
        nonlocal starts
        if values['timesteps_so_far']:
            assert values['value_loss'] == pytest.approx(np.mean((values['values'] - values['rewards']) ** 2), rel=1e-5)
            starts += values['masks'].sum()

    model = learn(total_timesteps=400, callback=callback, lr=0.05, **kwargs)
    assert starts > 5
    if 'network' not in kwargs:
        assert model.pi.ob_rms.state()['count'] == pytest.approx(400.01)


def test_learns_to_balance():
    """Chance balances for 22 steps on average, with a standard deviation of 12 between episodes."""
    returns = []
    a2c.learn('mlp', vec_env(n=8), seed=0, total_timesteps=24_000, lr=0.01, value_network='copy', max_grad_norm=None,
              callback=lambda values, _: returns.append(np.mean(values['rewbuffer'] or 0.)))
    assert returns[-1] > 100


# ================================================================
# Files and the command line
# ================================================================

@pytest.mark.parametrize('options', [['--network=lstm', '--nlstm=8'], ['--network=mlp', '--num_hidden=8']])
def test_saved_model_plays_and_goes_on(options, tmp_path, capsys):
    """Also with a network that remembers, without being described again."""
    common = ['run', '--alg=a2c', '--env=CartPole-v1', '--seed=0']
    path = f'{tmp_path}/model.npz'
    saved = run.main([*common, '--num_timesteps=50', f'--log_path={tmp_path}/train', f'--save_path={path}', *options])
    returns = []
    for words in (['--deterministic'], ['--deterministic'], []):
        capsys.readouterr()
        loaded = run.main([*common, f'--load_path={path}', '--num_timesteps=0', '--play', '--play_episodes=3',
                           f'--log_path={tmp_path}/play', '--overwrite', *words])
        lines = capsys.readouterr().out.splitlines()
        returns.append([float(line.split('=')[1]) for line in lines if line.startswith('episode_rew=')])
    np.testing.assert_array_equal(theta_of(loaded), theta_of(saved))
    assert len(returns[0]) == 3 and returns[0] == returns[1] != returns[2]
    before = theta_of(saved)
    assert np.any(theta_of(run.main([*common, f'--load_path={path}', '--num_timesteps=50',
                                     f'--log_path={tmp_path}/on'])) != before)


# ================================================================
# Errors
# ================================================================

@pytest.mark.parametrize('kwargs, fault', [
    ({'nsteps': 0}, 'nsteps=0 must be positive'),
    ({'gamma': 1.5}, 'gamma=1.5 must lie between 0 and 1'),
    ({'lr': float('nan')}, 'lr=nan must be positive'),
    ({'max_grad_norm': 0.}, 'max_grad_norm=0.0 must be positive'),
    ({'total_timesteps': 19}, 'total_timesteps=19 is less than one batch of 20 steps'),
    ({'lrschedule': 'cosine'}, "lrschedule='cosine': use 'linear', 'constant'"),
    ({'network': 'lstm', 'value_network': 'copy'}, 'recurrent network'),
    ({'num_layer': 2}, "unknown option 'num_layer'; did you mean num_layers?"),
    ({'policy': 'flow'}, 'leave it out'),
    ({'load_path': '/nowhere'}, "no model file at '/nowhere'"),
])
def test_bad_arguments(kwargs, fault):
    with pytest.raises(UsageError, match='^[^\n]*$') as error:
        learn(**kwargs)
    assert fault in str(error.value)


# ================================================================
# MPI
# ================================================================

def updates(rank=0, size=1):
    """(losses of the last, parameters) of three updates from the rank's share of a batch."""
    model, batch = model_and_batch('CartPole-v1', nenv=8)
    for _ in range(3):
        losses = model.train(*(x if x is None else np.split(x, size)[rank] for x in batch))
    return [float(loss) for loss in losses], theta_of(model).tolist()


RANKS = '''
    import json, sys
    import numpy as np
    sys.path.insert(0, sys.argv[1])
    from test_a2c import learn, theta_of, updates
    from onpolicybaselines import logger
    from onpolicybaselines.common.mpi_world import allgather, rank, size

    logger.configure(sys.argv[2], ['csv'] if rank() == 0 else [])
    steps = []
    runs = [learn(network=network, normalize_observations=True, total_timesteps=400, log_interval=1,
                  callback=lambda values, _: steps.append(values['timesteps_so_far'])) for network in ('mlp', 'lstm')]
    result = {'thetas': [theta_of(model).tobytes().hex() for model in runs], 'steps': steps,
              'actions': runs[0].act(np.zeros((20, 4))).tolist(), 'updates': updates(rank(), size())}
    everyone = allgather(result)
    if rank() == 0:
        print(json.dumps(everyone))
    '''


def test_two_ranks(mpirun, request, tmp_path):
    """They end with the same parameters, to the bit, and make the updates of one rank with both batches."""
    job = mpirun(2, RANKS, request.path.parent, tmp_path)
    assert job.returncode == 0, job.stderr
    first, second = json.loads(job.stdout)
    assert first['thetas'] == second['thetas']
    assert first['actions'] != second['actions']  # each has noise of its own
    assert first['steps'] == second['steps'] == [40 * i for i in range(11)] * 2
    with open(tmp_path / 'progress.csv') as fh:
        assert [int(row['total_timesteps']) for row in csv.DictReader(fh)] == [40 * i for i in range(1, 11)] * 2
    for one, two in zip(updates(), first['updates'], strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-7)
