"""Layer normalisation."""
import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.common.layers import layer_norm, standardize
from onpolicybaselines.common.variables import VariableStore


@pytest.mark.parametrize('epsilon', [1e-12, 1e-1])
def test_standardize_and_layer_norm(epsilon):
    x = np.random.default_rng(0).standard_normal((4, 5)) * 3 + 1
    expected = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + epsilon)
    np.testing.assert_allclose(standardize(tf.constant(x), epsilon), expected, rtol=1e-12)
    store = VariableStore('float64')
    with store.as_default():
        np.testing.assert_allclose(layer_norm(tf.constant(x), epsilon), expected, rtol=1e-12)
        assert list(store.variables) == ['LayerNorm/beta', 'LayerNorm/gamma']
        store.variables['LayerNorm/beta'].assign(np.arange(5.))
        store.variables['LayerNorm/gamma'].assign(np.full(5, 2.))
        np.testing.assert_allclose(layer_norm(tf.constant(x), epsilon), 2 * expected + np.arange(5), rtol=1e-12)


def test_standardize_has_right_second_derivatives():
    """tf.nn.moments stops the gradient of the mean; finite differences of the gradient know nothing of that."""
    x = tf.constant(np.random.default_rng(0).standard_normal((1, 4)))
    u = tf.constant(np.random.default_rng(1).standard_normal((1, 4)))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            f = tf.reduce_sum(u * tf.sin(standardize(x, 1e-12)))
        return tape.gradient(f, x)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        g = gradient(x)
    hessian = tape.jacobian(g, x, experimental_use_pfor=False)[0, :, 0].numpy()
    differences = [(gradient(x + h) - gradient(x - h)).numpy()[0] / 2e-5 for h in 1e-5 * np.eye(4)[:, None]]
    assert np.abs(hessian).max() > 0.1
    np.testing.assert_allclose(hessian, np.stack(differences, axis=1), atol=1e-8)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
