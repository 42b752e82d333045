"""The mapping between released parameter vectors and ours, without a trace."""
import numpy as np
import pytest
import tensorflow as tf
from harness import spaces_of
from mapping import Mapping, mapping, released_flow, renamed

from onpolicybaselines.common.policies import build_policy

OBSERVATIONS, UNITS, STATE_UNITS = 5, 3, 4


def released_variables(size, layers):
    """(names, shapes padded by -1, masks) of a released flow with `size` actions."""
    def network(scope, num_in, units, num_out):
        kernels = [('dense', num_in, units), ('dense_1', units, units), ('dense_2', units, num_out)]
        for i, (name, rows, columns) in enumerate(kernels):
            yield f'{scope}.{name}.kernel', (rows, columns)
            yield f'{scope}.{name}.bias', (columns, -1)
            for entry in ('beta', 'gamma') if i < 2 else ():
                yield f'{scope}.LayerNorm{["", "_1"][i]}.{entry}', (columns, -1)

    variables = []
    for layer in range(layers):
        for net in 'st':
            variables += network(f'policy.Nlayer_{layer}.{net}', size, UNITS, size)
        if layer == 0:
            variables += network('policy.statelayer', OBSERVATIONS, STATE_UNITS, size)
    names, shapes = zip(*variables, strict=True)
    first = np.arange(size) < (size + 1) // 2
    return np.array(names), np.array(shapes), np.array([first ^ (layer % 2 == 1) for layer in range(layers)], float)


def flow_and_mapping(size, layers):
    ob, ac = np.zeros((1, OBSERVATIONS)), np.zeros((1, size))
    pi = build_policy(spaces_of(ob, ac), 'mlp', value_network='copy', policy='flow', flow_layers=layers // 2,
                      flow_units=UNITS, flow_state_units=STATE_UNITS)(np.random.default_rng(0), 'float64')
    names, shapes, masks = released_variables(size, layers)
    return pi, mapping(pi.var_list, names, shapes, released_flow(masks)), (names, shapes, masks)


def released_logp(theta, variables, ob, y):
    """The released log-density with its constant, from the description of the originals, in plain numpy."""
    names, shapes, masks = variables
    sizes = [np.prod(shape[shape > 0]) for shape in shapes]
    pieces = np.split(theta, np.cumsum(sizes)[:-1])
    v = {name: piece.reshape(shape[shape > 0])
         for name, piece, shape in zip(names.tolist(), pieces, shapes, strict=True)}

    def network(scope, h):
        for i in ('', '_1'):
            h = h @ v[f'{scope}.dense{i}.kernel'] + v[f'{scope}.dense{i}.bias']
            h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-12)
            h = np.maximum(h * v[f'{scope}.LayerNorm{i}.gamma'] + v[f'{scope}.LayerNorm{i}.beta'], 0)
        return h @ v[f'{scope}.dense_2.kernel'] + v[f'{scope}.dense_2.bias']

    x, logdet = y, 0
    for layer in reversed(range(len(masks))):
        if layer == 0:
            x = x - network('policy.statelayer', ob)
        m = masks[layer]
        s, t = (network(f'policy.Nlayer_{layer}.{net}', m * x) for net in 'st')
        x = m * x + (1 - m) * (x - t) * np.exp(-s)
        logdet = logdet + ((1 - m) * s).sum(1)
    return -0.5 * np.square(x).sum(1) - logdet - 0.5 * np.log(2 * np.pi) * x.shape[1]


@pytest.mark.parametrize('size', [2, 3, 6, 7])
def test_flow_has_the_released_density_at_mapped_parameters(size):
    pi, to_ours, variables = flow_and_mapping(size, layers=4)
    rng = np.random.default_rng(size)
    theta = rng.standard_normal(to_ours.size)
    # float32 numbers, as observations enter the port
    ob, y = (rng.standard_normal((9, n)).astype('float32').astype('float64') for n in (OBSERVATIONS, size))
    expected = released_logp(theta, variables, ob, y)
    with pi.at(tf.constant(to_ours.ours(theta))):
        np.testing.assert_allclose(pi.pd(tf.constant(ob, pi.X.dtype)).logp(tf.constant(y)), expected, rtol=1e-9)
    theta[to_ours.dropped] = rng.standard_normal(len(to_ours.dropped))
    np.testing.assert_array_equal(released_logp(theta, variables, ob, y), expected)


@pytest.mark.parametrize('size', [2, 3, 6, 7])
def test_mapping_is_a_bijection_on_the_entries_with_effect(size):
    layers = 4
    _, to_ours, _ = flow_and_mapping(size, layers)
    assert sorted([*to_ours.index, *to_ours.dropped]) == list(range(to_ours.size))
    # s and t each lose a row of the first kernel per moved input, and a column and a bias per kept output
    keeps = [(size + 1) // 2, size // 2] * (layers // 2)
    assert len(to_ours.dropped) == sum(2 * ((size - keep) * UNITS + keep * (UNITS + 1)) for keep in keeps)
    rng = np.random.default_rng(0)
    ours, released = rng.standard_normal((2, len(to_ours.index))), rng.standard_normal((2, to_ours.size))
    np.testing.assert_array_equal(to_ours.ours(to_ours.released(ours)), ours)
    np.testing.assert_array_equal(to_ours.released(ours)[:, to_ours.dropped], 0)
    back = to_ours.released(to_ours.ours(released), released[:, to_ours.dropped])
    np.testing.assert_array_equal(back, released)


def test_mapping_refuses_other_shapes_and_entries_used_twice():
    weight = tf.Variable(np.zeros((2, 3)), name='pi/w')
    with pytest.raises(ValueError, match=r'pi/w has shape \(2, 3\), its counterpart in the trace \(3, 2\)'):
        mapping([weight], np.array(['pi.w']), np.array([[3, 2]]), renamed())
    with pytest.raises(ValueError, match='two of our entries'):
        Mapping(np.array([0, 0]), 2)
