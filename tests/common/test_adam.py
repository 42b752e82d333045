"""Adam inside a compiled function."""
import numpy as np
import pytest
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.adam import AdamOptimizer
from onpolicybaselines.common.mpi_adam import MpiAdam


def optimizer(clip_norm=None, **kwargs):
    """(variables, optimizer, function of a flat gradient and a step size that makes an update)."""
    variables = [tf.Variable([[1., 2.]], name='a'), tf.Variable([3.], name='b')]
    adam = AdamOptimizer(variables, **kwargs)
    function = U.function(lambda step, grads: adam.apply_gradients(grads, step, clip_norm), tf.TensorSpec([]),
                          tf.TensorSpec([3]))
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
    variables, adam, _ = optimizer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(variables[0]))  # nothing of the second
    np.testing.assert_array_equal(adam.compute_gradients(tape, loss), [2., 4., 0.])


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

    def fails(step):
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
