import json

import numpy as np
import pytest

from onpolicybaselines.common.mpi_moments import mpi_mean, mpi_moments


@pytest.mark.parametrize('shape, axis', [((5,), 0), ((5, 2), 0), ((2, 5), 1), ((2, 5), -1), ((2, 3, 4), 1)])
@pytest.mark.parametrize('keepdims', [True, False])
def test_without_mpi_equals_numpy(shape, axis, keepdims):
    x = np.random.default_rng(0).standard_normal(shape)
    mean, std, count = mpi_moments(x, axis=axis, keepdims=keepdims)
    assert count == shape[axis]
    np.testing.assert_allclose(mean, x.mean(axis=axis, keepdims=keepdims), rtol=1e-12, strict=True)
    np.testing.assert_allclose(std, x.std(axis=axis, keepdims=keepdims), rtol=1e-12, strict=True)


@pytest.mark.parametrize('x', [np.array([True, True, False]), np.array([3, 4, 2]), [0.5, 1.0, 0.0]])
def test_other_types(x):
    mean, count = mpi_mean(x)
    assert (mean, count) == (np.mean(x), 3)


def test_large_offset():
    """A single pass, E[x^2] - E[x]^2, would lose everything here."""
    mean, std, _ = mpi_moments(1e9 + np.array([-1.0, 1.0]))
    assert (mean, std) == (1e9, 1.0)


def test_bad_input():
    with pytest.raises(ValueError, match='got a scalar'):
        mpi_mean(1.0)
    with pytest.raises(ValueError, match='empty on every rank'):
        mpi_mean(np.zeros((0, 3)))


def test_three_ranks_equal_numpy_on_the_joined_data(mpirun):
    """Ranks of different sizes, one of them empty; every rank gets the result."""
    result = mpirun(3, """
        import json, sys
        import numpy as np
        from onpolicybaselines.common.mpi_moments import mpi_moments
        from onpolicybaselines.common.mpi_world import get_comm
        comm = get_comm()
        np_random = np.random.default_rng(0)
        errors = []
        for shapes, axis in [([(3,), (4,), (0,)], 0), ([(3, 2), (4, 2), (5, 2)], 0),
                             ([(2, 3), (2, 4), (2, 4)], -1)]:
            parts = [np_random.standard_normal(shape) for shape in shapes]
            x = np.concatenate(parts, axis=axis)
            mean, std, count = mpi_moments(parts[comm.rank], axis=axis)
            assert count == x.shape[axis] and mean.shape == std.shape == x.mean(axis=axis).shape
            errors.append(max(abs(mean - x.mean(axis=axis)).max(), abs(std - x.std(axis=axis)).max()))
        assert 'tensorflow' not in sys.modules
        errors = comm.gather(errors)
        if comm.rank == 0:
            print(json.dumps(errors))
    """)
    assert result.returncode == 0, result.stderr
    errors = np.array(json.loads(result.stdout))
    assert errors.shape == (3, 3) and errors.max() < 1e-14
