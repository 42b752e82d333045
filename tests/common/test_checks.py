"""Checks that end in one line."""
import doctest

import numpy as np
import pytest

from onpolicybaselines.common import checks
from onpolicybaselines.common.checks import check_finite


def test_examples():
    assert doctest.testmod(checks, extraglobs={'np': np}).failed == 0


def test_the_first_fault_is_named():
    good, bad = np.zeros((4, 2, 3)), np.zeros((4, 2, 3))
    check_finite('the segment', ob=good, rew=good[..., 0])
    bad[2, 1, 0], bad[3, 0, 0] = np.inf, np.nan
    with pytest.raises(FloatingPointError) as error:
        check_finite('the segment', ob=good, ac=bad)
    assert str(error.value) == f'ac is not finite at step 2 of the segment, environment 1: {bad[2, 1]}'
    with pytest.raises(FloatingPointError) as error:
        check_finite('an episode', environments=False, observation=bad[:, 1])
    assert str(error.value) == f'observation is not finite at step 2 of an episode: {bad[2, 1]}'


def test_the_earliest_fault_is_named_and_what_float32_cannot_hold_is_one():
    good, bad = np.zeros((4, 2)), np.zeros((4, 2))
    good[3, 0], bad[1, 1] = np.nan, 1e39
    with pytest.raises(FloatingPointError) as error:
        check_finite('the segment', ob=good, rew=bad)
    assert str(error.value) == 'rew is too large for float32 at step 1 of the segment, environment 1: 1e+39'
    with pytest.raises(FloatingPointError, match=r'^image is not finite in environment 1: nan in element \[2, 3\]$'):
        images = np.zeros((1, 2, 50, 50), 'float32')
        images[0, 1, 2, 3] = np.nan
        check_finite(None, image=images)


def test_of_several_ranks_the_one_is_named(mpirun):
    job = mpirun(2, """
        import numpy as np
        from onpolicybaselines.common.checks import check_finite
        from onpolicybaselines.common.mpi_world import get_comm, rank
        try:
            check_finite('the segment', rew=np.array([[np.nan if rank() else 0.]]))
        except FloatingPointError as e:
            print(e, flush=True)
        get_comm().Barrier()
    """)
    assert 'rew is not finite at step 0 of the segment, environment 0, rank 1: nan\n' == job.stdout, job.stderr
