"""Model files by themselves: the policy in them, its `predict` and `export`, and files that cannot be loaded."""
import json
import pathlib
import subprocess
import sys
import textwrap

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import onpolicybaselines
from onpolicybaselines import run
from onpolicybaselines.acktr.cont_model import Model
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common import tf_util as U
from onpolicybaselines.common.distributions import DiagGaussianPdType
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays, write_arrays
from onpolicybaselines.common.models import mlp
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.prediction import policy_of
from onpolicybaselines.common.spaces import space_from_json, space_to_json
from onpolicybaselines.common.vec_env import DummyVecEnv, VecNormalize
from onpolicybaselines.common.vec_env.statistics import NoEnv

HERE = pathlib.Path(__file__).parent
BOX = spaces.Box(-np.inf, np.inf, (3,), 'float64')
ACTIONS = spaces.Box(np.float32([-0.1, -2]), np.float32([0.2, 0.1]))


def move(pi):
    """Away from the start, where the layer of the actions is near 0."""
    for v in pi._store.variables.values():
        v.assign_add(np.random.default_rng(2).normal(0, 0.3, v.shape))


def policy(ob_space=BOX, ac_space=ACTIONS, network='mlp', normalizer=False, seed=0, **kwargs):
    env = NoEnv(1, ob_space, ac_space)
    if normalizer:
        env = VecNormalize(env)
        env.ob_rms.update(np.random.default_rng(1).normal(3, 2, (50, *ob_space.shape)))
        env.ret_rms.update(np.arange(5.))
    pi = build_policy(env, network, **kwargs)(np.random.default_rng(seed))
    move(pi)
    if hasattr(pi, 'ob_rms'):
        pi.ob_rms.update(np.random.default_rng(3).normal(1, 2, (50, *ob_space.shape)))
    return pi


def acktr_cont(policy='gaussian', **kwargs):
    rng = np.random.default_rng(0)
    pi = MlpPolicy(3, ACTIONS, policy, rng, **kwargs)
    move(pi)
    model = Model(BOX, ACTIONS, pi, NeuralNetValueFunction(3, pi.dist_dim, rng))
    for x in np.random.default_rng(1).normal(3, 2, (50, 3)):
        model.obfilter(x)
    return model


MODELS = {
    'gaussian': lambda: policy(policy='gaussian', num_hidden=8, activation='elu', value_network='copy',
                               normalize_observations=True),
    'gmm': lambda: policy(policy='gmm', num_layers=1, layer_norm=True),
    'flow': lambda: policy(policy='flow', value_network='copy', flow_layers=1, flow_state_units=8),
    'normalizer': lambda: policy(normalizer=True, num_hidden=8),
    'lstm': lambda: policy(network='lstm', nlstm=4, normalizer=True),
    'discrete': lambda: policy(spaces.Discrete(5, start=2), spaces.Discrete(3)),
    'multidiscrete': lambda: policy(spaces.MultiDiscrete([3, 2]), spaces.MultiDiscrete([3, 2])),
    'multibinary': lambda: policy(ac_space=spaces.MultiBinary(4)),
    'image': lambda: policy(spaces.Box(0, 255, (20, 20, 1), 'uint8'), spaces.Discrete(3), 'conv_only',
                            convs=((4, 8, 4), (4, 4, 2))),
    'acktr_cont': acktr_cont,
    'acktr_cont flow': lambda: acktr_cont('flow', flow_layers=1, critic_sees='logp'),
}


@pytest.fixture(scope='module')
def models():
    made = {}
    return lambda name: made.setdefault(name, MODELS[name]())


def space_of(model):
    return model.ob_space if isinstance(model, Model) else model.observation_space


def observations(model, n=4):
    space = space_of(model)
    if space is BOX or space == BOX:
        return np.random.default_rng(5).normal(2, 3, (n, 3))
    space.seed(0)
    return np.array([space.sample() for _ in range(n)])


def actions(model, deterministic):
    """Of a short episode of two environments, the second of which ends after the first step."""
    ob, state = observations(model, 2), None
    taken = []
    for start in ([1, 1], [0, 1], [0, 0]):
        ac, state = model.predict(ob, state, np.array(start), deterministic)
        taken.append(ac)
    return np.array(taken)


# ================================================================
# Files
# ================================================================

@pytest.mark.parametrize('space', [
    BOX, ACTIONS, spaces.Box(0, 255, (4, 4, 1), 'uint8'), spaces.Box(np.array([-2**62 - 1]), 3, dtype='int64'),
    spaces.Discrete(4, start=-1), spaces.MultiDiscrete([3, 2], start=[1, 0]), spaces.MultiBinary([2, 3]),
    spaces.Box(-np.inf, np.float32([1, np.inf]), (2,))], ids=str)
def test_a_space_goes_through_json(space):
    again = space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False)))
    assert again == space and again.dtype == space.dtype


@pytest.mark.parametrize('name', MODELS)
def test_a_file_alone_gives_the_policy(models, name, tmp_path):
    model = models(name)
    model.save(tmp_path / 'model.npz')
    loaded = onpolicybaselines.load(tmp_path / 'model.npz', seed=3)
    np.testing.assert_array_equal(actions(loaded, True), actions(model, True))
    again = onpolicybaselines.load(str(tmp_path / 'model.npz'), seed=3)
    first = actions(again, False)
    np.testing.assert_array_equal(actions(loaded, False), first)
    assert np.any(actions(loaded, False) != first)
    loaded.save(tmp_path / 'again' / 'model.npz')
    (arrays, meta), (same, same_meta) = (read_arrays(tmp_path / folder / 'model.npz') for folder in ('', 'again'))
    assert meta == same_meta and arrays.keys() == same.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, same[key])


def test_a_function_is_given_again(tmp_path):
    f, g = mlp(num_hidden=8), lambda x: tf.nn.tanh(2 * x)
    pi = policy(network=f)
    pi.save(tmp_path / 'f.npz')
    np.testing.assert_array_equal(actions(onpolicybaselines.load(tmp_path / 'f.npz', network=f), True),
                                  actions(pi, True))
    pi = policy(num_hidden=8, activation=g)
    pi.save(tmp_path / 'g.npz')
    np.testing.assert_array_equal(actions(onpolicybaselines.load(tmp_path / 'g.npz', activation=g), True),
                                  actions(pi, True))
    with pytest.raises(UsageError, match=r"functions for network, which are not.*load\('.*', network=...\)"):
        onpolicybaselines.load(tmp_path / 'f.npz')
    with pytest.raises(UsageError, match="has no function for network, it is 'mlp': leave it out"):
        onpolicybaselines.load(tmp_path / 'g.npz', network=f, activation=g)


@pytest.mark.parametrize('name, actions', [
    ('gaussian', [-0.01122232899069786, 0.12367386370897293, -0.10886853188276291]),
    ('flow', [-0.2641105055809021, -0.006846764124929905, -0.007335161790251732])])
def test_models_of_the_first_version_are_converted(name, actions, tmp_path):
    """Files that 1966e9e wrote (trpo_mpi, Pendulum-v1, two updates, four units; the Gaussian with a filter of the
    observations), and the modes that it gives itself."""
    old, new = HERE / f'{name}_1966e9e.npz', tmp_path / 'model.npz'
    with pytest.raises(UsageError, match='--load_path=.*--num_timesteps=0'):
        onpolicybaselines.load(old)
    run.main(['run', '--alg=trpo_mpi', '--env=Pendulum-v1', f'--policy={name}', '--num_hidden=4',
              f'--load_path={old}', '--num_timesteps=0', f'--log_path={tmp_path / "log"}', f'--save_path={new}',
              *(['--normalize_observations=True'] if name == 'gaussian' else [])])
    obs = np.float32([[1, 0, 0], [-0.6, 0.8, 2], [0, -1, -7]])
    modes, _ = onpolicybaselines.load(new).predict(obs, deterministic=True)
    np.testing.assert_allclose(modes[:, 0], actions, rtol=0, atol=3e-7)


def test_files_that_cannot_be_loaded_are_refused_in_a_line(models, tmp_path):
    path = tmp_path / 'model.npz'
    models('gaussian').save(path)
    arrays, meta = read_arrays(path)
    faults = [({'spec': meta['spec']}, 'earlier version.*--num_timesteps=0'), ({**meta, 'kind': 'other'}, 'earlier'),
              ({**meta, 'action_space': {'type': 'Text'}}, 'damaged'), ({**meta, 'observation_space': 3}, 'damaged'),
              ({**meta, 'spec': {**meta['spec'], 'num_hidden': 9}}, r'mlp_fc0/w is \(3, 8\) in the file'),
              ({**meta, 'spec': {**meta['spec'], 'network': 'mpl'}}, 'did you mean mlp'),
              ({**meta, 'spec': {**meta['spec'], 'num_hiden': 9}}, 'num_hiden'), ({**meta, 'spec': 3}, 'which policy')]
    for fault, message in faults:
        write_arrays(path, arrays, fault)
        with pytest.raises(UsageError, match=message) as error:
            onpolicybaselines.load(path)
        assert '\n' not in str(error.value)
    with pytest.raises(UsageError, match='no model file'):
        onpolicybaselines.load(tmp_path / 'other.npz')


def test_the_package_is_imported_without_tensorflow():
    code = 'import sys, onpolicybaselines; sys.exit("tensorflow" in sys.modules or "numpy" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


# ================================================================
# predict
# ================================================================

@pytest.mark.parametrize('name', MODELS)
def test_one_observation_gives_one_action(models, name):
    model = models(name)
    obs = observations(model)
    together, states = model.predict(obs, deterministic=True)
    assert len(together) == 4
    for ob, ac in zip(obs, together, strict=True):
        one, state = model.predict(ob, deterministic=True)
        assert one.shape == model.ac_space.shape and model.ac_space.contains(one)
        np.testing.assert_allclose(one, ac, rtol=1e-5, atol=1e-6)
        assert (state is None) is (states is None)


@pytest.mark.parametrize('name', ['gaussian', 'flow', 'normalizer', 'lstm', 'acktr_cont'])
def test_actions_are_those_of_step_within_the_bounds(models, name):
    """As the environments of a run clip them, at the observations that those give."""
    model, obs = models(name), observations(models(name), 30)
    seen = obs
    if getattr(model, 'normalizer', None) is not None:
        rms = model.normalizer.ob_rms
        seen = np.clip((obs - rms.mean) / np.sqrt(rms.var + 1e-8), -10, 10)
    expected = np.clip(model.step(seen, stochastic=False)[0], ACTIONS.low, ACTIONS.high)
    ac, _ = model.predict(obs, deterministic=True)
    np.testing.assert_allclose(ac, expected, rtol=1e-4, atol=1e-5)
    beyond = (ac == ACTIONS.high) | (ac == ACTIONS.low)
    assert name != 'gaussian' or beyond.any() and not beyond.all()


def test_states_of_recurrent_policies(models):
    pi = models('lstm')
    obs = observations(pi, 2)
    _, state = pi.predict(obs)
    assert state.shape == (2, 8)
    kept, _ = pi.predict(obs, state, deterministic=True)
    forgotten, _ = pi.predict(obs, state, np.array([True, False]), deterministic=True)
    fresh, _ = pi.predict(obs, deterministic=True)
    np.testing.assert_array_equal(forgotten, [fresh[0], kept[1]])
    assert np.any(fresh[0] != kept[0])
    assert pi.predict(obs[0])[1].shape == (1, 8)


@pytest.mark.parametrize('change', [
    lambda pi: U.SetFromFlat(pi.var_list)(0.9 * U.GetFlat(pi.var_list)()),
    lambda pi: pi.var_list[0].assign(0.9 * pi.var_list[0]),
    lambda pi: pi.var_list[1].assign_add(0.1 + pi.var_list[1]),
    lambda pi: pi.set_arrays({name: 0.9 * array for name, array in pi.arrays().items()}),
    lambda pi: pi.ob_rms.update(np.ones([9, 3])),
    lambda pi: pi.ob_rms.set_state({name: 0.9 * part for name, part in pi.ob_rms.state().items()}),
], ids=['compiled', 'assign', 'assign_add', 'arrays', 'filter', 'state of the filter'])
def test_actions_follow_changes_of_variables(change):
    pi = policy(normalize_observations=True, num_hidden=8)
    ob = np.array([0.1, -0.2, 0.1])
    before, _ = pi.predict(ob, deterministic=True)
    actor = pi.present_actor(False)
    assert pi.present_actor(False) is actor
    change(pi)
    after, _ = pi.predict(ob, deterministic=True)
    assert np.any(after != before)
    expected = np.clip(pi.act(ob, stochastic=False)[0], ACTIONS.low, ACTIONS.high)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)


def test_observations_of_other_shapes_are_refused(models):
    for model in (models('gaussian'), models('acktr_cont')):
        for ob in (np.zeros(4), np.zeros([2, 2, 3]), 0.):
            with pytest.raises(UsageError, match=r'observations of shape \(3,\), or several of them, not'):
                model.predict(ob)
        with pytest.raises(UsageError, match='no tuple'):
            model.predict((np.zeros(3), {}))


def test_a_wrapper_outside_of_vec_normalize_is_named():
    from onpolicybaselines.common.vec_env import VecFrameStack
    env = VecFrameStack(VecNormalize(DummyVecEnv([lambda: gym.make('Pendulum-v1')])), 2)
    pi = build_policy(env, 'mlp')()
    with pytest.raises(UsageError, match='put VecNormalize outermost'):
        pi.predict(np.zeros(3))


# ================================================================
# SavedModel
# ================================================================

READER = '''
    import sys, json
    sys.modules['onpolicybaselines'] = None  # an import would fail
    import numpy as np, tensorflow as tf
    for folder in sys.argv[1:]:
        model = tf.saved_model.load(folder)
        data = dict(np.load(folder + '.npz'))
        seed = data.pop('seed')
        given = {name: tf.constant(value) for name, value in data.items()}
        out = {**model.signatures['serving_default'](**given),
               **{'sampled_' + name: value for name, value in
                  model.signatures['sample'](seed=tf.constant(seed), **given).items()}}
        np.savez(folder + '_out.npz', **{name: value.numpy() for name, value in out.items()})
'''


def test_a_saved_model_acts_alike_without_this_package(models, tmp_path):
    names = ['gaussian', 'gmm', 'flow', 'normalizer', 'lstm', 'discrete', 'multibinary', 'image', 'acktr_cont']
    seed = np.array([1, 2], 'int32')
    given = {}
    for name in names:
        model, folder = models(name), tmp_path / name
        given[name] = obs, state, start = observations(model), None, np.float32([1, 0, 0, 1])
        if name in ('lstm', 'acktr_cont'):
            state = np.random.default_rng(0).normal(size=model.predict(obs)[1].shape).astype('float32')
            given[name] = obs, state, start
        model.export(folder)
        np.savez(f'{folder}.npz', observation=obs, seed=seed,
                 **({} if state is None else {'state': state, 'episode_start': start}))
    script = tmp_path / 'read.py'
    script.write_text(textwrap.dedent(READER))
    reader = subprocess.run([sys.executable, str(script), *(str(tmp_path / name) for name in names)], cwd=tmp_path,
                            capture_output=True, text=True)
    assert reader.returncode == 0, reader.stderr
    for name in names:
        model, (obs, state, start) = models(name), given[name]
        with np.load(tmp_path / f'{name}_out.npz') as out:
            ac, new = model.predict(obs, state, start, deterministic=True)
            np.testing.assert_allclose(out['action'], ac, rtol=1e-4, atol=1e-5, err_msg=name)
            assert out['action'].shape == ac.shape
            if new is not None:
                np.testing.assert_allclose(out['state'], new, rtol=1e-4, atol=1e-5)
            pi = policy_of(model)
            pi.noise = lambda n, pi=pi: pi.pdtype.stateless_noise(tf.constant(seed), n).numpy()
            sampled, _ = model.predict(obs, state, start)
            del pi.noise
            np.testing.assert_allclose(out['sampled_action'], sampled, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('name', ['gaussian', 'gmm', 'flow', 'discrete'])
def test_noise_by_seed_is_distributed_as_noise(models, name):
    pdtype = models(name).pdtype
    if name == 'flow':
        pdtype = type(pdtype)(2, flow_base_logstd=-1.)
    n = 10_000
    by_seed = pdtype.stateless_noise(tf.constant([3, 4]), n).numpy()
    drawn = pdtype.noise(np.random.default_rng(0), n)
    assert by_seed.shape == drawn.shape and by_seed.dtype == drawn.dtype
    error = 4 * drawn.std(axis=0) * np.sqrt(2 / n)
    assert (np.abs(by_seed.mean(axis=0) - drawn.mean(axis=0)) < error).all()
    assert (np.abs(by_seed.std(axis=0) - drawn.std(axis=0)) < error).all()
    assert np.abs(np.corrcoef(by_seed.T) - np.eye(by_seed.shape[1])).max() < 4 / np.sqrt(n)


def test_a_family_with_a_noise_of_its_own_is_exported_without_samples(tmp_path):
    class Wide(DiagGaussianPdType):
        def noise(self, np_random, n):
            return 2 * super().noise(np_random, n)

    pi = policy(num_hidden=8)
    pi.pdtype = Wide(2)
    pi.export(tmp_path)
    assert list(tf.saved_model.load(tmp_path).signatures) == ['serving_default']
