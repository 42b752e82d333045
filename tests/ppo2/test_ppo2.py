"""PPO2: one update against its definition, whole runs, files, errors, MPI ranks."""
import copy
import csv
import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from helpers import theta_of, vec_env

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger, run
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.sampling import entropy_noise
from onpolicybaselines.common.vec_env.vec_normalize import VecNormalize
from onpolicybaselines.ppo2 import ppo2
from onpolicybaselines.ppo2.microbatched_model import MicrobatchedModel
from onpolicybaselines.ppo2.model import Model

pytestmark = pytest.mark.usefixtures('quiet_logger')


# ================================================================
# One update
# ================================================================

def model_and_batch(env_id, network='mlp', policy=None, nenv=2, nsteps=3, value_network=None, model_fn=Model, **kwargs):
    """A float64 model away from its initial values, and a minibatch from a policy that is near."""
    env = vec_env(env_id, nenv)
    network_kwargs = {'nlstm': 4} if 'lstm' in network else {'num_hidden': 5, 'num_layers': 1}
    if policy == 'flow':
        network_kwargs |= {'flow_layers': 1}
    policy_fn = build_policy(env, network, value_network, policy=policy, **network_kwargs)
    n = nenv * nsteps
    model = model_fn(**{'policy': functools.partial(policy_fn, dtype='float64'), 'ob_space': env.observation_space,
                        'ac_space': env.action_space, 'nbatch_act': nenv, 'nbatch_train': n, 'nsteps': nsteps,
                        'ent_coef': 0.1, 'vf_coef': 0.7, 'max_grad_norm': 0.5, 'mpi_rank_weight': 1, 'comm': None,
                        'np_random': np.random.default_rng(0), **kwargs})
    rng = np.random.default_rng(1)
    for v in model.params:
        v.assign_add(0.3 * rng.standard_normal(v.shape))
    obs = rng.standard_normal((n, *env.observation_space.shape)).astype('f')
    env.action_space.seed(0)
    actions = np.array([env.action_space.sample() for _ in range(n)])
    states = None if model.initial_state is None else rng.standard_normal(model.initial_state.shape).astype('f')
    masks = rng.random(n) < 0.3
    pd, values = distributions(model, obs, states, masks, nsteps)
    neglogpacs = -logp(model, pd, actions) + rng.normal(0, 0.3, n)
    returns = rng.standard_normal(n)
    return model, (obs, returns, masks, actions, values + rng.normal(0, 0.3, n), neglogpacs, states)


def distributions(model, obs, states, masks, nsteps):
    state = [] if states is None else [tf.constant(states), tf.constant(masks, tf.float32)]
    pd, vf, _ = model.pi.pd_and_vf(tf.constant(obs), *state, nsteps=nsteps)
    return pd, vf.numpy()


def logp(model, pd, actions):
    kind = tf.int32 if model.pi.pdtype.sample_dtype() == tf.int32 else tf.float64
    return pd.logp(tf.constant(actions, kind)).numpy()


CASES = [('CartPole-v1', 'mlp', None, None), ('CartPole-v1', 'lstm', None, None),
         ('Pendulum-v1', 'mlp', 'gaussian', None), ('Pendulum-v1', 'mlp', 'gmm', 'copy'),
         ('Pendulum-v1', 'mlp', 'flow', 'copy')]


def losses_by_definition(model, batch, noise, cliprange, ent_coef, nsteps=3):
    """Policy loss, value loss, entropy, half the mean squared log ratio, share of ratios that are clipped: step by step
    from equations 7 and 9 of the paper."""
    obs, returns, masks, actions, values, neglogpacs, states = batch
    pd, vf = distributions(model, obs, states, masks, nsteps)
    advs = returns - values
    advs = (advs - np.mean(advs)) / (np.std(advs) + 1e-8)
    new = logp(model, pd, actions)
    gains, errors, clipped = [], [], []
    for adv, value, old_value, ret, log_ratio in zip(advs, vf, values, returns, new + neglogpacs, strict=True):
        ratio = np.exp(log_ratio)
        near = min(max(ratio, 1 - cliprange), 1 + cliprange)
        gains.append(min(ratio * adv, near * adv))
        clipped.append(abs(ratio - 1) > cliprange)
        value_near = min(max(value, old_value - cliprange), old_value + cliprange)
        errors.append(max((value - ret) ** 2, (value_near - ret) ** 2) / 2)
    if pd.has_analytic_entropy:
        entropy = pd.entropy()
    elif ent_coef:
        entropy = pd.sampled_entropy(10, tf.constant(noise))
    else:
        entropy = -new * np.exp(new + neglogpacs)
    return [-np.mean(gains), np.mean(errors), np.mean(entropy), np.mean((new + neglogpacs) ** 2) / 2, np.mean(clipped)]


@pytest.mark.parametrize('ent_coef', [0.1, 0.])
@pytest.mark.parametrize('env_id, network, policy, value_network', CASES)
def test_losses_and_their_gradient(env_id, network, policy, value_network, ent_coef):
    """The gradient by central differences of policy loss - ent_coef entropy + 0.7 value loss, in random directions."""
    model, batch = model_and_batch(env_id, network, policy, nenv=8, value_network=value_network, ent_coef=ent_coef)
    inputs = model.minibatch(0.2, *batch)
    noise = inputs[7]
    by_definition = functools.partial(losses_by_definition, model, batch, noise, 0.2, ent_coef)
    losses, grad = model.compute_lossandgrad(*inputs)
    np.testing.assert_allclose(losses, by_definition(), rtol=1e-6)
    assert 0 < losses[4] < 1  # some ratios are clipped
    theta, set_theta = theta_of(model), U.SetFromFlat(model.params)

    def loss(th):
        set_theta(th)
        pg_loss, vf_loss, entropy, _, _ = by_definition()
        return pg_loss - ent_coef * entropy + 0.7 * vf_loss

    rng = np.random.default_rng(3)
    for _ in range(3):
        direction = rng.standard_normal(theta.size)
        slope = (loss(theta + 1e-6 * direction) - loss(theta - 1e-6 * direction)) / 2e-6
        assert grad @ direction == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize('max_grad_norm', [1e-3, None])
def test_an_update_is_a_step_of_adam(max_grad_norm):
    """Of the gradient scaled down to the norm; epsilon beside the root, the bias corrected in the step size."""
    model, batch = model_and_batch('CartPole-v1', max_grad_norm=max_grad_norm)
    m = v = 0
    for t, lr in enumerate((0.01, 0.003), start=1):
        before = theta_of(model)
        losses, grad = model.compute_lossandgrad(*model.minibatch(0.2, *batch))
        norm = np.sqrt(np.sum(grad ** 2))
        if max_grad_norm is not None:
            assert norm > max_grad_norm
            grad *= max_grad_norm / norm
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad ** 2
        step = lr * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-5)
        np.testing.assert_allclose(model.train(lr, 0.2, *batch), losses, rtol=1e-12)
        np.testing.assert_allclose(theta_of(model), before - step, rtol=1e-7, atol=1e-12)


def test_nan_in_the_batch_leaves_the_parameters():
    model, batch = model_and_batch('CartPole-v1')
    model.train(0.01, 0.2, *batch)
    before = copy.deepcopy(model.state())
    batch[1][0] = np.nan
    with pytest.raises(FloatingPointError, match='^update 2: the gradient is not finite; parameters unchanged$'):
        model.train(0.01, 0.2, *batch)
    np.testing.assert_equal(model.state(), before)


@pytest.mark.parametrize('network, policy, xla', [
    ('mlp', 'gaussian', False), ('mlp', 'gaussian', True), ('mlp', 'gmm', True), ('lstm', 'gaussian', True)])
def test_all_minibatches_of_a_batch_are_updates_one_after_the_other(network, policy, xla):
    """By XLA, too; with noise for the entropy of a mixture; with a recurrent network of whole environments."""
    def make(xla):
        values = None if network == 'lstm' else 'copy'
        return model_and_batch('Pendulum-v1', network, policy, nenv=4, value_network=values, xla=xla)
    (together, batch), (one_by_one, _) = make(xla), make(False)
    inds = np.array([[3, 0], [1, 2], [2, 0]])
    rows = inds if network == 'mlp' else (3 * inds[..., np.newaxis] + range(3)).reshape(3, 6)
    *arrays, states = batch
    expected = [one_by_one.train(0.01, 0.2, *(x[r] for x in arrays), None if states is None else states[i])
                for i, r in zip(inds, rows, strict=True)]
    np.testing.assert_allclose(together.train_all(0.01, 0.2, inds, *batch), expected, rtol=1e-9)
    np.testing.assert_allclose(theta_of(together), theta_of(one_by_one), rtol=1e-9)
    assert together.trainer.t == 3
    before = copy.deepcopy(together.state())
    arrays[1][rows[2, 0]] = np.nan
    with pytest.raises(FloatingPointError, match='^updates 4 to 6: the gradient is not finite; parameters unchanged$'):
        together.train_all(0.01, 0.2, inds, *arrays, states)
    np.testing.assert_equal(together.state()['pi']['arrays'], before['pi']['arrays'])
    np.testing.assert_equal(together.state()['trainer'], before['trainer'])


@pytest.mark.parametrize('policy, value_network', [('gaussian', None), ('gmm', 'copy')])
def test_microbatches_make_the_update_of_the_minibatch(policy, value_network):
    """With the same noise in a sampled entropy, and a gradient that is scaled down."""
    make = functools.partial(model_and_batch, 'Pendulum-v1', policy=policy, value_network=value_network, nsteps=6,
                             max_grad_norm=1e-3)
    (whole, batch), (parts, _) = make(), make(model_fn=functools.partial(MicrobatchedModel, microbatch_size=4))
    for _ in range(3):
        np.testing.assert_allclose(parts.train(0.01, 0.2, *batch), whole.train(0.01, 0.2, *batch), rtol=1e-10)
    np.testing.assert_allclose(theta_of(parts), theta_of(whole), rtol=1e-9)


@pytest.mark.parametrize('env_id, network, policy, value_network', CASES[:4])
def test_a_model_goes_on_from_its_state(env_id, network, policy, value_network):
    """With the noise of sampled entropies."""
    (first, batch), (other, _) = (model_and_batch(env_id, network, policy, value_network=value_network)
                                  for _ in range(2))
    for _ in range(3):
        first.train(0.01, 0.2, *batch)
    other.set_state(copy.deepcopy(first.state()))
    for _ in range(2):
        np.testing.assert_array_equal(first.train(0.01, 0.2, *batch), other.train(0.01, 0.2, *batch))
    np.testing.assert_equal(other.state(), first.state())


# ================================================================
# Whole runs
# ================================================================

def learn(**kwargs):
    network_kwargs = {'nlstm': 8} if 'lstm' in kwargs.get('network', '') else {'num_hidden': 8}
    return ppo2.learn(**{'network': 'mlp', 'env': vec_env(n=2), 'seed': 0, 'nsteps': 16, 'total_timesteps': 128,
                         'log_interval': 1, **network_kwargs, **kwargs})


class Recorder(Model):
    """Keeps the arguments of its updates."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = []

    def train(self, *args):
        self.calls.append(args)
        return super().train(*args)


def batches_of(values):
    """What a run learned from, by its callback: obs, masks, actions, values of the last batch."""
    return {name: values[name] for name in ('obs', 'returns', 'masks', 'actions', 'values', 'neglogpacs', 'states')}


def test_every_epoch_visits_every_step_once():
    batches = []
    model = learn(model_fn=Recorder, noptepochs=3, nminibatches=4, total_timesteps=64,
                  callback=lambda values, _: batches.append(batches_of(values)) if 'obs' in values else None)
    assert len(model.calls) == 2 * 3 * 4
    orders = []
    for i, batch in enumerate(batches):
        for epoch in range(3):
            calls = model.calls[12 * i + 4 * epoch:][:4]
            assert [len(call[2]) for call in calls] == [8] * 4
            rows = [np.concatenate([call[j] for call in calls]) for j in range(2, 8)]
            values = rows[4]
            order = [int(np.flatnonzero(batch['values'] == value)[0]) for value in values]
            assert sorted(order) == list(range(32))
            for name, row in zip(('obs', 'returns', 'masks', 'actions', 'values', 'neglogpacs'), rows, strict=True):
                np.testing.assert_array_equal(row, batch[name][order])
            orders.append(order)
    assert len({tuple(order) for order in orders}) == 6


def test_recurrent_minibatches_are_whole_environments():
    batches = []
    model = learn(network='lstm', env=vec_env(n=4), model_fn=Recorder, noptepochs=2, nminibatches=2,
                  callback=lambda values, _: batches.append(batches_of(values)) if 'obs' in values else None)
    assert len(model.calls) == 2 * 2 * 2
    for i, batch in enumerate(batches):
        for epoch in range(2):
            seen = []
            for call in model.calls[4 * i + 2 * epoch:][:2]:
                _, _, obs, *_, states = call
                for n in range(2):
                    env, = (e for e in range(4) if np.array_equal(batch['obs'][16 * e:16 * (e + 1)],
                                                                  obs[16 * n:16 * (n + 1)]))
                    np.testing.assert_array_equal(states[n], batch['states'][env])
                    seen.append(env)
            assert sorted(seen) == [0, 1, 2, 3]
    assert np.any(batches[1]['states'])


@pytest.mark.parametrize('options, expected', [
    ({'lr': 0.01, 'cliprange': 0.3}, [(0.01, 0.3)] * 4),
    ({'lr': 0.01, 'lrschedule': 'linear', 'cliprange': 0.4, 'clipschedule': 'linear'},
     [(0.01, 0.4), (0.0075, 0.3), (0.005, 0.2), (0.0025, 0.1)]),
    ({'lr': lambda f: f ** 2, 'cliprange': lambda f: f / 2},
     [(1, 0.5), (0.5625, 0.375), (0.25, 0.25), (0.0625, 0.125)]),
])
def test_numbers_and_functions_of_what_remains(options, expected):
    model = learn(model_fn=Recorder, nminibatches=1, noptepochs=1, **options)
    np.testing.assert_allclose([call[:2] for call in model.calls], expected)


def rows_of(folder):
    with open(folder / 'progress.csv', newline='') as fh:
        return list(csv.DictReader(fh))


LOGGED = ['misc/serial_timesteps', 'misc/nupdates', 'misc/total_timesteps', 'fps', 'misc/explained_variance',
          'eprewmean', 'eplenmean', 'misc/time_elapsed', 'loss/policy_loss', 'loss/value_loss', 'loss/policy_entropy',
          'loss/approxkl', 'loss/clipfrac']


def test_log_files_and_functions_that_are_called(tmp_path):
    calls = []
    learn(log_interval=2, save_interval=2, init_fn=lambda: calls.append('init'), update_fn=calls.append,
          eval_env=vec_env(n=1), callback=lambda values, _: calls.append(f'callback {values["timesteps_so_far"]}'))
    assert calls == ['init', 'callback 0', 1, 'callback 32', 2, 'callback 64', 3, 'callback 96', 4, 'callback 128']
    rows = rows_of(tmp_path / 'log')
    assert set(rows[0]) == {*LOGGED, 'eval_eprewmean', 'eval_eplenmean'}
    assert [[row[name] for name in LOGGED[:3]] for row in rows] == [
        ['16', '1', '32'], ['32', '2', '64'], ['64', '4', '128']]
    saved = sorted((tmp_path / 'log/checkpoints').iterdir())
    assert [path.name for path in saved] == ['00001.npz', '00002.npz', '00004.npz']


def test_losses_are_means_over_the_minibatches_before_each_update(tmp_path):
    losses = []

    class Model(Recorder):
        def train(self, *args):
            losses.append(super().train(*args))
            return losses[-1]
    learn(model_fn=Model, total_timesteps=32, nminibatches=4, noptepochs=2)
    row, = rows_of(tmp_path / 'log')
    np.testing.assert_allclose([float(row[name]) for name in LOGGED[-5:]], np.mean(losses, axis=0), rtol=1e-6)
    assert len(losses) == 8


@pytest.mark.parametrize('kwargs', [
    {'env': 'Pendulum-v1', 'policy': 'gmm'}, {'env': 'Pendulum-v1', 'policy': 'flow', 'value_network': 'copy'},
    pytest.param({'env': 'Pendulum-v1', 'policy': 'flow', 'value_network': 'copy', 'ent_coef': 0.01},
                 marks=pytest.mark.slow),
    {'network': 'lstm', 'nminibatches': 2},
    pytest.param({'network': 'lnlstm', 'nminibatches': 1}, marks=pytest.mark.slow),
    {'normalize_observations': True, 'bootstrap_truncated': True},
    {'model_fn': functools.partial(MicrobatchedModel, microbatch_size=4)}])
def test_runs_are_the_same_with_the_same_seed(kwargs):
    def run(seed):
        env = vec_env(kwargs.get('env', 'CartPole-v1'), 2)
        return theta_of(learn(**{**kwargs, 'env': env, 'seed': seed, 'total_timesteps': 64}))
    first, again, other = run(1), run(1), run(2)
    np.testing.assert_array_equal(first, again)
    assert np.all(np.isfinite(first)) and np.any(first != other)


def test_balances_longer_than_at_random():
    returns = []
    learn(env=vec_env(n=8), total_timesteps=20_480, nsteps=128, lr=3e-3, noptepochs=8, num_hidden=32,
          callback=lambda values, _: returns.append(np.mean(values['rewbuffer'] or 0.)))
    assert returns[-1] > 100


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('network', ['mlp', 'lstm'])
def test_balances_for_475_steps(network):
    """The mean return of the last hundred episodes reaches 475 within 100,000 steps, of each of seeds 0 to 4."""
    options = {'mlp': {'nsteps': 128, 'nminibatches': 4, 'value_network': 'copy'},
               'lstm': {'nsteps': 128, 'nminibatches': 4, 'network': 'lstm', 'nlstm': 64}}[network]
    best = []
    for seed in range(5):
        returns = []
        ppo2.learn(**{'network': network, 'env': vec_env(n=8), 'seed': seed, 'total_timesteps': 100_000, 'lr': 1e-3,
                      'lrschedule': 'linear', 'noptepochs': 10, 'gamma': 0.98, 'lam': 0.9, **options},
                   callback=lambda values, _, returns=returns: returns.append(np.mean(values['rewbuffer'] or 0.)))
        best.append(max(returns))
    print(network, best)
    assert min(best) >= 475, best


# ================================================================
# Files and the command line
# ================================================================

def test_statistics_of_vec_normalize_are_in_the_model_file(tmp_path):
    path = tmp_path / 'model.npz'
    first = VecNormalize(vec_env())
    learn(env=first).save(path)
    arrays, _ = read_arrays(path)
    np.testing.assert_array_equal(arrays['vec_normalize/ob_rms/mean'], first.ob_rms.mean)
    other = VecNormalize(vec_env(), training=False)
    learn(env=other, load_path=path, total_timesteps=0)
    for rms in ('ob_rms', 'ret_rms'):
        np.testing.assert_equal(getattr(other, rms).state(), getattr(first, rms).state())
    with pytest.raises(UsageError, match='does not fit this policy: vec_normalize/ob_rms/mean'):
        learn(load_path=path)


def test_a_model_file_without_statistics_is_taken_with_a_line_in_the_log(tmp_path):
    path = tmp_path / 'model.npz'
    learn().save(path)
    with logger.scoped_configure(str(tmp_path), ['log']):
        env = VecNormalize(vec_env())
        learn(env=env, load_path=path)
    assert 'no statistics of the VecNormalize' in (tmp_path / 'log.txt').read_text()


def played(capsys, *words):
    capsys.readouterr()
    model = run.main(['run', '--alg=ppo2', '--env=InvertedPendulum-v5', '--seed=0', '--num_timesteps=0', '--play',
                      '--play_episodes=2', '--deterministic', '--overwrite', *words])
    lines = capsys.readouterr().out.splitlines()
    return model, [float(line.split('=')[1]) for line in lines if line.startswith('episode_rew=')]


def test_mujoco_is_normalised_and_a_saved_model_plays_and_goes_on(tmp_path, capsys):
    """Playing sees observations as training did: otherwise the pole falls after a few steps."""
    path = f'{tmp_path}/model.npz'
    saved = run.main(['run', '--alg=ppo2', '--env=InvertedPendulum-v5', '--seed=0', '--num_timesteps=20480',
                      '--num_hidden=16', '--lr=3e-3', '--nsteps=1024', f'--log_path={tmp_path}/train',
                      f'--save_path={path}'])
    assert isinstance(saved.pi.normalizer, VecNormalize)
    loaded, returns = played(capsys, f'--load_path={path}', f'--log_path={tmp_path}/play')
    np.testing.assert_equal(loaded.pi.arrays(), {**saved.pi.arrays(), **{
        name: value for name, value in loaded.pi.arrays().items() if name.startswith('vec_normalize/')}})
    assert returns == played(capsys, f'--load_path={path}', f'--log_path={tmp_path}/play')[1]
    assert min(returns) > 100
    config = json.loads((tmp_path / 'train/config.json').read_text())
    assert config['alg_kwargs']['lrschedule'] == 'linear' and config['alg_kwargs']['lr'] == 3e-3


# ================================================================
# Errors
# ================================================================

@pytest.mark.parametrize('kwargs, fault', [
    ({'nsteps': 0}, 'nsteps=0 must be positive'),
    ({'nsteps': 10**9}, 'a batch of 2000000000 steps takes'),
    ({'noptepochs': 10**5}, 'noptepochs=100000 must be positive, and at most 10000'),
    ({'lam': 1.5}, 'lam=1.5 must lie between 0 and 1'),
    ({'lr': float('nan')}, 'lr=nan must be positive'),
    ({'cliprange': 0.}, 'cliprange=0.0 must be positive'),
    ({'total_timesteps': 31}, 'total_timesteps=31 is less than one batch of 32 steps'),
    ({'lrschedule': 'cosine'}, "lrschedule='cosine': use 'linear', 'constant'"),
    ({'nminibatches': 5}, 'nminibatches=5 must divide a batch of 32 steps'),
    ({'network': 'lstm', 'nminibatches': 4}, 'nminibatches=4 must divide the number of environments, 2'),
    ({'network': 'lstm', 'value_network': 'copy'}, 'recurrent network'),
    ({'num_layer': 2}, "unknown option 'num_layer'; did you mean num_layers?"),
    ({'policy': 'flow'}, 'leave it out'),
    ({'load_path': '/nowhere'}, "no model file at '/nowhere'"),
    ({'model_fn': functools.partial(MicrobatchedModel, microbatch_size=3)}, 'microbatch_size=3 must divide'),
    ({'model_fn': functools.partial(MicrobatchedModel, microbatch_size=4), 'network': 'lstm', 'nminibatches': 2},
     'microbatches are for feed-forward networks only'),
])
def test_bad_arguments(kwargs, fault):
    with pytest.raises(UsageError, match='^[^\n]*$') as error:
        learn(**kwargs)
    assert fault in str(error.value)


# ================================================================
# MPI
# ================================================================

def updates(rank=0, size=1, weights=(1, 1)):
    """(losses of the last, parameters) of three updates from the rank's share of a batch, whose advantages have mean 0
    and variance 1 in each share."""
    model, batch = model_and_batch('CartPole-v1', nenv=8, mpi_rank_weight=weights[rank])
    obs, _, masks, actions, values, neglogpacs, _ = batch
    returns = values + np.tile([1., -1.], 12)
    batch = obs, returns, masks, actions, values, neglogpacs
    for _ in range(3):
        losses = model.train(0.01, 0.2, *(np.split(x, size)[rank] for x in batch))
    return [float(loss) for loss in losses], theta_of(model).tolist()


RANKS = '''
    import json, sys
    import numpy as np
    sys.path.insert(0, sys.argv[1])
    from test_ppo2 import learn, theta_of, updates
    from onpolicybaselines import logger
    from onpolicybaselines.common.mpi_world import allgather, rank, size

    logger.configure(sys.argv[2], ['csv'] if rank() == 0 else [])
    steps = []
    runs = [learn(network=network, normalize_observations=True, total_timesteps=256, nminibatches=2,
                  callback=lambda values, _: steps.append(values['timesteps_so_far'])) for network in ('mlp', 'lstm')]
    result = {'thetas': [theta_of(model).tobytes().hex() for model in runs], 'steps': steps,
              'actions': runs[0].act(np.zeros((20, 4))).tolist(), 'updates': updates(rank(), size()),
              'weighted': updates(rank(), size(), (0, 3))}
    everyone = allgather(result)
    if rank() == 0:
        print(json.dumps(everyone))
    '''


def test_two_ranks(mpirun, request, tmp_path):
    """They end with the same parameters, to the bit, and make the updates of one rank with both batches; with weights
    0 and 3 those of the second rank alone."""
    job = mpirun(2, RANKS, request.path.parent, tmp_path)
    assert job.returncode == 0, job.stderr
    first, second = json.loads(job.stdout)
    assert first['thetas'] == second['thetas']
    assert first['actions'] != second['actions']  # each has noise of its own
    assert first['steps'] == second['steps'] == [64 * i for i in range(5)] * 2
    assert [int(row['misc/total_timesteps']) for row in rows_of(tmp_path)] == [64 * i for i in range(1, 5)] * 2
    (losses, theta), (one, theta_one), (two, theta_two) = updates(), first['updates'], second['updates']
    assert theta_one == theta_two
    np.testing.assert_allclose(theta_one, theta, rtol=1e-7)
    np.testing.assert_allclose((np.array(one) + two) / 2, losses, rtol=1e-7)
    assert first['weighted'][1] == second['weighted'][1]
    np.testing.assert_allclose(first['weighted'][1], updates(1, 2)[1], rtol=1e-7)


def test_entropy_noise_is_drawn_only_where_it_counts():
    """A mixture at ent_coef 0 draws none."""
    model, batch = model_and_batch('Pendulum-v1', policy='gmm', value_network='copy', ent_coef=0.)
    assert len(model.minibatch(0.2, *batch)[7]) == 0
    model, batch = model_and_batch('Pendulum-v1', policy='gmm', value_network='copy')
    expected = entropy_noise(model.pi.pdtype, copy.deepcopy(model.pi.np_random), 6, 10)
    np.testing.assert_array_equal(model.minibatch(0.2, *batch)[7], expected)
