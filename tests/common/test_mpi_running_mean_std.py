import json

import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd


def assert_equals_numpy(rms, x):
    """But for the rounding to float32."""
    np.testing.assert_allclose(rms.mean.numpy(), x.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(rms.std.numpy(), x.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize('shape', [(), (2,), (2, 3)])
def test_without_mpi_equals_numpy(shape):
    np_random = np.random.default_rng(0)
    batches = [np_random.standard_normal((n, *shape)) for n in (3, 0, 4, 5)]
    rms = RunningMeanStd(epsilon=0.0, shape=shape)
    for batch in batches:
        rms.update(batch)
    assert_equals_numpy(rms, np.concatenate(batches))
    assert rms.mean.shape == rms.std.shape == shape


def test_starts_with_mean_0_std_1():
    for epsilon in (1e-2, 5.0):
        rms = RunningMeanStd(epsilon, shape=(2,))
        np.testing.assert_array_equal(rms.mean.numpy(), [0, 0])
        np.testing.assert_array_equal(rms.std.numpy(), [1, 1])
    empty = RunningMeanStd(epsilon=0.0)
    assert (empty.mean.numpy(), empty.std.numpy()) == (0, np.float32(0.1))


def test_prior_counts_as_epsilon_samples():
    rms = RunningMeanStd(epsilon=2.0)
    rms.update(np.array([3.0, 5.0]))
    assert rms.mean.numpy() == 2  # (3 + 5) / 4
    assert rms.std.numpy() == np.sqrt(np.float32((2 + 9 + 25) / 4 - 4))


def test_std_is_floored():
    rms = RunningMeanStd(shape=(2,))
    rms.update(np.full((1000, 2), 3.0))
    np.testing.assert_array_equal(rms.std.numpy(), np.full(2, 0.1, 'float32'))


@pytest.mark.parametrize('offset, std', [(5e3, 1.), (1e4, 1.), (-1e6, 1.), (1e8, 3.), (1e4, 1e3), (50., 1.)])
@pytest.mark.parametrize('sizes', [[5] * 200, [1024] * 4, [20_000]])
def test_an_offset_costs_no_precision(offset, std, sizes):
    """float32 differences of squares gave std 0.1 to 1.4 for 1; a prior at 0 gives more than 30 for the first 1000."""
    np_random = np.random.default_rng(0)
    rms = RunningMeanStd(shape=(2,))
    batches = [offset + std * np_random.standard_normal((n, 2)) for n in sizes]
    for batch in batches:
        rms.update(batch)
    x = np.concatenate(batches)
    state = rms.state()
    if abs(offset) > 100 * std:
        np.testing.assert_allclose(state['mean'], x.mean(axis=0), rtol=1e-12, atol=1e-4 * std)
        np.testing.assert_allclose(rms.std.numpy(), x.std(axis=0), rtol=1e-3 if len(x) < 2000 else 1e-4)
    else:  # the prior counts, as upstream's
        meansq = (np.square(x).sum(axis=0) + 1e-2) / (len(x) + 1e-2)
        mean = x.sum(axis=0) / (len(x) + 1e-2)
        np.testing.assert_allclose(state['mean'], mean, rtol=1e-12)
        np.testing.assert_allclose(state['var'], meansq - np.square(mean), rtol=1e-7)


def test_states_of_earlier_revisions_are_taken():
    x = np.random.default_rng(0).standard_normal((100, 3)) + [0, 3, -50]
    rms, other = RunningMeanStd(shape=(3,)), RunningMeanStd(shape=(3,))
    rms.update(x)
    other.set_state({'sum': x.sum(axis=0), 'sumsq': np.square(x).sum(axis=0) + 1e-2, 'count': np.array(100.01)})
    for name, value in rms.state().items():
        np.testing.assert_allclose(other.state()[name], value, rtol=1e-11)
    np.testing.assert_allclose(other.std.numpy(), rms.std.numpy(), rtol=1e-6)


def test_variables_are_what_graphs_see():
    rms = RunningMeanStd(epsilon=0.0, shape=(2,))
    normalise = tf.function(lambda x: (x - rms.mean) / rms.std)
    assert not rms.mean.trainable and not rms.std.trainable
    assert rms.mean.dtype == rms.std.dtype == tf.float32
    normalise(tf.zeros(2))
    rms.update(np.array([[1, 10], [3, 30]]))
    np.testing.assert_allclose(normalise(tf.constant([3.0, 10.0])), [1, -1], rtol=1e-5)
    assert normalise.experimental_get_tracing_count() == 1


def test_state_round_trip():
    rms, other = RunningMeanStd(shape=(3,)), RunningMeanStd(shape=(3,))
    rms.update(np.arange(6.0).reshape(2, 3))
    state = rms.state()
    assert {key: value.shape for key, value in state.items()} == {'mean': (3,), 'var': (3,), 'count': ()}
    assert all(value.dtype == 'float64' for value in state.values())
    rms.update(np.ones((5, 3)))  # must not reach into the state taken before
    other.set_state(state)
    other.update(np.ones((5, 3)))
    for key in state:
        np.testing.assert_array_equal(other.state()[key], rms.state()[key])
    np.testing.assert_array_equal(other.mean.numpy(), rms.mean.numpy())
    np.testing.assert_array_equal(other.std.numpy(), rms.std.numpy())
    with pytest.raises(ValueError, match=r"'mean' has shape \(3,\), needs \(2,\)"):
        RunningMeanStd(shape=(2,)).set_state(state)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e200])
def test_non_finite_data_changes_nothing(value):
    rms = RunningMeanStd(shape=(3,))
    before, x = rms.state(), np.ones((4, 3))
    x[2, 1] = value
    with pytest.raises(FloatingPointError, match=r'element\(s\) \[1\], or their squares, are not finite'):
        rms.update(x)
    for key in before:
        np.testing.assert_array_equal(rms.state()[key], before[key])
    np.testing.assert_array_equal(rms.mean.numpy(), np.zeros(3))


@pytest.mark.parametrize('x', [np.zeros(3), np.zeros((4, 2)), np.zeros((2, 4, 3)), 1.0])
def test_wrong_shape(x):
    with pytest.raises(ValueError, match=r'needs x of shape \[batch, \*\(3,\)\]'):
        RunningMeanStd(shape=(3,)).update(x)


def test_two_ranks_equal_numpy_on_the_joined_data(mpirun):
    """Batches of different sizes, one of them empty; then NaN on one rank stops both, nothing is changed."""
    result = mpirun(2, """
        import json
        import numpy as np
        from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd
        from onpolicybaselines.common.mpi_world import get_comm
        comm = get_comm()
        batches = np.split(np.random.default_rng(0).standard_normal((33, 2)), [3, 9, 13, 20, 20])
        rms = RunningMeanStd(epsilon=0.0, shape=(2,))
        far = RunningMeanStd(shape=(2,))
        for i in range(3):
            rms.update(batches[2 * i + comm.rank])
            far.update(1e4 + batches[2 * i + comm.rank])
        before = rms.state()
        try:
            rms.update(np.full((2, 2), np.nan if comm.rank == 1 else 1.0))
        except FloatingPointError as e:
            error = str(e)
        assert all((before[key] == rms.state()[key]).all() for key in before)
        mean, std = rms.mean.numpy().tolist(), rms.std.numpy().tolist()
        results = comm.gather([mean, std, float(before['count']), error, [x.tolist() for x in far.state().values()]])
        if comm.rank == 0:
            print(json.dumps(results))
    """)
    assert result.returncode == 0, result.stderr
    results = json.loads(result.stdout)
    assert results[0] == results[1]
    mean, std, count, error, far = results[0]
    x = np.random.default_rng(0).standard_normal((33, 2))
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, x.std(axis=0), rtol=1e-6)
    alone = RunningMeanStd(shape=(2,))
    for batch in np.split(1e4 + x, [9, 20]):
        alone.update(batch)
    for value, want in zip(far, alone.state().values(), strict=True):
        np.testing.assert_allclose(value, want, rtol=1e-10)
    assert count == 33 and 'element(s) [0, 1]' in error
