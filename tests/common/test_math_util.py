import numpy as np
import pytest

from onpolicybaselines.common import math_util


def test_discount_against_the_definition():
    x = np.random.default_rng(0).standard_normal((7, 3))
    y = math_util.discount(x, 0.9)
    for t in range(7):
        np.testing.assert_allclose(y[t], sum(0.9 ** k * x[t + k] for k in range(7 - t)), rtol=1e-12)


def test_discount_of_other_types():
    y = math_util.discount(np.array([1, 1, 1]), 0.5)
    assert y.dtype == 'float64'
    np.testing.assert_array_equal(y, [1.75, 1.5, 1.0])
    assert math_util.discount(np.zeros(0), 0.5).shape == (0,)


def test_discount_leaves_its_input_alone():
    x = np.ones(3)
    math_util.discount(x, 0.5)
    np.testing.assert_array_equal(x, np.ones(3))


def test_explained_variance():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    assert math_util.explained_variance(y, y) == 1
    assert math_util.explained_variance(np.zeros(4), y) == 0
    assert math_util.explained_variance(-y, y) == pytest.approx(-3)  # Var[2y] = 4 Var[y]
    assert np.isnan(math_util.explained_variance(y, np.ones(4)))
    with pytest.raises(ValueError, match=r'1-d shape, got \(4, 1\) and \(4,\)'):
        math_util.explained_variance(y[:, None], y)


def test_explained_variance_2d_is_per_column():
    np_random = np.random.default_rng(0)
    y, ypred = np_random.standard_normal((2, 50, 3))
    y[:, 1] *= 100
    y[:, 2] = 7.0
    ev = math_util.explained_variance_2d(ypred, y)
    for k in range(2):
        assert ev[k] == pytest.approx(math_util.explained_variance(ypred[:, k], y[:, k]))
    assert ev[2] == 0
    with pytest.raises(ValueError, match='2-d'):
        math_util.explained_variance_2d(y[0], y[0])


def test_ncc():
    x = np.array([0.0, 1.0, 3.0])
    assert math_util.ncc(x, 2 * x + 1) == pytest.approx(1)
    assert math_util.ncc(x, -x) == pytest.approx(-1)


def test_flatten_and_unflatten():
    shapes = [(2, 3), (), (4,)]
    arrs = [np.arange(6.0).reshape(2, 3).T.copy().T, np.array(6.0), np.arange(7.0, 11.0)]
    vec = math_util.flatten_arrays(arrs)
    np.testing.assert_array_equal(vec, np.arange(11.0))
    for arr, back, shape in zip(arrs, math_util.unflatten_vector(vec, shapes), shapes, strict=True):
        assert back.shape == shape
        np.testing.assert_array_equal(back, arr)
    with pytest.raises(ValueError, match=r'hold 11 numbers in all, the vector has shape \(10,\)'):
        math_util.unflatten_vector(vec[:-1], shapes)


def test_discount_with_boundaries():
    x = np.array([1.0, 2.0, 3.0, 4.0], 'float32')
    for starts in ([1.0, 0.0, 0.0, 1.0], np.array([True, False, False, True])):
        y = math_util.discount_with_boundaries(x, starts, 0.9)
        assert y.dtype == 'float32'
        np.testing.assert_allclose(y, [1 + 0.9 * 2 + 0.81 * 3, 2 + 0.9 * 3, 3, 4], rtol=1e-6)


def test_discount_with_boundaries_per_feature():
    x = np.ones((3, 2), int)
    y = math_util.discount_with_boundaries(x, np.array([[1, 1], [0, 1], [0, 0]]), 0.5)
    np.testing.assert_array_equal(y, [[1.75, 1.0], [1.5, 1.5], [1.0, 1.0]])


def test_safemean():
    assert math_util.safemean([1, 2, 6]) == 3
    assert np.isnan(math_util.safemean([]))
