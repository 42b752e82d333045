"""Couplings and their chain against autodiff, and against the paper's eq. 7 and 8 written out in numpy."""
import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.common import flows
from onpolicybaselines.common.distributions import NormalizingFlowPdType
from onpolicybaselines.common.variables import VariableStore

SIZES = [1, 2, 3, 6, 8, 17]
OB = 4
BATCH = 5


class Flow:
    """A flow policy on fixed observations; `move`: standard deviation of what is added to its first parameters."""

    def __init__(self, size, move=0.5, seed=0, dtype='float64', **kwargs):
        np_random = np.random.default_rng(seed)
        self.size = size
        self.pdtype = NormalizingFlowPdType(size, **{'flow_state_units': 8, **kwargs})
        self.ob = tf.constant(np_random.standard_normal((BATCH, OB)), dtype)
        self.noise = tf.constant(np_random.standard_normal((BATCH, size)), dtype)
        self.store = VariableStore(dtype, np_random)
        self.pd()
        for v in self.store.variables.values():
            v.assign_add(move * np_random.standard_normal(v.shape))

    def pd(self):
        with self.store.as_default():
            return self.pdtype.pdfromlatent(self.ob)[0]

    def compiled(self, f):
        """`f(pd, x)` as one graph."""
        return tf.function(lambda x: f(self.pd(), x), autograph=False)

    def values(self):
        return {name: v.numpy() for name, v in self.store.variables.items()}


@pytest.fixture(autouse=True, scope='module')
def _no_graph_optimizer():
    """It takes longer than running these graphs does."""
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    yield
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': False})


# ================================================================
# In numpy
# ================================================================

def _norm(x, gamma, beta, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + epsilon) * gamma + beta


def _network(values, scope, x, epsilon, index=None):
    """One network of the variables under `scope`; of those stacked there, number `index`."""
    def var(name):
        value = values[f'{scope}/{name}']
        return value if index is None else value[index]
    for dense, norm in [('dense', 'LayerNorm'), ('dense_1', 'LayerNorm_1')]:
        x = x @ var(f'{dense}/kernel') + var(f'{dense}/bias')
        x = np.maximum(_norm(x, var(f'{norm}/gamma'), var(f'{norm}/beta'), epsilon), 0)
    return x @ var('dense_2/kernel') + var('dense_2/bias')


def _coupling(values, i, x, epsilon):
    """Eq. 8 and the log of its Jacobian's determinant."""
    size = x.shape[1]
    kept = np.arange(size) < (size + 1) // 2  # the first mask keeps (d + 1) / 2 coordinates
    if i % 2:
        kept = ~kept
    y, logdet = x.copy(), np.zeros(len(x))
    if kept.all():
        return y, logdet
    if not kept.any():
        s, t = values[f'pi/Nlayer_{i}/free']
    else:
        s, t = (_network(values, f'pi/Nlayer_{i}', x[:, kept], epsilon, k) for k in (0, 1))
    y[:, ~kept] = x[:, ~kept] * np.exp(s) + t
    return y, logdet + np.sum(s, axis=-1)


def numpy_forward(values, ob, noise, couplings, epsilon=1e-12):
    """(actions, log-densities) by eq. 7: the state vector L(s) is added after the first coupling."""
    logp = -0.5 * np.sum(noise**2, axis=1) - 0.5 * noise.shape[1] * np.log(2 * np.pi)
    x = noise
    for i in range(couplings):
        x, logdet = _coupling(values, i, x, epsilon)
        logp = logp - logdet
        if i == 0:
            x = x + _network(values, 'pi/statelayer', ob, epsilon)
    return x, logp


@pytest.mark.parametrize('size', SIZES)
def test_samples_and_densities_are_those_of_equation_7(size):
    layers = 4 if size in (3, 6) else 2
    flow = Flow(size, flow_layers=layers)
    x, logp = flow.compiled(lambda pd, noise: (pd.sample(noise), pd.logp(pd.sample(noise))))(flow.noise)
    expected_x, expected_logp = numpy_forward(flow.values(), flow.ob.numpy(), flow.noise.numpy(), 2 * layers)
    np.testing.assert_allclose(x, expected_x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(logp, expected_logp, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('layers, units', [(1, 4), (2, 3), (3, 16)])
def test_equation_7_for_other_depths_and_widths(layers, units):
    flow = Flow(3, flow_layers=layers, flow_units=units)
    assert len(flow.pd().couplings) == 2 * layers
    x = flow.pd().sample(flow.noise)
    expected_x, expected_logp = numpy_forward(flow.values(), flow.ob.numpy(), flow.noise.numpy(), 2 * layers)
    np.testing.assert_allclose(x, expected_x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(flow.pd().logp(tf.constant(expected_x)), expected_logp, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('epsilon', [1e-12, 1e-3, 0.5])
def test_epsilon_of_the_layer_normalisation_is_honoured(epsilon):
    flow = Flow(3, flow_layers=1, flow_eps=epsilon)
    x = flow.pd().sample(flow.noise)
    expected, _ = numpy_forward(flow.values(), flow.ob.numpy(), flow.noise.numpy(), 2, epsilon)
    np.testing.assert_allclose(x, expected, rtol=1e-10, atol=1e-10)
    other, _ = numpy_forward(flow.values(), flow.ob.numpy(), flow.noise.numpy(), 2, 2 * epsilon + 1e-6)
    assert not np.allclose(x, other, rtol=1e-8, atol=1e-8)


# ================================================================
# Maps and their inverses
# ================================================================

@pytest.mark.parametrize('size', SIZES)
def test_inverse_undoes_forward_and_the_other_way_round(size):
    flow = Flow(size, flow_layers=2)

    def f(pd, z):
        bijector = pd.dist.bijector
        there = bijector.forward(z)
        # copies, so that a bijector's memory of the way there does not answer for the way back
        return bijector.inverse(tf.identity(there)), bijector.forward(tf.identity(bijector.inverse(tf.identity(z))))

    for back in flow.compiled(f)(flow.noise):
        np.testing.assert_allclose(back, flow.noise, rtol=1e-10, atol=1e-10)


def test_inverse_in_single_precision():
    """A fresh flow inverts to single precision's rounding; one far from the identity loses a factor of its scales."""
    for move, tolerance in [(0., 1e-5), (0.5, 1e-2)]:
        flow = Flow(6, move=move, dtype='float32')
        pd = flow.pd()
        back = pd.dist.bijector.inverse(tf.identity(pd.sample(flow.noise)))
        assert back.dtype == 'float32'
        np.testing.assert_allclose(back, flow.noise, atol=tolerance)


@pytest.mark.parametrize('size', SIZES)
def test_log_determinant_is_that_of_autodiff(size):
    flow = Flow(size, flow_layers=1)

    def f(pd, z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            x = pd.dist.bijector.forward(z)
        jacobian = tape.batch_jacobian(x, z, experimental_use_pfor=False)
        bijector = flow.pd().dist.bijector
        x = tf.identity(x)
        return (tf.linalg.slogdet(jacobian).log_abs_determinant, bijector.forward_log_det_jacobian(tf.identity(z)),
                bijector.inverse_log_det_jacobian(x))

    expected, forward, inverse = flow.compiled(f)(flow.noise)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(forward, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(inverse, -expected, rtol=1e-9, atol=1e-9)


# ================================================================
# Masks
# ================================================================

def _coupling_alone(size, swap, move=0.5, **kwargs):
    np_random = np.random.default_rng(0)
    store = VariableStore('float64', np_random)
    with store.as_default():
        coupling = flows.AffineCoupling('g', size, swap=swap, units=3, dtype=tf.float64, **kwargs)
    for v in store.variables.values():
        v.assign_add(move * np_random.standard_normal(v.shape))
    return coupling, store


@pytest.mark.parametrize('swap', [False, True])
@pytest.mark.parametrize('size', SIZES)
def test_masks(size, swap):
    """The Jacobian of one coupling: identity rows for the kept coordinates; others scaled, and shifted by the kept."""
    coupling, store = _coupling_alone(size, swap)
    z = tf.constant(np.random.default_rng(1).standard_normal((BATCH, size)))

    @tf.function(autograph=False)
    def f(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            x = coupling.forward(z)
        return x, tape.batch_jacobian(x, z, experimental_use_pfor=False, unconnected_gradients='zero')

    x, jacobian = (out.numpy() for out in f(z))
    first = (size + 1) // 2
    kept = np.arange(size) >= first if swap else np.arange(size) < first
    np.testing.assert_array_equal(x[:, kept], z.numpy()[:, kept])
    np.testing.assert_array_equal(jacobian[:, kept], np.broadcast_to(np.eye(size)[kept], (BATCH, kept.sum(), size)))
    assert np.all(np.abs(x - z)[:, ~kept] > 1e-4)
    moved = jacobian[:, ~kept][:, :, ~kept]
    np.testing.assert_array_equal(moved, moved * np.eye((~kept).sum()))
    assert np.all(moved[:, np.arange(len(moved[0])), np.arange(len(moved[0]))] > 0)
    if 0 < kept.sum() < size:
        assert np.abs(jacobian[:, ~kept][:, :, kept]).max() > 1e-3
    np.testing.assert_allclose(coupling.forward_log_det_jacobian(z), np.linalg.slogdet(jacobian)[1], atol=1e-10)


@pytest.mark.parametrize('size', SIZES)
def test_couplings_alternate_and_together_move_every_coordinate(size):
    flow = Flow(size, flow_layers=2)
    x = flow.noise
    moved = []
    for coupling in flow.pd().couplings:
        y = coupling.forward(x)
        moved.append(np.any(y.numpy() != x.numpy(), axis=0))
        x = y
    first = np.arange(size) < (size + 1) // 2
    for i, m in enumerate(moved):
        np.testing.assert_array_equal(m, ~first if i % 2 == 0 else first)


def test_one_dimensional_flow_is_a_learned_affine_map():
    flow = Flow(1)
    assert [name for name in flow.values() if 'Nlayer' in name] == [f'pi/Nlayer_{i}/free' for i in (1, 3, 5, 7)]
    z = np.linspace(-3, 3, BATCH)[:, None]
    state = tf.constant(np.full((BATCH, 1), 0.7))
    x = flow.pd().at(state).sample(tf.constant(z)).numpy()
    scale, shift = 1., 0.7
    for i in (1, 3, 5, 7):
        s, t = flow.values()[f'pi/Nlayer_{i}/free'].reshape(2)
        scale, shift = scale * np.exp(s), shift * np.exp(s) + t
    assert abs(scale - 1) > 0.1
    np.testing.assert_allclose(x, scale * z + shift, rtol=1e-12)


# ================================================================
# The state
# ================================================================

@pytest.mark.parametrize('size', [1, 3, 6])
def test_state_vector_enters_once_additively_after_the_first_coupling(size):
    flow = Flow(size)
    pd, z = flow.pd(), flow.noise
    state = pd.flatparam()
    expected = _network(flow.values(), 'pi/statelayer', flow.ob.numpy(), 1e-12)
    np.testing.assert_allclose(state, expected, rtol=1e-9, atol=1e-12)
    first, *others = pd.couplings
    y = first.forward(z) + state
    for coupling in others:
        y = coupling.forward(y)
    np.testing.assert_allclose(pd.sample(z), y, rtol=1e-12)
    assert not np.allclose(pd.at(state + 0.5).sample(z), y, atol=1e-3)


def test_observation_acts_through_the_state_vector_alone():
    """Two observations of one state vector have one distribution; others differ."""
    flow = Flow(3, flow_layers=2)
    pd = flow.pd()
    assert np.ptp(pd.flatparam().numpy(), axis=0).min() > 1e-2
    x = np.repeat(flow.noise[:1], BATCH, axis=0)
    assert np.ptp(pd.logp(tf.constant(x))) > 1e-2
    same = pd.at(tf.repeat(pd.flatparam()[:1], BATCH, axis=0))
    np.testing.assert_allclose(same.logp(tf.constant(x)), np.repeat(pd.logp(tf.constant(x))[0], BATCH), rtol=1e-9)


@pytest.mark.parametrize('size', SIZES)
def test_fresh_flow_is_close_to_a_shift_by_the_state_vector(size):
    flow = Flow(size, move=0., flow_state_units=64)
    pd = flow.pd()
    state = pd.flatparam().numpy()
    assert np.abs(state).max() < 0.1  # its last layer is small, too
    sample, noise = pd.sample(flow.noise).numpy(), flow.noise.numpy()
    assert np.abs(sample - noise - state).max() < 0.1 * (1 + np.abs(noise).max())
    assert np.any(sample != noise + state)
    logp = -0.5 * np.sum((sample - state)**2, axis=1) - 0.5 * size * np.log(2 * np.pi)
    np.testing.assert_allclose(pd.logp(tf.constant(sample)), logp, atol=0.1 * size)


@pytest.mark.parametrize('size', SIZES)
def test_zero_last_layers_leave_the_normal_around_the_state_vector(size):
    flow = Flow(size)
    for name, v in flow.store.variables.items():
        if 'Nlayer' in name and name.endswith(('dense_2/kernel', 'dense_2/bias', 'free')):
            v.assign(tf.zeros_like(v))
    pd = flow.pd()
    state = pd.flatparam().numpy()
    np.testing.assert_allclose(pd.sample(flow.noise), flow.noise + state, rtol=1e-12)
    logp = -0.5 * np.sum((flow.noise.numpy() - state)**2, axis=1) - 0.5 * size * np.log(2 * np.pi)
    np.testing.assert_allclose(pd.logp(flow.noise), logp, rtol=1e-12)


def test_state_network_reads_images_flattened():
    store = VariableStore('float64', np.random.default_rng(0))
    ob = np.random.default_rng(1).standard_normal((2, 3, 4))
    with store.as_default():
        image = flows.state_network(tf.constant(ob), 5)
        flat = flows.state_network(tf.constant(ob.reshape(2, 12)), 5)
    assert image.shape == (2, 5)
    np.testing.assert_array_equal(image, flat)
    assert store.variables['statelayer/dense/kernel'].shape == (12, 64)


def test_state_layer_on_the_policy_network():
    """flow_state_net='network': L(s) is one linear layer."""
    flow = Flow(3, flow_layers=1, flow_state_net='network')
    assert not flow.pdtype.own_state_network
    assert [name for name in flow.values() if 'Nlayer' not in name] == ['pi/statelayer/w', 'pi/statelayer/b']
    values = flow.values()
    np.testing.assert_allclose(flow.pd().flatparam(),
                               flow.ob.numpy() @ values['pi/statelayer/w'] + values['pi/statelayer/b'], rtol=1e-12)


# ================================================================
# Variables
# ================================================================

@pytest.mark.parametrize('layers, units, state_units', [(4, 3, 64), (2, 5, 7)])
@pytest.mark.parametrize('size', SIZES)
def test_number_of_parameters(size, layers, units, state_units):
    flow = Flow(size, move=0., flow_layers=layers, flow_units=units, flow_state_units=state_units)

    def network(num_in, num_out, units):
        return (num_in + 3) * units + (units + 3) * units + (units + 1) * num_out  # + 3: bias, gamma, beta

    first = (size + 1) // 2
    pair = 2 * size if size == 1 else 2 * (network(first, size - first, units) + network(size - first, first, units))
    found = sum(v.size for v in flow.values().values())
    assert found == layers * pair + network(OB, size, state_units)


def test_variables_come_in_order_of_use_with_their_first_values():
    flow = Flow(3, move=0., flow_layers=1, flow_units=40, flow_state_units=64)
    layers = [f'{dense}/{name}' for dense in ('dense', 'dense_1', 'dense_2') for name in ('kernel', 'bias')]
    layers[2:2] = ['LayerNorm/beta', 'LayerNorm/gamma']
    layers[6:6] = ['LayerNorm_1/beta', 'LayerNorm_1/gamma']
    scopes = ['statelayer', 'Nlayer_0', 'Nlayer_1']
    values = flow.values()
    assert list(values) == [f'pi/{scope}/{layer}' for scope in scopes for layer in layers]
    for name, value in values.items():
        if name.endswith(('bias', 'beta')):
            np.testing.assert_array_equal(value, np.zeros(value.shape))
        elif name.endswith('gamma'):
            np.testing.assert_array_equal(value, np.ones(value.shape))
    limits = {'pi/statelayer/dense': np.sqrt(6 / (OB + 64)), 'pi/statelayer/dense_1': np.sqrt(6 / 128),
              'pi/Nlayer_0/dense': np.sqrt(6 / (3 + 40)), 'pi/Nlayer_1/dense': np.sqrt(6 / (3 + 40)),
              'pi/Nlayer_0/dense_1': np.sqrt(6 / 80), 'pi/Nlayer_1/dense_1': np.sqrt(6 / 80)}
    limits |= {f'pi/{scope}/dense_2': 3e-3 for scope in scopes}
    for name, limit in limits.items():
        kernel = values[name + '/kernel']
        # of n uniform values the largest is below 0.7 of the limit with probability 0.7^n < 1e-12 for n = 80
        assert (0.7 if kernel.size >= 80 else 0.3) * limit < np.abs(kernel).max() <= limit, name


def test_s_and_t_have_networks_of_their_own():
    flow = Flow(2, move=0., flow_layers=1)
    for name, value in flow.values().items():
        if 'Nlayer' in name and name.endswith('kernel'):
            assert value.shape[0] == 2 and np.all(value[0] != value[1])


# ================================================================
# Work done
# ================================================================

def _products(concrete):
    """Names of the graph's matrix products."""
    return [op.name for op in concrete.graph.get_operations() if 'MatMul' in op.type]


@pytest.mark.parametrize('layers', [1, 4])
def test_networks_are_evaluated_once_a_pass(layers):
    flow = Flow(6, flow_layers=layers)
    spec = tf.TensorSpec([None, 6], tf.float64)
    once = 3 * 2 * layers + 3  # three layers in each coupling's stacked networks and in L(s)
    for f in (lambda pd, z: pd.sample(z), lambda pd, x: pd.logp(x), lambda pd, z: pd.mode()):
        assert len(_products(flow.compiled(f).get_concrete_function(spec))) == once
    both = flow.compiled(lambda pd, z: pd.logp(pd.sample(z))).get_concrete_function(spec)
    assert len(_products(both)) <= 2 * once - 3


def test_compiled_results_are_those_of_eager_execution():
    flow = Flow(3, flow_layers=2)

    def f(pd, z):
        x = pd.sample(z)
        return x, pd.logp(x), pd.logp(z), pd.at(pd.flatparam() + 1).logp(x), pd.sampled_entropy(1, z)

    for compiled, eager in zip(flow.compiled(f)(flow.noise), f(flow.pd(), flow.noise), strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-9, atol=1e-9)


def test_two_flows_score_the_same_actions_independently():
    """Old and new policy on one batch, eager and compiled: the ratio and the sampled KL of TRPO."""
    old, new = Flow(3, flow_layers=1), Flow(3, flow_layers=1, seed=1)
    x = old.noise
    expected = [flow.pd().logp(tf.constant(x.numpy())).numpy() for flow in (old, new)]
    assert np.abs(expected[0] - expected[1]).max() > 1

    def both(x):
        return old.pd().logp(x), new.pd().logp(x), old.pd().sampled_kl(new.pd(), x)

    for f in (both, tf.function(both, autograph=False)):
        logp_old, logp_new, kl = f(x)
        np.testing.assert_allclose(logp_old, expected[0], rtol=1e-10)
        np.testing.assert_allclose(logp_new, expected[1], rtol=1e-10)
        np.testing.assert_allclose(kl, expected[0] - expected[1], rtol=1e-9)


def test_one_policy_at_two_parameter_vectors_in_one_graph():
    """As a line search evaluates it: the surrogate at theta next to the one at the current variables."""
    flow = Flow(3, flow_layers=1)
    var_list = list(flow.store.variables.values())
    theta = tf.concat([tf.reshape(v, [-1]) for v in var_list], axis=0)

    def f(x):
        here = flow.pd().logp(x)
        with flow.store.substitute(var_list, theta + 0.1):
            there = flow.pd().logp(x)
        return here, there

    x = flow.noise
    here = flow.pd().logp(tf.identity(x))
    moved = Flow(3, flow_layers=1)
    for v in moved.store.variables.values():
        v.assign_add(0.1 * tf.ones_like(v))
    there = moved.pd().logp(tf.identity(x))
    assert np.abs(here - there).max() > 0.1
    for g in (f, tf.function(f, autograph=False)):
        found_here, found_there = g(x)
        np.testing.assert_allclose(found_here, here, rtol=1e-9)
        np.testing.assert_allclose(found_there, there, rtol=1e-9)


def test_used_inside_and_outside_a_loop():
    """Nothing remembered inside a loop's body leaks out of it (tensorflow/probability#840)."""
    flow = Flow(2, flow_layers=1)

    @tf.function(autograph=False)
    def f(x):
        pd = flow.pd()
        total = tf.while_loop(lambda i, total: i < 3, lambda i, total: (i + 1, total + pd.logp(x)),
                              (0, tf.zeros([BATCH], tf.float64)))[1]
        return total, pd.logp(x)

    total, once = f(flow.noise)
    np.testing.assert_allclose(total, 3 * once.numpy(), rtol=1e-12)
    np.testing.assert_allclose(once, flow.pd().logp(flow.noise), rtol=1e-9)
