"""Networks against numpy loops, and their variables' names, shapes and first values."""
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.a2c import utils
from onpolicybaselines.common import models
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.network_fn import Activation, get_activation
from onpolicybaselines.common.tf_util import normc_initializer
from onpolicybaselines.common.variables import VariableStore

IMAGE = (84, 84, 4)


def build(name, X, *args, dtype='float64', **kwargs):
    """(output of network `name` on the array X, its variables by name)."""
    store = VariableStore(dtype, np.random.default_rng(0))
    with store.as_default():
        out = models.get_network_builder(name)(**kwargs)(tf.constant(X), *args)
    return out, {name: v.numpy() for name, v in store.variables.items()}


def images(n, shape=IMAGE):
    return np.random.default_rng(1).integers(0, 256, (n, *shape), dtype='uint8')


def shapes(values):
    return {name: value.shape for name, value in values.items()}


# ================================================================
# Fully connected
# ================================================================

ACTIVATIONS = {'tanh': np.tanh, 'relu': lambda x: np.maximum(x, 0), 'elu': lambda x: np.where(x > 0, x, np.expm1(x))}


def _layer_norm(x, gamma, beta, epsilon):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon) * gamma + beta


def test_mlp_defaults():
    X = np.random.default_rng(1).standard_normal((5, 3))
    out, values = build('mlp', X)
    assert list(shapes(values).items()) == [('mlp_fc0/w', (3, 64)), ('mlp_fc0/b', (64,)),
                                            ('mlp_fc1/w', (64, 64)), ('mlp_fc1/b', (64,))]
    h = np.tanh(np.tanh(X @ values['mlp_fc0/w']) @ values['mlp_fc1/w'])
    np.testing.assert_allclose(out, h, rtol=1e-12)


@pytest.mark.parametrize('layer_norm', [False, True])
@pytest.mark.parametrize('activation', [*ACTIVATIONS, tf.nn.relu])
def test_mlp_options(activation, layer_norm):
    X = np.random.default_rng(1).standard_normal((5, 2, 3))  # more than one axis of features is flattened
    out, values = build('mlp', X, num_layers=3, num_hidden=7, activation=activation, layer_norm=layer_norm)
    f = ACTIVATIONS['relu' if callable(activation) else activation]
    norm = ['LayerNorm/beta', 'LayerNorm/gamma'] if layer_norm else []
    assert list(values) == [f'mlp_fc{i}/{name}' for i in range(3) for name in ['w', 'b', *norm]]
    h = X.reshape(5, 6)
    for i in range(3):
        h = h @ values[f'mlp_fc{i}/w'] + values[f'mlp_fc{i}/b']
        if layer_norm:
            assert values[f'mlp_fc{i}/LayerNorm/gamma'].shape == (7,)
            h = _layer_norm(h, 1, 0, 1e-12)
        h = f(h)
    np.testing.assert_allclose(out, h, rtol=1e-9, atol=1e-12)


def test_mlp_without_layers_is_the_flattened_input():
    X = np.random.default_rng(1).standard_normal((5, 2, 3))
    out, values = build('mlp', X, num_layers=0)
    assert values == {}
    np.testing.assert_array_equal(out, X.reshape(5, 6))


# ================================================================
# First values
# ================================================================

@pytest.mark.parametrize('shape', [(3, 64), (64, 64), (64, 3), (5, 1), (1, 5), (3, 3, 4, 8), (2, 2, 1, 9)])
def test_ortho_init(shape):
    w = utils.ortho_init(1.7)(shape, np.random.default_rng(0))
    assert w.shape == shape
    w = w.reshape(-1, shape[-1])
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 1.7**2 * np.eye(len(gram)), atol=1e-12)
    np.testing.assert_array_equal(w.reshape(shape), utils.ortho_init(1.7)(shape, np.random.default_rng(0)))
    assert np.any(w.reshape(shape) != utils.ortho_init(1.7)(shape, np.random.default_rng(1)))


def test_layers_start_orthogonal_with_the_gain_of_upstream():
    _, values = build('mlp', np.zeros((1, 30)), num_hidden=20)
    for name in ('mlp_fc0/w', 'mlp_fc1/w'):
        np.testing.assert_allclose(values[name].T @ values[name], 2 * np.eye(20), atol=1e-12)
    for name in ('mlp_fc0/b', 'mlp_fc1/b'):
        np.testing.assert_array_equal(values[name], np.zeros(20))


def test_fc():
    store = VariableStore('float64', np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((4, 3))
    with store.as_default():
        out = utils.fc(tf.constant(x), 'layer', 2, init_scale=0.01, init_bias=0.5)
    w, b = store.variables['layer/w'].numpy(), store.variables['layer/b'].numpy()
    np.testing.assert_array_equal(b, [0.5, 0.5])
    np.testing.assert_allclose(w.T @ w, 1e-4 * np.eye(2), atol=1e-15)
    np.testing.assert_allclose(out, x @ w + b, rtol=1e-12)


@pytest.mark.parametrize('axis', [0, 1])
def test_normc_initializer(axis):
    w = normc_initializer(0.3, axis=axis)((5, 7), np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(w, axis=axis), np.full(w.shape[1 - axis], 0.3), rtol=1e-12)


# ================================================================
# Convolutions
# ================================================================

def _conv_loop(x, w, b, stride, pad):
    """[B, H, W, C] convolved with [h, w, in, out], by its definition; 'SAME' as TensorFlow pads."""
    rf = w.shape[0]
    if pad == 'SAME':
        totals = [max((-(-n // stride) - 1) * stride + rf - n, 0) for n in x.shape[1:3]]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in totals), (0, 0)])
    rows, cols = ((n - rf) // stride + 1 for n in x.shape[1:3])
    out = np.zeros((len(x), rows, cols, w.shape[3]))
    for i in range(rows):
        for j in range(cols):
            patch = x[:, i * stride:i * stride + rf, j * stride:j * stride + rf]
            out[:, i, j] = np.tensordot(patch, w, axes=3) + b
    return out


@pytest.mark.parametrize('one_dim_bias', [False, True])
@pytest.mark.parametrize('stride, pad', [(1, 'VALID'), (2, 'VALID'), (2, 'SAME')])
def test_conv(stride, pad, one_dim_bias):
    store = VariableStore('float64', np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((2, 7, 6, 3))
    kwargs = {'nf': 5, 'rf': 3, 'stride': stride, 'pad': pad, 'init_scale': 2., 'one_dim_bias': one_dim_bias}
    with store.as_default():
        utils.conv(tf.constant(x), 'c', **kwargs)
        w, b = store.variables['c/w'], store.variables['c/b']
        assert list(store.variables) == ['c/w', 'c/b']
        assert b.shape == ((5,) if one_dim_bias else (1, 5, 1, 1))
        b.assign(tf.reshape(tf.range(5, dtype=tf.float64), b.shape))
        out = utils.conv(tf.constant(x), 'c', **kwargs)
    np.testing.assert_allclose(w.numpy().reshape(-1, 5).T @ w.numpy().reshape(-1, 5), 4 * np.eye(5), atol=1e-12)
    np.testing.assert_allclose(out, _conv_loop(x, w.numpy(), np.arange(5), stride, pad), rtol=1e-10, atol=1e-12)


def test_conv_refuses_an_unknown_format():
    with VariableStore().as_default(), pytest.raises(ValueError, match="data_format='NHCW': use 'NHWC' or 'NCHW'"):
        utils.conv(tf.zeros([1, 4, 4, 1]), 'c', nf=1, rf=2, stride=1, data_format='NHCW')


def test_conv_to_fc():
    x = np.arange(24.).reshape(2, 2, 3, 2)
    np.testing.assert_array_equal(utils.conv_to_fc(tf.constant(x)), x.reshape(2, 12))


def _relu(x):
    return np.maximum(x, 0)


def _tf_conv(values, name, x, stride, padding):
    h = tf.nn.conv2d(tf.constant(x), values[name + '/w'], stride, padding).numpy()
    return h + values[name + '/b'].reshape(-1)


@pytest.mark.parametrize('name, layers, fc, expected', [
    ('cnn', [('c1', 4), ('c2', 2), ('c3', 1)], 'fc1',
     {'c1/w': (8, 8, 4, 32), 'c1/b': (1, 32, 1, 1), 'c2/w': (4, 4, 32, 64), 'c2/b': (1, 64, 1, 1),
      'c3/w': (3, 3, 64, 64), 'c3/b': (1, 64, 1, 1), 'fc1/w': (3136, 512), 'fc1/b': (512,)}),
    ('cnn_small', [('c1', 4), ('c2', 2)], 'fc1',
     {'c1/w': (8, 8, 4, 8), 'c1/b': (1, 8, 1, 1), 'c2/w': (4, 4, 8, 16), 'c2/b': (1, 16, 1, 1),
      'fc1/w': (1296, 128), 'fc1/b': (128,)}),
    ('conv_only', [('convnet/Conv_0', 4), ('convnet/Conv_1', 2), ('convnet/Conv_2', 1)], None,
     {'convnet/Conv_0/w': (8, 8, 4, 32), 'convnet/Conv_0/b': (1, 32, 1, 1), 'convnet/Conv_1/w': (4, 4, 32, 64),
      'convnet/Conv_1/b': (1, 64, 1, 1), 'convnet/Conv_2/w': (3, 3, 64, 64), 'convnet/Conv_2/b': (1, 64, 1, 1)}),
])
def test_convolutional_networks(name, layers, fc, expected):
    X = images(2)
    out, values = build(name, X)
    assert list(shapes(values).items()) == list(expected.items())
    h = X / 255.
    for layer, stride in layers:
        h = _relu(_tf_conv(values, layer, h, stride, 'VALID' if fc else 'SAME'))
    if fc:
        h = _relu(h.reshape(2, -1) @ values[fc + '/w'] + values[fc + '/b'])
    assert out.shape == h.shape == ({'cnn': (2, 512), 'cnn_small': (2, 128), 'conv_only': (2, 11, 11, 64)}[name])
    assert out.dtype == 'float64'
    np.testing.assert_allclose(out, h, rtol=1e-9, atol=1e-12)


def test_conv_only_options():
    out, values = build('conv_only', images(1), convs=[(3, 5, 2)], pad='VALID')
    assert out.shape == (1, 40, 40, 3)
    assert shapes(values) == {'convnet/Conv_0/w': (5, 5, 4, 3), 'convnet/Conv_0/b': (1, 3, 1, 1)}


def test_impala_cnn():
    X = images(2)
    out, values = build('impala_cnn', X)
    names = []
    for i in range(3):
        names += [f'layer_{i}', *(f'layer_{i}_res{j}_{k}' for j in (0, 1) for k in 'ab')]
    assert list(values) == [f'{name}/{v}' for name in [*names, 'fc'] for v in 'wb']
    assert values['layer_0/w'].shape == (3, 3, 4, 16) and values['layer_2_res1_b/w'].shape == (3, 3, 32, 32)
    assert values['fc/w'].shape == (11 * 11 * 32, 256)
    h = X / 255.
    for i in range(3):
        h = _tf_conv(values, f'layer_{i}', h, 1, 'SAME')
        h = tf.nn.max_pool2d(tf.constant(h), 3, 2, 'SAME').numpy()
        for j in (0, 1):
            inner = _relu(_tf_conv(values, f'layer_{i}_res{j}_a', _relu(h), 1, 'SAME'))
            h = h + _tf_conv(values, f'layer_{i}_res{j}_b', inner, 1, 'SAME')
    h = _relu(_relu(h).reshape(2, -1) @ values['fc/w'] + values['fc/b'])
    np.testing.assert_allclose(out, h, rtol=1e-8, atol=1e-10)


# ================================================================
# Recurrent
# ================================================================

def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _lstm_loop(values, features, S, M, layer_norm):
    """One environment after the other, one step after the other; features [nenv, nsteps, n], M [nenv, nsteps]."""
    nenv, nsteps = M.shape
    nh = S.shape[1] // 2
    out, new_state = np.zeros((nenv, nsteps, nh)), np.zeros_like(S)
    for e in range(nenv):
        c, h = S[e, :nh], S[e, nh:]
        for t in range(nsteps):
            if M[e, t]:
                c, h = np.zeros(nh), np.zeros(nh)
            from_x, from_h = features[e, t] @ values['wx'], h @ values['wh']
            if layer_norm:
                from_x = _layer_norm(from_x, values['gx'], values['bx'], 1e-5)
                from_h = _layer_norm(from_h, values['gh'], values['bh'], 1e-5)
            i, f, o, u = np.split(from_x + from_h + values['b'], 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(u)
            h = _sigmoid(o) * np.tanh(_layer_norm(c, values['gc'], values['bc'], 1e-5) if layer_norm else c)
            out[e, t] = h
        new_state[e] = np.concatenate([c, h])
    return out.reshape(nenv * nsteps, nh), new_state


LSTM_SHAPES = {'wx': (6, 20), 'wh': (5, 20), 'b': (20,)}
LNLSTM_SHAPES = {'wx': (6, 20), 'gx': (20,), 'bx': (20,), 'wh': (5, 20), 'gh': (20,), 'bh': (20,), 'b': (20,),
                 'gc': (5,), 'bc': (5,)}


@pytest.mark.parametrize('name, kwargs, layer_norm', [
    ('lstm', {}, False), ('lstm', {'layer_norm': True}, True), ('lnlstm', {}, True)])
def test_lstm(name, kwargs, layer_norm):
    nenv, nsteps, nlstm = 3, 4, 5
    np_random = np.random.default_rng(1)
    X = np_random.standard_normal((nenv * nsteps, 2, 3))
    S = np_random.standard_normal((nenv, 2 * nlstm))
    M = np.zeros((nenv, nsteps))
    M[0, 0] = M[1, 2] = M[2, 1] = M[2, 3] = 1
    network_fn = models.get_network_builder(name)(nlstm=nlstm, **kwargs)
    assert network_fn.recurrent
    np.testing.assert_array_equal(network_fn.initial_state(nenv), np.zeros((nenv, 2 * nlstm)))

    store = VariableStore('float64', np.random.default_rng(0))
    with store.as_default():
        network_fn(tf.constant(X), S, M.ravel(), nsteps)
        for v in store.variables.values():
            v.assign_add(0.3 * np_random.standard_normal(v.shape))
        out, new_state = network_fn(tf.constant(X), S, M.ravel(), nsteps)
        scope = 'lnlstm' if layer_norm else 'lstm'
        expected_shapes = LNLSTM_SHAPES if layer_norm else LSTM_SHAPES
        assert [(n, tuple(v.shape)) for n, v in store.variables.items()] == [
            (f'{scope}/{n}', shape) for n, shape in expected_shapes.items()]
        values = {n.removeprefix(scope + '/'): v.numpy() for n, v in store.variables.items()}
        expected, expected_state = _lstm_loop(values, X.reshape(nenv, nsteps, 6), S, M, layer_norm)
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(new_state, expected_state, rtol=1e-9, atol=1e-12)

        # the state carries over: two halves in time are the whole
        halves, state = [], S
        for steps in (slice(0, 2), slice(2, 4)):
            x = X.reshape(nenv, nsteps, 2, 3)[:, steps].reshape(-1, 2, 3)
            half, state = network_fn(tf.constant(x), state, M[:, steps].ravel(), 2)
            halves.append(half.numpy().reshape(nenv, 2, nlstm))
        np.testing.assert_allclose(np.concatenate(halves, axis=1).reshape(-1, nlstm), out, rtol=1e-12)
        np.testing.assert_allclose(state, new_state, rtol=1e-12)


def test_mask_hides_everything_before_it():
    nlstm = 4
    np_random = np.random.default_rng(1)
    X, M = np_random.standard_normal((6, 3)), np.array([0, 0, 1, 0, 0, 0.])
    network_fn = models.get_network_builder('lstm')(nlstm=nlstm)
    outs = []
    with VariableStore('float64', np.random.default_rng(0)).as_default():
        for _ in range(2):
            X[:2] = np_random.standard_normal((2, 3))
            outs.append(network_fn(tf.constant(X), np_random.standard_normal((1, 2 * nlstm)), M, 6)[0].numpy())
    assert np.all(outs[0][:2] != outs[1][:2])
    np.testing.assert_array_equal(outs[0][2:], outs[1][2:])


@pytest.mark.parametrize('name, kwargs, scope, nlstm, features', [
    ('cnn_lstm', {'nlstm': 8}, 'lstm', 8, 512),
    ('cnn_lstm', {'nlstm': 8, 'layer_norm': True, 'conv_fn': models.build_impala_cnn}, 'lnlstm', 8, 256),
    ('cnn_lnlstm', {'nlstm': 8}, 'lnlstm', 8, 512),
    ('impala_cnn_lstm', {}, 'lstm', 256, 256),
])
def test_recurrent_networks_of_images(name, kwargs, scope, nlstm, features):
    nenv, nsteps = 2, 2
    X = images(nenv * nsteps, (40, 40, 4))  # orthogonal first values of 84 x 84 take long
    network_fn = models.get_network_builder(name)(**kwargs)
    S, M = network_fn.initial_state(nenv), np.array([1, 0, 1, 0.])
    assert S.shape == (nenv, 2 * nlstm)
    out, values = build(lambda: network_fn, X, S, M, nsteps)
    assert out[0].shape == (nenv * nsteps, nlstm) and out[1].shape == S.shape
    convolutions = models.build_impala_cnn if features == 256 else models.nature_cnn
    h, feature_values = build(lambda: convolutions, X)
    assert list(values) == [*feature_values, *(f'{scope}/{n}' for n in
                                               (LNLSTM_SHAPES if scope == 'lnlstm' else LSTM_SHAPES))]
    cell = {n.removeprefix(scope + '/'): v for n, v in values.items() if n.startswith(scope + '/')}
    h = h.numpy().reshape(nenv, nsteps, features)
    expected, _ = _lstm_loop(cell, h, S, M.reshape(nenv, nsteps), layer_norm=scope == 'lnlstm')
    np.testing.assert_allclose(out[0], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('flat', [False, True])
def test_batch_to_seq_and_back(flat):
    nbatch, nsteps = 3, 4
    h = np.arange(float(nbatch * nsteps if flat else nbatch * nsteps * 2)).reshape((-1,) if flat else (-1, 2))
    seq = utils.batch_to_seq(tf.constant(h), nbatch, nsteps, flat=flat)
    assert len(seq) == nsteps
    for t, x in enumerate(seq):
        np.testing.assert_array_equal(x, h[t::nsteps])
    np.testing.assert_array_equal(utils.seq_to_batch(seq, flat=flat), h)


def test_batch_to_seq_flattens_features_and_gives_masks_an_axis():
    x = np.arange(24.).reshape(4, 2, 3)
    seq = utils.batch_to_seq(tf.constant(x), 2, 2)
    np.testing.assert_array_equal(seq[1], x[1::2].reshape(2, 6))
    assert utils.batch_to_seq(tf.zeros([4]), 2, 2)[0].shape == (2, 1)


# ================================================================
# By name
# ================================================================

def test_registered_names_are_those_of_upstream():
    assert list(models.mapping) == ['mlp', 'cnn', 'impala_cnn', 'cnn_small', 'lstm', 'lnlstm', 'cnn_lstm',
                                    'impala_cnn_lstm', 'cnn_lnlstm', 'conv_only']


def test_only_recurrent_networks_say_so():
    recurrent = {name for name in models.mapping if getattr(models.mapping[name](), 'recurrent', False)}
    assert recurrent == {name for name in models.mapping if 'lstm' in name}


def test_register():
    @models.register('test_models_only')
    def builder(gain=2.):
        return lambda X: gain * X
    try:
        assert models.get_network_builder('test_models_only') is builder
        out, _ = build('test_models_only', np.ones(3), gain=3.)
        np.testing.assert_array_equal(out, [3, 3, 3])
    finally:
        del models.mapping['test_models_only']


@pytest.mark.parametrize('name, message', [
    ('mpl', 'did you mean mlp?'), ('impala', 'did you mean impala_cnn?'), ('', 'choose from'),
    ('transformer', 'choose from cnn, cnn_lnlstm, cnn_lstm, cnn_small, conv_only'),
])
def test_unknown_network(name, message):
    with pytest.raises(UsageError) as error:
        models.get_network_builder(name)
    assert message in str(error.value) and repr(name) in str(error.value) and '\n' not in str(error.value)


def test_get_activation():
    assert get_activation('relu') is tf.nn.relu
    assert get_activation(np.tanh) is np.tanh


def test_activations_are_those_functions_of_tf_nn_that_take_a_layer_alone():
    def of_a_layer(name):
        x = tf.constant([[.1, -.2, .3], [.2, .1, 2.]])
        try:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = getattr(tf.nn, name)(x)
            return y.dtype == x.dtype and y.shape.rank == 2 and len(y) == 2 and tape.gradient(y, x) is not None
        except Exception:
            return False
    assert set(get_args(Activation)) == set(filter(of_a_layer, dir(tf.nn)))


@pytest.mark.parametrize('name', ['rellu', '', 'relu()', 'tanh.__class__', '__doc__', 'a b'])
def test_unknown_activation(name):
    with pytest.raises(UsageError) as error:
        models.get_network_builder('mlp')(activation=name)
    assert repr(name) in str(error.value) and '\n' not in str(error.value)
