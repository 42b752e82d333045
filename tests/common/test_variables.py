"""Variables by scope, and losses as functions of flat vectors."""
import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.common import tf_util
from onpolicybaselines.common.variables import (
    VariableStore,
    constant_initializer,
    get_variable,
    name_of,
    split_like,
    to_float,
    uniform_initializer,
    variable_scope,
)


def store_of_three(dtype='float64'):
    """A store with pi/w [3, 2], pi/b [2] and vf/w [3, 1], random."""
    store = VariableStore(dtype, np.random.default_rng(0))
    with store.as_default():
        network(tf.zeros([1, 3], store.dtype))
    return store


def network(x):
    normal = lambda shape, np_random: np_random.standard_normal(shape)
    with variable_scope('pi'):
        h = tf.tanh(x @ get_variable('w', [3, 2], normal) + get_variable('b', [2], normal))
    with variable_scope('vf'):
        return h, x @ get_variable('w', [3, 1], normal)


def test_variables_are_named_by_scope_in_creation_order():
    store = VariableStore()
    ones = constant_initializer(1.)
    with store.as_default():
        get_variable('z', [], ones)
        with variable_scope('b'):
            get_variable('w', [2], ones)
            with variable_scope('inner'):
                get_variable('a/b', [1, 3], ones)
            get_variable('a', [], ones)
        with variable_scope('a'):
            get_variable('w', [], ones)
        get_variable('y', [], ones)
    assert list(store.variables) == ['z', 'b/w', 'b/inner/a/b', 'b/a', 'a/w', 'y']
    for name, v in store.variables.items():
        assert isinstance(v, tf.Variable) and v.trainable and v.name == name + ':0' and v.dtype == 'float32'
    assert [v.name for v in store.in_scope('b')] == ['b/w:0', 'b/inner/a/b:0', 'b/a:0']
    assert store.in_scope('') == store.in_scope('c') == []


def test_scope_of_a_common_beginning_is_another_scope():
    store = VariableStore()
    with store.as_default():
        for name in ('pi/w', 'pi2/w', 'pi'):
            get_variable(name, [], constant_initializer())
    assert [v.name for v in store.in_scope('pi')] == ['pi/w:0']


def test_same_name_is_the_same_variable():
    store = store_of_three()
    before = dict(store.variables)
    with store.as_default():
        network(tf.zeros([1, 3], tf.float64))
        with variable_scope('pi'):
            assert get_variable('w', [3, 2], None) is before['pi/w']
    assert list(store.variables.items()) == list(before.items())


def test_initialisers_draw_from_the_stores_generator_in_creation_order():
    store = store_of_three()
    np_random = np.random.default_rng(0)
    for v in store.variables.values():
        np.testing.assert_array_equal(v, np_random.standard_normal(v.shape))
    for again in (store_of_three(), store_of_three('float32')):
        for a, b in zip(store.variables.values(), again.variables.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert again.variables['pi/w'].dtype == 'float32'


def test_shape_clash_is_refused():
    store = store_of_three()
    with store.as_default(), pytest.raises(ValueError, match=r"'pi/w' has shape \(3, 2\), not \(2, 3\)"):
        get_variable('pi/w', [2, 3], None)


def test_frozen_store_makes_no_variables():
    store = store_of_three()
    store.frozen = True
    with store.as_default():
        network(tf.zeros([1, 3], tf.float64))
        with pytest.raises(RuntimeError, match="'pi/new'"):
            get_variable('pi/new', [], constant_initializer())
    assert list(store.variables) == ['pi/w', 'pi/b', 'vf/w']


def test_stores_nest_and_scopes_end_with_an_error():
    outer, inner = VariableStore(), VariableStore('float64')
    zero = constant_initializer()
    with outer.as_default():
        with variable_scope('a'):
            with inner.as_default():
                get_variable('x', [], zero)
                assert to_float(tf.constant(1)).dtype == 'float64'
            with pytest.raises(ZeroDivisionError), variable_scope('b'):
                raise ZeroDivisionError
            get_variable('y', [], zero)
        assert to_float(tf.constant(1)).dtype == 'float32'
    assert list(inner.variables) == ['x'] and list(outer.variables) == ['a/y']


def test_created_inside_a_compiled_function_once():
    store = VariableStore()

    @tf.function(autograph=False)
    def f(x):
        with store.as_default():
            return x * get_variable('w', [], constant_initializer(3.))

    assert f(tf.constant(2.)) == 6
    store.variables['w'].assign(5.)
    assert f(tf.constant(2.)) == 10
    assert f(tf.constant([2.])) == 10  # another trace
    assert len(store.variables) == 1


def loss_of(store, x):
    with store.as_default():
        h, v = network(x)
    return tf.reduce_sum(tf.square(h)) + tf.reduce_sum(tf.sin(v))


def test_substitute_gives_the_loss_and_gradient_of_the_variables():
    store = store_of_three()
    x = tf.constant(np.random.default_rng(1).standard_normal((4, 3)))
    var_list = list(store.variables.values())
    theta = tf.constant(tf_util.GetFlat(var_list)())
    with tf.GradientTape() as tape:
        loss = loss_of(store, x)
    gradient = tf_util.flatgrad(tape.gradient(loss, var_list), var_list)
    assert np.abs(gradient).min() > 0

    @tf.function(autograph=False)
    def value_and_gradient(theta):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            with store.substitute(var_list, theta):
                loss = loss_of(store, x)
        return loss, tape.gradient(loss, theta)

    found = value_and_gradient(theta)
    np.testing.assert_allclose(found[0], loss, rtol=1e-14)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-13)

    # elsewhere it is the loss after the variables are set, and the variables are untouched
    elsewhere = value_and_gradient(theta + 0.1)
    np.testing.assert_array_equal(tf_util.GetFlat(var_list)(), theta)
    tf_util.SetFromFlat(var_list)(theta.numpy() + 0.1)
    np.testing.assert_allclose(elsewhere[0], loss_of(store, x), rtol=1e-14)
    assert abs(elsewhere[0] - found[0]) > 1e-3


def test_substitute_some_variables_in_any_order():
    store = store_of_three()
    x = tf.constant(np.random.default_rng(1).standard_normal((4, 3)))
    w, b, v = store.variables.values()
    theta = tf.range(8, dtype=tf.float64) / 8.
    with tf.GradientTape() as tape:
        tape.watch(theta)
        with store.substitute([b, w], theta):
            substituted = loss_of(store, x)
    assert tape.gradient(substituted, theta).shape == (8,)
    b.assign(theta[:2])
    w.assign(tf.reshape(theta[2:], [3, 2]))
    np.testing.assert_allclose(substituted, loss_of(store, x), rtol=1e-14)


def test_substitute_ends_with_an_error_and_refuses_another_size():
    store = store_of_three()
    x = tf.zeros([1, 3], tf.float64)
    var_list = list(store.variables.values())
    before = loss_of(store, x)
    with pytest.raises(ZeroDivisionError), store.substitute(var_list, tf.ones([11], tf.float64)):
        assert loss_of(store, x) != before
        raise ZeroDivisionError
    assert loss_of(store, x) == before
    for size in (10, 12):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            with store.substitute(var_list, tf.ones([size], tf.float64)):
                pass
    assert loss_of(store, x) == before


def test_initializers():
    np_random = np.random.default_rng(0)
    np.testing.assert_array_equal(constant_initializer(2.5)((2, 3), np_random), np.full((2, 3), 2.5))
    x = uniform_initializer(0.3)((1000,), np_random)
    assert -0.3 <= x.min() < -0.29 and 0.29 < x.max() <= 0.3  # fails with probability 2 (59 / 60)^1000 = 1e-7


def test_names_and_cuts():
    var_list = list(store_of_three().variables.values())
    assert [name_of(v) for v in var_list] == ['pi/w', 'pi/b', 'vf/w']
    pieces = split_like(var_list, np.arange(11.))
    np.testing.assert_array_equal(np.concatenate([np.ravel(piece) for piece in pieces]), np.arange(11.))
    assert [piece.shape for piece in pieces] == [v.shape for v in var_list]
