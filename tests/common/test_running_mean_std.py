import numpy as np
import pytest

from onpolicybaselines.common.running_mean_std import RunningMeanStd, update_mean_var_count_from_moments


@pytest.mark.parametrize('shape', [(), (2,), (2, 3)])
def test_batches_equal_numpy_on_the_joined_data(shape):
    np_random = np.random.default_rng(0)
    batches = [3 + 2 * np_random.standard_normal((n, *shape)) for n in (3, 1, 5)]
    rms = RunningMeanStd(epsilon=0.0, shape=shape)
    for batch in batches:
        rms.update(batch)
    x = np.concatenate(batches)
    np.testing.assert_allclose(rms.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(rms.var, x.var(axis=0), rtol=1e-12)
    assert rms.count == 9


def test_prior_counts_as_epsilon_samples():
    rms = RunningMeanStd(epsilon=2)
    rms.update(np.full(2, 4.0))
    assert (rms.mean, rms.count) == (2.0, 4)
    assert rms.var == pytest.approx((2 * 1 + 4 * 2 ** 2) / 4)  # within the prior, and of the two means


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_large_offset_costs_no_precision(dtype):
    """At offset 1e7 the textbook E[x^2] - E[x]^2 loses about 0.01 of the variance 2, in float32 all of it."""
    x = (1e7 + np.random.default_rng(0).integers(-2, 3, 1000)).astype(dtype)  # exact in float32
    rms = RunningMeanStd(epsilon=0.0)
    for batch in np.array_split(x, 17):
        rms.update(batch)
    assert rms.mean == pytest.approx(x.astype('float64').mean(), rel=1e-15)
    assert rms.var == pytest.approx(x.astype('float64').var(), rel=1e-8)


@pytest.mark.parametrize('count', [2, 100, 5000])
def test_a_prior_far_off_does_not_widen_the_data(count):
    """A ten thousandth of a sample at 0 makes the variance of a hundred at 1e4 a hundred times as large."""
    x = 1e4 + np.random.default_rng(0).standard_normal((count, 16))
    rms = RunningMeanStd(shape=())
    for batch in x:
        rms.update(batch)
    assert rms.mean == pytest.approx(x.mean(), rel=1e-9)
    assert np.sqrt(rms.var) == pytest.approx(x.std(), rel=1e-3)


def test_empty_batch_changes_nothing():
    rms = RunningMeanStd(shape=(2,))
    rms.update(np.zeros((0, 2)))
    assert (rms.mean.tolist(), rms.var.tolist(), rms.count) == ([0, 0], [1, 1], 1e-4)


@pytest.mark.parametrize('x', [np.zeros(4), np.zeros((4, 3)), np.float64(1.0)])
def test_wrong_shape(x):
    with pytest.raises(ValueError, match=r'needs x of shape \[batch, \*\(2,\)\]'):
        RunningMeanStd(shape=(2,)).update(x)


def test_merge_is_symmetric_and_exact_on_small_integers():
    a, b = np.array([1.0, 3.0]), np.array([5.0, 7.0, 9.0, 11.0])
    moments = [(x.mean(), x.var(), len(x)) for x in (a, b)]
    joined = np.concatenate([a, b])
    for first, second in (moments, moments[::-1]):
        merged = update_mean_var_count_from_moments(*first, *second)
        np.testing.assert_allclose(merged, (joined.mean(), joined.var(), 6), rtol=1e-15)


def test_goes_on_from_its_state():
    np_random = np.random.default_rng(3)
    one, other = RunningMeanStd(shape=(2,)), RunningMeanStd(shape=(2,))
    one.update(np_random.normal(size=(5, 2)))
    state, batch = one.state(), np_random.normal(size=(4, 2))
    one.update(batch)  # which does not show in the state
    other.set_state(state)
    other.update(batch)
    np.testing.assert_array_equal([one.mean, one.var], [other.mean, other.var])
    assert one.count == other.count
    with pytest.raises(ValueError, match="RunningMeanStd does not fit: 'mean' has shape"):
        RunningMeanStd(shape=(3,)).set_state(state)
