"""Upstream's helpers: flat vectors, losses, diagnostics, shapes."""
import numpy as np
import pytest
import tensorflow as tf
from test_variables import store_of_three

from onpolicybaselines import logger
from onpolicybaselines.common import tf_util

# ================================================================
# Flat vectors
# ================================================================

@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_get_flat_and_set_from_flat(dtype):
    store = store_of_three(dtype)
    var_list = list(store.variables.values())
    get, set_ = tf_util.GetFlat(var_list), tf_util.SetFromFlat(var_list)
    theta = get()
    assert theta.dtype == dtype and theta.shape == (11,)
    np.testing.assert_array_equal(theta, np.concatenate([v.numpy().ravel() for v in var_list]))
    new = np.arange(11.)
    set_(new)
    np.testing.assert_array_equal(get(), new)
    np.testing.assert_array_equal(var_list[0], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(var_list[1], [6, 7])
    set_(theta)
    np.testing.assert_array_equal(get(), theta)
    theta[:] = 0  # a copy
    assert np.all(get() != 0)


def test_set_from_flat_refuses_another_size_and_leaves_the_variables():
    store = store_of_three()
    var_list = list(store.variables.values())
    before = tf_util.GetFlat(var_list)()
    set_ = tf_util.SetFromFlat(var_list)
    for theta in (np.zeros(10), np.zeros(12), np.zeros((11, 1))):
        with pytest.raises((ValueError, TypeError)):
            set_(theta)
    np.testing.assert_array_equal(tf_util.GetFlat(var_list)(), before)


def test_flatgrad():
    store = store_of_three()
    w, b, v = store.variables.values()
    grads = [tf.fill([3, 2], 3.), None, tf.constant([[0.], [3.], [4.]])]
    var_list = [tf.cast(x, tf.float32) for x in (w, b, v)]
    np.testing.assert_array_equal(tf_util.flatgrad(grads, var_list), [3] * 6 + [0, 0] + [0, 3, 4])
    clipped = tf_util.flatgrad(grads, var_list, clip_norm=1.)
    np.testing.assert_allclose(clipped, [1 / np.sqrt(6)] * 6 + [0, 0] + [0, 0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(tf_util.flatgrad(grads, var_list, clip_norm=100.), tf_util.flatgrad(grads, var_list))
    with pytest.raises(ValueError):
        tf_util.flatgrad(grads[:2], var_list)


def test_flatgrad_of_an_untouched_variable():
    w, b = tf.Variable([[1., 2.]]), tf.Variable([3., 4.])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(b))
    np.testing.assert_array_equal(tf_util.flatgrad(tape.gradient(loss, [w, b]), [w, b]), [0, 0, 6, 8])


def test_sizes():
    v = tf.Variable(tf.zeros([2, 3, 4]))
    assert tf_util.var_shape(v) == [2, 3, 4] and tf_util.numel(v) == 24
    assert tf_util.numel(tf.Variable(1.)) == tf_util.intprod([]) == 1
    assert type(tf_util.intprod([2, 3])) is int
    assert tf_util.flattenallbut0(v).shape == (2, 12)
    assert tf_util.flattenallbut0(tf.zeros([5])).shape == (5, 1)
    assert tf_util.flattenallbut0(tf.zeros([0, 3, 2])).shape == (0, 6)


# ================================================================
# Maths
# ================================================================

def test_huber_loss():
    x = np.array([-3., -1.5, -1., -0.5, 0., 0.3, 2.])
    for delta in (1., 0.4):
        expected = np.where(np.abs(x) < delta, x**2 / 2, delta * (np.abs(x) - delta / 2))
        np.testing.assert_allclose(tf_util.huber_loss(tf.constant(x), delta), expected, rtol=1e-14)
    t = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(t)
        loss = tf_util.huber_loss(t)
    np.testing.assert_allclose(tape.gradient(loss, t), np.clip(x, -1, 1), rtol=1e-14)


def test_lrelu():
    x = tf.constant([-2., 0., 3.])
    np.testing.assert_allclose(tf_util.lrelu(x), [-0.4, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(tf_util.lrelu(x, 0.5), [-1, 0, 3], rtol=1e-6)


# ================================================================
# Diagnostics
# ================================================================

def test_display_var_info(tmp_path):
    with logger.scoped_configure(str(tmp_path), ['log']):
        tf_util.display_var_info(list(store_of_three().variables.values()))
    text = (tmp_path / 'log.txt').read_text()
    assert 'pi/w' in text and '6 params [3, 2]' in text and 'vf/w' in text and 'pi/b' not in text
    assert 'Total model parameters: 0.00 million' in text


def test_gpus_are_named_as_tensorflow_names_them():
    assert tf_util.get_available_gpus() == [d.name for d in tf.config.list_physical_devices('GPU')]


# ================================================================
# Saving variables
# ================================================================

def test_variables_are_saved_and_loaded(tmp_path):
    path = str(tmp_path / 'model.npz')
    tf_util.save_variables(path, {'pi/w': np.arange(3.)}, {'spec': 'mlp'})
    arrays, meta = tf_util.load_variables(path)
    np.testing.assert_array_equal(arrays['pi/w'], np.arange(3.))
    assert meta == {'spec': 'mlp'}


# ================================================================
# Shape adjustment
# ================================================================

@pytest.mark.parametrize('shape, data_shape, batch', [
    ((3,), (3,), 1), ((3,), (5, 3), 5), ((3,), (2, 5, 3), 10), ((), (), 1), ((), (4,), 4), ((2, 3), (2, 3), 1),
    ((2, 3), (4, 2, 3), 4), ((3,), (0, 3), 0), ((1,), (1,), 1), ((84, 84, 4), (2, 84, 84, 4), 2),
])
def test_adjust_shape(shape, data_shape, batch):
    data = np.arange(np.prod(data_shape)).reshape(data_shape)
    adjusted = tf_util.adjust_shape(shape, data)
    assert adjusted.shape == (batch, *shape) and adjusted.dtype == data.dtype
    np.testing.assert_array_equal(adjusted.ravel(), data.ravel())


def test_adjust_shape_of_numbers_and_lists():
    np.testing.assert_array_equal(tf_util.adjust_shape((), 3), [3])
    np.testing.assert_array_equal(tf_util.adjust_shape((2,), [1, 2]), [[1, 2]])


@pytest.mark.parametrize('shape, data_shape', [
    ((3,), (4,)), ((3,), ()), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 2)), ((2, 3), (6,)), ((3, 3), (3,))])
def test_adjust_shape_refuses_other_sizes(shape, data_shape):
    with pytest.raises(ValueError) as error:
        tf_util.adjust_shape(shape, np.zeros(data_shape))
    assert str(shape) in str(error.value) and str(data_shape) in str(error.value)
