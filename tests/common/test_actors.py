"""Actors against `Policy.act`: the same actions from the same state of the generator, with numba and without."""
import dataclasses
import functools
import itertools
import json
import shutil
import subprocess
import sys
import textwrap

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from onpolicybaselines.common import actors
from onpolicybaselines.common.actors import assembly, families
from onpolicybaselines.common.distributions import POLICIES, DiagGaussianPd, DiagGaussianPdType, PdType, make_pdtype
from onpolicybaselines.common.models import get_network_builder, mlp
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.policy import Policy
from onpolicybaselines.common.vec_env.gym_vec_env import as_vec_env
from onpolicybaselines.trpo_mpi.trpo_mpi import traj_segment_generator

PACKAGE = actors.__file__.removesuffix('common/actors/__init__.py')
BOX = spaces.Box(-np.inf, np.inf, (4,), 'float64')
CONTINUOUS = spaces.Box(-1, 1, (3,), 'float32')


def with_and_without_numba(make):
    """[make(), make() where numba cannot be imported]."""
    made = [make()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'numba', None)
        patch.setattr(assembly, 'compiled', functools.cache(assembly.compiled.__wrapped__))  # which has found it before
        assert assembly.compiled(np.dtype('float32'), np.dtype('float32')) is None
        return [*made, make()]


@pytest.fixture(autouse=True, scope='module')
def _eagerly():
    """Tracing takes longer than the few calls here."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def make(ac_space=CONTINUOUS, ob_space=BOX, network='mlp', normalize=False, dtype='float32', scale=0.3, seed=0,
         policy=None, family=None, **kwargs):
    """A policy whose parameters, and filter, are random."""
    if isinstance(network, str):
        network = get_network_builder(network)(**{'num_hidden': 8, **kwargs})
    pi = Policy(ob_space, network, make_pdtype(ac_space, policy, **(family or {})), normalize,
                np.random.default_rng(seed), dtype)
    shake(pi, scale)
    if hasattr(pi, 'ob_rms'):
        pi.ob_rms.update(observations(ob_space, 20, seed=1) * 3 + 1)
    return pi


def shake(pi, scale, seed=2):
    np_random = np.random.default_rng(seed)
    for v in pi.var_list:
        v.assign(v + scale * np_random.standard_normal(v.shape))


def observations(space, n, seed=3):
    """n of the space, some far out."""
    space.seed(seed)
    obs = np.array([space.sample() for _ in range(n)], space.dtype)
    if np.issubdtype(space.dtype, np.floating):
        obs[0] *= 100
    return obs


def assert_equal_to_act(pi, ob, stochastic=True, rtol=1e-5):
    """With the same noise, the generator left alike; to `rtol` of the largest number in a batch of actions."""
    pi.np_random = np.random.default_rng(4)
    expected = pi.act(ob, stochastic)
    state = pi.np_random.bit_generator.state
    for actor in with_and_without_numba(lambda: pi.actor(stochastic)):
        pi.np_random = np.random.default_rng(4)
        got = actor(ob)
        assert pi.np_random.bit_generator.state == state
        assert got.dtype == expected.dtype and got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def assert_always_equal_to_act(pi, rtol=1e-5):
    """One observation and three, sampled and not."""
    assert not is_fallback(pi)
    for n, stochastic in itertools.product((1, 3), (True, False)):
        assert_equal_to_act(pi, observations(pi.ob_space, n), stochastic, rtol)


def is_fallback(pi):
    return getattr(pi.actor(), 'func', None) == pi.act


# ================================================================
# Equal to act
# ================================================================

FAMILIES = {
    'gaussian': {},
    'gaussian, fixed std': {'family': {'fixed_logstd': True}},
    'gaussian, latent of its size': {'num_hidden': 3},
    'gaussian, narrow fixed std': {'family': {'fixed_logstd': True, 'init_logstd': -1.}},
    'gaussian, std of the state': {'family': {'state_dependent_std': True}},
    'gaussian, std of the state, latent of its size': {'num_hidden': 3, 'family': {'state_dependent_std': True}},
    'gmm': {'policy': 'gmm'},
    'gmm of 1': {'policy': 'gmm', 'family': {'gmm_components': 1}},
    'gmm of 5': {'policy': 'gmm', 'family': {'gmm_components': 5, 'gmm_log_prob': 'released'}},
    'flow': {'policy': 'flow'},
    'flow, narrow': {'policy': 'flow', 'family': {'flow_base_logstd': -1.}},
    'flow on network': {'policy': 'flow', 'family': {'flow_state_net': 'network', 'flow_layers': 1, 'flow_eps': 0.1}},
    'categorical': {'ac_space': spaces.Discrete(5)},
    'categorical, latent of its size': {'ac_space': spaces.Discrete(8)},
    'multicategorical': {'ac_space': spaces.MultiDiscrete([3, 2, 4])},
    'bernoulli': {'ac_space': spaces.MultiBinary(4)},
}
NETWORKS = {
    'tanh': {},
    'no layers': {'num_layers': 0},
    '1 relu': {'num_layers': 1, 'activation': 'relu'},
    '3 elu': {'num_layers': 3, 'activation': tf.nn.elu},
    'layer norm': {'layer_norm': True},
}


# a flow that does not stand on the network needs one of them; far-out observations through others than tanh make
# standard deviations that overflow
FITTING = {'flow': ['tanh'], 'flow, narrow': ['tanh'], 'gaussian, std of the state': ['tanh', 'layer norm'],
           'gaussian, std of the state, latent of its size': ['tanh', 'layer norm']}
CASES = [(f, n) for f in FAMILIES for n in FITTING.get(f, NETWORKS)]


@pytest.mark.parametrize('family, network', CASES)
def test_every_family_on_every_network(family, network):
    for normalize, ob_dtype in itertools.product((True, False), ('float32', 'float64')):
        ob_space = spaces.Box(-np.inf, np.inf, (4,), ob_dtype)
        pi = make(ob_space=ob_space, normalize=normalize, **FAMILIES[family], **NETWORKS[network])
        assert_always_equal_to_act(pi)


@pytest.mark.parametrize('family, network', CASES)
def test_large_parameters_in_double_precision(family, network):
    """In which the rounding errors that a flow with such parameters blows up stay small."""
    pi = make(normalize=True, dtype='float64', scale=2, **FAMILIES[family], **NETWORKS[network])
    assert_always_equal_to_act(pi, rtol=1e-9)


@pytest.mark.parametrize('family', [f for f in FAMILIES if 'flow' not in f and f != 'categorical, latent of its size'])
def test_large_parameters(family):
    """Not where tanh itself gives the logits: of those that it takes to 1, rounding chooses the largest."""
    assert_always_equal_to_act(make(normalize=True, scale=5, **FAMILIES[family]))


@pytest.mark.parametrize('size, layers, units', [(1, 1, 3), (1, 3, 3), (2, 2, 5), (5, 1, 4), (8, 2, 7)])
def test_flows_of_any_size(size, layers, units):
    family = {'flow_layers': layers, 'flow_units': units, 'flow_state_units': 6}
    pi = make(spaces.Box(-1, 1, (size,)), policy='flow', family=family, dtype='float64', scale=1)
    assert_always_equal_to_act(pi, rtol=1e-9)


@pytest.mark.parametrize('activation', sorted(set(actors.ACTIVATIONS) - {'linear'}))
def test_activations(activation):
    pi = make(activation=activation, scale=2, dtype='float64')
    assert_always_equal_to_act(pi, rtol=1e-9)


@pytest.mark.parametrize('space', [
    spaces.Box(-1, 1, (2, 3), 'float64'), spaces.Box(-1, 1, (5,), 'float16'), spaces.Box(0, 255, (2, 2), 'uint8'),
    spaces.Box(-10, 2**30, (3,), 'int64'), spaces.Discrete(5), spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([3, 2]), spaces.MultiDiscrete([2, 4], start=[5, -1]),
], ids=str)
def test_observation_spaces(space):
    for family, dtype in itertools.product(('gaussian', 'categorical'), ('float32', 'float64')):
        pi = make(ob_space=space, normalize=True, scale=0.05, dtype=dtype, **FAMILIES[family])
        assert_always_equal_to_act(pi, rtol=1e-5 if dtype == 'float32' else 1e-9)


def test_observations_in_any_layout():
    pi = make(normalize=True)
    obs = observations(BOX, 3)
    read_only = obs.copy()
    read_only.flags.writeable = False
    for ob in (np.asfortranarray(obs), np.repeat(obs, 2, axis=0)[::2], read_only, obs.astype('float32'), obs[0]):
        assert_equal_to_act(pi, ob)
    with pytest.raises(ValueError, match=r'\(5,\)'):
        pi.actor()(np.zeros(5))


def test_observations_are_left_as_they_are():
    for family in FAMILIES:
        obs = observations(BOX, 3)
        for actor in with_and_without_numba(make(normalize=True, **FAMILIES[family]).actor):
            actor(obs)
            np.testing.assert_array_equal(obs, observations(BOX, 3))


@pytest.mark.parametrize('family', ['categorical', 'multicategorical'])
def test_noise_of_zero_chooses_nothing_and_warns_of_nothing(family):
    """As in `act`: -log(-log(0)) is -inf."""
    pi = make(**FAMILIES[family])
    for zeros in range(pi.pdtype.noise_size - 1):
        noise = np.full([1, pi.pdtype.noise_size], 0.5, 'float32')
        noise[:, :zeros] = 0
        pi.pdtype.noise = lambda *_, noise=noise: noise.copy()
        assert_always_equal_to_act(pi)


# ================================================================
# A snapshot
# ================================================================

@pytest.mark.parametrize('family', ['gaussian', 'gaussian, std of the state', 'gmm', 'flow on network', 'categorical'])
def test_an_actor_keeps_the_parameters_and_the_filter_it_was_made_at(family):
    pi, obs = make(normalize=True, **FAMILIES[family]), observations(BOX, 50)
    for change in (lambda: shake(pi, 1, seed=9), lambda: pi.ob_rms.update(obs + 5)):
        made = with_and_without_numba(lambda: pi.actor(stochastic=False))
        before = [actor(obs) for actor in made]
        change()
        for actor, actions in zip(made, before, strict=True):
            np.testing.assert_array_equal(actor(obs), actions)
            assert np.any(pi.act(obs, stochastic=False) != actions)
        assert_equal_to_act(pi, obs, stochastic=False)


def test_actions_of_one_call_outlive_the_next():
    for family in FAMILIES:
        for actor in with_and_without_numba(make(**FAMILIES[family]).actor):
            first = actor(observations(BOX, 2))
            copy = first.copy()
            actor(observations(BOX, 2, seed=8))
            np.testing.assert_array_equal(first, copy)


# ================================================================
# Where there is no such version
# ================================================================

@dataclasses.dataclass(eq=False)
class NoHead(PdType):
    """A family that knows TensorFlow only."""

    size: int

    def pdclass(self):
        return DiagGaussianPd
    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        return DiagGaussianPdType(self.size).pdfromlatent(latent_vector, init_scale, init_bias)
    def param_shape(self):
        return [2 * self.size]
    def sample_shape(self):
        return [self.size]
    def sample_dtype(self):
        return tf.float32


class OtherHead(NoHead):
    """One with a head of its own, registered below."""


@pytest.mark.parametrize('network, ob_space', [
    (get_network_builder('cnn_small')(), spaces.Box(0, 255, (44, 44, 1), 'uint8')),
    (lambda x: tf.tanh(x), BOX),
    (mlp(num_hidden=8, activation=lambda x: 2 * tf.tanh(x)), BOX),
    (mlp(num_hidden=8, activation='softsign'), BOX),
], ids=['cnn', 'function', 'activation of ones own', 'activation that numpy lacks'])
def test_without_layers_it_is_act(network, ob_space):
    pi = make(ob_space=ob_space, network=network)
    assert is_fallback(pi)
    for stochastic in (True, False):
        assert_equal_to_act(pi, observations(ob_space, 2), stochastic, rtol=0)


def test_without_a_head_it_is_act():
    pi = Policy(BOX, mlp(num_hidden=8), NoHead(3), np_random=np.random.default_rng(0))
    assert is_fallback(pi)
    assert_equal_to_act(pi, observations(BOX, 2), rtol=0)


def test_a_head_of_ones_own():
    families.head.register(OtherHead, lambda pdtype, arrays: families.head(DiagGaussianPdType(pdtype.size), arrays))
    assert_always_equal_to_act(Policy(BOX, mlp(num_hidden=8), OtherHead(3), np_random=np.random.default_rng(0)))


def test_all_continuous_families_have_one():
    assert not any(is_fallback(make(policy=policy)) for policy in POLICIES)


# ================================================================
# In a process of its own
# ================================================================

PLAIN = """
    import numpy as np
    from gymnasium import spaces
    from onpolicybaselines.common import actors
    assert 'tensorflow' not in sys.modules
    np_random = np.random.default_rng(0)
    dense = lambda *shape: actors.Dense(np_random.standard_normal(shape), np_random.standard_normal(shape[1]), 'tanh')
    act, _ = actors.policy(spaces.Box(-1, 1, (4,)), np.dtype('float64'), [dense(4, 8)],
                        actors.diag_gaussian([dense(8, 2)], np.zeros([1, 2])))
    print('numba' if actors.assembly.compiled(np.dtype('float32'), np.dtype('float64')) else 'numpy')
    print(act(np.ones([1, 4]), np.ones([1, 2])).tolist())
"""


def run_plain(before='', path=PACKAGE + '..', **environ):
    code = 'import sys\n' + textwrap.dedent(before) + textwrap.dedent(PLAIN)
    done = subprocess.run([sys.executable, '-W', 'error', '-c', code], env={'PYTHONPATH': str(path), **environ},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-2:]  # after what is said where numba compiles


def test_without_numba_and_with_it():
    numba = run_plain()
    numpy = run_plain("""
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition('.')[0] == 'numba':
                    raise ModuleNotFoundError("No module named 'numba'", name='numba')
        sys.meta_path.insert(0, Absent())
    """)
    pytest.importorskip('numba')
    assert [numba[0], numpy[0]] == ['numba', 'numpy']
    np.testing.assert_allclose(json.loads(numba[1]), json.loads(numpy[1]), rtol=1e-12)


def test_no_folder_for_the_cache_of_numba(tmp_path):
    """Nothing but the start takes longer."""
    pytest.importorskip('numba')
    shutil.copytree(PACKAGE, tmp_path / 'onpolicybaselines', ignore=shutil.ignore_patterns('__pycache__'))
    pycache = tmp_path / 'onpolicybaselines' / 'common' / 'actors' / '__pycache__'
    pycache.touch()  # no folder
    nowhere = {name: '/dev/null' for name in ('HOME', 'XDG_CACHE_HOME')}
    assert run_plain(path=tmp_path, **nowhere) == run_plain()


def test_damaged_cache_of_numba(tmp_path):
    """As a machine that loses its power may leave it."""
    pytest.importorskip('numba')
    expected = run_plain(NUMBA_CACHE_DIR=str(tmp_path))
    cache = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert cache
    for path in cache:
        path.write_bytes(path.read_bytes()[:100])
    assert run_plain(NUMBA_CACHE_DIR=str(tmp_path)) == expected


# ================================================================
# In TRPO
# ================================================================

class Line(gym.Env):
    """A point on a line, to be kept near 0, for 20 steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), 'float64')
    action_space = spaces.Box(-1., 1., (2,), 'float32')

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.normal()
        return np.array([self.x, 0.]), {}

    def step(self, action):
        self.t += 1
        self.x += 0.3 * float(np.sum(action))
        return np.array([self.x, 0.1 * self.t]), -self.x ** 2, False, self.t == 20, {}


@pytest.mark.parametrize('family', ['gaussian', 'gaussian, std of the state', 'gmm', 'flow on network'])
def test_same_seed_same_segments_with_and_without(family):
    """Without: on a function, of which there are no layers, that computes the same."""
    net, segments, states = mlp(num_hidden=4), [], []
    kwargs = {'policy': 'gaussian', **FAMILIES[family]}
    for network in (net, lambda x: net(x)):
        env = as_vec_env(Line(), seed=0)
        pi = build_policy(env, network, 'copy', True, kwargs['policy'], **kwargs.get('family', {}))(
            np.random.default_rng(0))
        assert is_fallback(pi) == (network is not net)
        generator = traj_segment_generator(pi, env, 50, stochastic=True)
        segments.append(next(generator))
        pi.ob_rms.update(segments[-1]['ob'][:, 0])
        shake(pi, 0.1)
        segments.append(next(generator))
        states.append(pi.np_random.bit_generator.state)
    assert states[0] == states[1]
    for got, expected in zip(segments[:2], segments[2:], strict=True):
        np.testing.assert_allclose(got['ac'], expected['ac'], rtol=1e-5, atol=1e-5)
