"""Running statistics of single samples, and the filter on top of them, on one rank and on several."""
import json

import numpy as np
import pytest

from onpolicybaselines.common.filters import ZFilter
from onpolicybaselines.common.mpi_filter import joined
from onpolicybaselines.common.running_stat import RunningStat


def pushed(samples):
    stat = RunningStat(samples.shape[1:])
    for x in samples:
        stat.push(x)
    return stat


@pytest.mark.parametrize('shape', [(), (3,), (3, 4)])
@pytest.mark.parametrize('n', [2, 50])
def test_running_stat(shape, n):
    samples = np.random.default_rng(0).normal(100., 3., (n, *shape))
    stat = pushed(samples)
    assert stat.n == n and stat.shape == shape
    np.testing.assert_allclose(stat.mean, samples.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(stat.var, samples.var(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(stat.std, samples.std(axis=0, ddof=1), rtol=1e-9)


def test_variance_of_one_sample_is_its_square():
    stat = pushed(np.array([[2., -3.]]))
    np.testing.assert_array_equal(stat.var, [4., 9.])


def test_wrong_shape_is_an_error():
    with pytest.raises(ValueError, match=r'shape \(3,\)'):
        RunningStat((3,)).push(np.zeros(2))


@pytest.mark.parametrize('cut', [0, 1, 7, 20])
def test_joined_is_as_if_one_had_seen_all(cut):
    samples = np.random.default_rng(1).normal(5., 2., (20, 3))
    one = RunningStat((3,))
    one.set_state(joined(pushed(samples[:cut]).state(), pushed(samples[cut:]).state()))
    assert one.n == 20
    np.testing.assert_allclose(one.mean, samples.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(one.var, samples.var(axis=0, ddof=1), rtol=1e-10)


def test_joined_of_nothing():
    empty = joined(RunningStat((2,)).state(), RunningStat((2,)).state())
    assert empty['n'] == 0 and np.isfinite(empty['M']).all()


def test_filter_standardises_by_all_it_has_seen():
    obfilter = ZFilter((3,))
    samples = np.random.default_rng(2).normal(5., 2., (30, 3))
    for n in range(1, 31):
        y = obfilter(samples[n - 1])
        if n > 1:
            seen = samples[:n]
            np.testing.assert_allclose(y, (seen[-1] - seen.mean(axis=0)) / (seen.std(axis=0, ddof=1) + 1e-8), rtol=1e-9)


def test_filter_without_update_takes_batches_and_stays():
    obfilter = ZFilter((2,))
    for x in np.random.default_rng(3).normal(0., 2., (20, 2)):
        obfilter(x)
    before = obfilter.state()
    batch = np.array([[0., 1.], [5., -2.]])
    np.testing.assert_array_equal(obfilter(batch, update=False), [obfilter(x, update=False) for x in batch])
    for name, value in obfilter.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_filter_clips():
    obfilter = ZFilter((1,), clip=2.)
    for x in np.random.default_rng(4).normal(size=(20, 1)):
        obfilter(x)
    assert obfilter(np.array([1e6]), update=False) == 2. and obfilter(np.array([-1e6]), update=False) == -2.


@pytest.mark.parametrize('options, expected', [
    ({'demean': False}, lambda x, mean, std: x / (std + 1e-8)),
    ({'destd': False}, lambda x, mean, std: x - mean),
    ({'clip': None}, lambda x, mean, std: (x - mean) / (std + 1e-8))])
def test_options_of_the_filter(options, expected):
    obfilter = ZFilter((2,), **{'clip': 1e9, **options})
    for x in np.random.default_rng(5).normal(3., 2., (20, 2)):
        y = obfilter(x)
    np.testing.assert_allclose(y, expected(x, obfilter.rs.mean, obfilter.rs.std))


def test_state_of_the_filter():
    one, other = ZFilter((2,)), ZFilter((2,))
    for x in np.random.default_rng(6).normal(3., 2., (20, 2)):
        one(x)
    other.set_state(one.state())
    x = np.array([1., 2.])
    np.testing.assert_array_equal(one(x), other(x))
    assert one.rs.n == other.rs.n == 21
    with pytest.raises(ValueError, match="RunningStat does not fit: 'M' has shape"):
        ZFilter((3,)).set_state(one.state())


SYNC = '''
    import json
    import numpy as np
    from onpolicybaselines.common.mpi_filter import MpiZFilter
    from onpolicybaselines.common.mpi_world import allgather, rank

    obfilter = MpiZFilter((2,))
    seen = []
    for n in (5, 0, 3):
        for x in np.random.default_rng((rank(), n)).normal(rank(), 1., (n * (rank() + 1), 2)):
            obfilter(x)
            seen.append(x.tolist())
        obfilter.sync()
    states = allgather({name: value.tolist() for name, value in obfilter.state().items()})
    everything = allgather(seen)
    if rank() == 0:
        print(json.dumps([states, everything]))
'''


def test_ranks_know_what_all_have_seen(mpirun):
    process = mpirun(2, SYNC)
    assert process.returncode == 0, process.stderr
    states, everything = json.loads(process.stdout)
    assert states[0] == states[1]
    samples = np.array(everything[0] + everything[1])
    assert states[0]['n'] == len(samples) == 24
    np.testing.assert_allclose(states[0]['M'], samples.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(states[0]['S'], samples.var(axis=0, ddof=1) * 23, rtol=1e-10)
