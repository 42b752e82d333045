"""Adam inside a compiled function."""
import numpy as np
import pytest
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.adam import AdamOptimizer, Flat
from onpolicybaselines.common.mpi_adam import MpiAdam


def optimizer(clip_norm=None, **kwargs):
    """(variables, optimizer, function of a flat gradient and a step size that makes an update)."""
    variables = [tf.Variable([[1., 2.]], name='a'), tf.Variable([3.], name='b')]
    adam = AdamOptimizer(variables, **kwargs)
    function = U.function(
        lambda theta, m, v, steps, grads: (adam.apply_gradients(grads, Flat(theta, m, v), steps[0], clip_norm), ()),
        *adam.flat, tf.TensorSpec([None]), tf.TensorSpec([3]))
    return variables, adam, lambda grads, lr: adam.update(function, lr, grads)


def values(variables):
    return np.concatenate([v.numpy().ravel() for v in variables])


def test_updates_are_those_of_adam_in_numpy():
    variables, _, update = optimizer(epsilon=1e-3)
    others = [tf.Variable(v) for v in variables]
    other = MpiAdam(others, epsilon=1e-3)
    rng = np.random.default_rng(0)
    for i in range(20):
        grads, lr = rng.standard_normal(3).astype('f'), 0.1 / (i + 1)
        update(grads, lr)
        other.update(grads, lr)
        np.testing.assert_allclose(values(variables), values(others), rtol=1e-5)


@pytest.mark.parametrize('clip_norm, scale', [(None, 1.), (10., 1.), (2.5, 0.5)])
def test_gradients_are_scaled_down_to_the_norm_of_all(clip_norm, scale):
    _, adam, update = optimizer(clip_norm)
    update(np.array([3., 0., 4.]), 0.1)
    np.testing.assert_allclose(adam.state()['m'], 0.1 * scale * np.array([3., 0., 4.]), rtol=1e-6)


def test_gradients_of_a_loss():
    _, adam, _ = optimizer()
    theta = tf.constant([1., 2., 3.])
    with tf.GradientTape() as tape:
        tape.watch(theta)
        loss = tf.reduce_sum(tf.square(theta[:2]))  # nothing of the third
    np.testing.assert_array_equal(adam.compute_gradients(tape, loss, theta), [2., 4., 0.])


def test_several_updates_in_one_call():
    grads = np.random.default_rng(0).standard_normal((4, 3)).astype('f')
    (one_by_one, first, update), (together, second, _) = optimizer(0.5), optimizer(0.5)

    def several(theta, m, v, steps, grads):
        flat = Flat(theta, m, v)
        for i in range(3):
            flat = second.apply_gradients(grads[i], flat, steps[i], 0.5)
        return flat, steps
    function = U.function(several, *second.flat, tf.TensorSpec([None]), tf.TensorSpec([None, 3]))
    for g in grads[:3]:
        update(g, 0.1)
    second.update(function, 0.1, grads[:3], n=3)
    np.testing.assert_array_equal(values(together), values(one_by_one))
    np.testing.assert_equal(second.state(), first.state())
    grads[1, 0] = np.nan
    with pytest.raises(FloatingPointError, match='updates 4 to 6: the gradient is not finite; parameters unchanged'):
        second.update(function, 0.1, grads[:3], n=3)
    np.testing.assert_array_equal(values(together), values(one_by_one))
    np.testing.assert_equal(second.state(), first.state())


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('clip_norm', [None, 0.5])
def test_a_gradient_that_is_not_finite_changes_nothing(value, clip_norm):
    variables, adam, update = optimizer(clip_norm)
    update(np.ones(3), 0.1)
    before, state = values(variables), adam.state()
    with pytest.raises(FloatingPointError, match='update 2: the gradient is not finite; parameters unchanged'):
        update(np.array([0., value, 0.]), 0.1)
    np.testing.assert_array_equal(values(variables), before)
    np.testing.assert_equal(adam.state(), state)


def test_other_errors_pass():
    _, adam, _ = optimizer()

    def fails(*args):
        raise tf.errors.InvalidArgumentError(None, None, 'another one')
    with pytest.raises(tf.errors.InvalidArgumentError, match='another one'):
        adam.update(fails, 0.1)


def test_it_goes_on_from_its_state():
    (variables, first, update), (others, other, other_update) = optimizer(0.5), optimizer(0.5)
    grads = np.random.default_rng(0).standard_normal((6, 3)).astype('f')
    for g in grads[:3]:
        update(g, 0.1)
    for v, w in zip(others, variables, strict=True):
        v.assign(w)
    other.set_state(first.state())
    for g in grads[3:]:
        update(g, 0.1)
        other_update(g, 0.1)
    np.testing.assert_array_equal(values(others), values(variables))
    assert other.t == first.t == 6
    with pytest.raises(ValueError, match="the state of Adam does not fit: 'm'"):
        AdamOptimizer([tf.Variable([1.])]).set_state(first.state())
