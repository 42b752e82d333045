"""The MPI world: launchers, reductions, the end of all ranks."""
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from onpolicybaselines.common import mpi_world

REPOSITORY = pathlib.Path(__file__).parents[2]


def run_python(code, **variables):
    env = dict(os.environ, PYTHONPATH=str(REPOSITORY), **variables)
    return subprocess.run([sys.executable, '-c', code], env=env, text=True, capture_output=True, timeout=60)


def test_without_a_launcher():
    result = run_python("""
import sys
from onpolicybaselines.common import mpi_world
print(mpi_world.get_comm(), mpi_world.rank(), mpi_world.size(), 'mpi4py' in sys.modules)""")
    assert result.stdout.split() == ['None', '0', '1', 'False'], result.stderr


@pytest.mark.parametrize('variables', [
    dict(PMI_RANK='0', PMI_SIZE='2'), dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', PMIX_RANK='1'),
    dict(MV2_COMM_WORLD_RANK='0', MV2_COMM_WORLD_SIZE='2'), dict(PMIX_RANK='1')])
def test_launcher_without_mpi4py(variables):
    code = """
import sys; sys.modules['mpi4py'] = None
from onpolicybaselines.common import mpi_world
mpi_world.rank()"""
    result = run_python(code, **variables)
    assert result.returncode != 0
    last_line = result.stderr.splitlines()[-1]
    assert last_line.startswith('RuntimeError: an MPI launcher started 2 processes, but mpi4py does not work')
    assert last_line.endswith("pip install 'onpolicybaselines[mpi]'")


def test_launcher_of_one_process_needs_no_mpi4py():
    code = """
import sys; sys.modules['mpi4py'] = None
from onpolicybaselines.common import mpi_world
print(mpi_world.rank(), mpi_world.size())"""
    assert run_python(code, PMI_RANK='0', PMI_SIZE='1').stdout.split() == ['0', '1']


def test_launcher_of_another_mpi(mpirun):
    """An installed mpi4py that does not understand the launcher makes every process a world of its own."""
    own = run_python('from mpi4py import MPI; print(MPI.get_vendor()[0])').stdout.strip()
    variables = (dict(PMI_RANK='0', PMI_SIZE='2') if own == 'Open MPI' else
                 dict(OMPI_COMM_WORLD_RANK='0', OMPI_COMM_WORLD_SIZE='2'))
    result = run_python('from onpolicybaselines.common import mpi_world; mpi_world.rank()', **variables)
    assert 'RuntimeError: an MPI launcher started 2 processes, but mpi4py sees only one' in result.stderr


def test_allmean_without_mpi_is_a_copy():
    x = np.ones((2, 2), 'float32')
    y = mpi_world.allmean(x)
    assert y is not x and y.dtype == 'float32'
    np.testing.assert_array_equal(y, x)
    assert mpi_world.allmean(3).dtype == 'float64'


def test_allmean_is_the_same_to_the_bit_on_all_ranks(mpirun):
    result = mpirun(3, """
        import sys
        import numpy as np
        from onpolicybaselines.common import mpi_world
        comm = mpi_world.get_comm()
        assert (mpi_world.rank(), mpi_world.size()) == (comm.rank, 3)
        assert 'tensorflow' not in sys.modules
        for dtype in ('float32', 'float64'):
            for shape in ((), (0,), (5,), (3, 4), (100_000,)):
                x = np.asarray(np.random.default_rng(comm.rank).standard_normal(shape), dtype)
                if comm.rank == 1:
                    x = np.asfortranarray(x).reshape(shape)  # the order in memory is nobody's business
                before = x.copy()
                mean = mpi_world.allmean(x)
                assert mean.dtype == dtype and mean.shape == x.shape
                assert len(set(comm.allgather(mean.tobytes()))) == 1
                np.testing.assert_array_equal(x, before)
                exact = np.mean(np.asarray(comm.allgather(x), 'float64'), axis=0)
                np.testing.assert_allclose(mean, exact, rtol=0, atol=4 * np.finfo(dtype).eps)
        assert mpi_world.allmean(comm.rank) == 1.0
    """)
    assert result.returncode == 0, result.stderr


def test_vectors_of_all_ranks(mpirun):
    """Of any length, 0 too; the numbers arrive as they were."""
    lens, rews = mpi_world.allgather_arrays(([3, 4], [0.1, 0.2]))[0]
    assert lens.tolist() == [3, 4] and lens.dtype == int and rews.tolist() == [0.1, 0.2]
    result = mpirun(4, """
        import numpy as np
        from onpolicybaselines.common import mpi_world
        from onpolicybaselines.common.rollouts import gather, gather_episodes

        def of(rank):  # as many as the rank's number: rank 0 has none
            return list(range(rank, 2 * rank)), list(np.random.default_rng(rank).standard_normal(rank))

        pairs = mpi_world.allgather_arrays(of(mpi_world.rank()))
        assert [(list(lens), list(rews)) for lens, rews in pairs] == [of(rank) for rank in range(4)]
        lens, rews = gather(*of(mpi_world.rank()))
        everyone = [pair for rank in range(4) for pair in zip(*of(rank))]
        assert list(zip(lens, rews)) == everyone
        episodes = gather_episodes([{'r': rew, 'l': length, 't': 1.} for length, rew in zip(*of(mpi_world.rank()))])
        assert episodes == [{'r': rew, 'l': length} for length, rew in everyone]
        assert all(type(episode['l']) is int for episode in episodes)
        assert [len(vector) for vector, in mpi_world.allgather_arrays([[]])] == [0, 0, 0, 0]
    """)
    assert result.returncode == 0, result.stderr


FAILURES = {'raise ValueError("bad weather")': 'ValueError: bad weather',
            'raise KeyboardInterrupt': 'KeyboardInterrupt',
            'sys.exit(3)': 'SystemExit: 3',
            'sys.exit("bad weather")': 'SystemExit: bad weather'}


@pytest.mark.parametrize('failure', FAILURES)
def test_failure_of_one_rank_ends_all(mpirun, failure):
    start = time.monotonic()
    result = mpirun(2, f"""
        import sys
        from onpolicybaselines.common.mpi_world import abort_on_exception, allmean, rank
        with abort_on_exception():
            if rank() == 1:
                {failure}
            allmean(0.0)  # rank 0 would wait here for ever
            print('not reached')
    """, timeout=30)
    assert time.monotonic() - start < 10
    assert result.returncode == 1
    assert 'Traceback (most recent call last)' in result.stderr and FAILURES[failure] in result.stderr
    assert 'rank 1 failed: ending all 2 ranks' in result.stderr
    assert 'not reached' not in result.stdout


def test_abort_says_one_line(mpirun):
    """Four times: MPI_Abort may return, after which the end of this rank was taken for a failure, in 4 of 8 runs."""
    for _ in range(4):
        result = mpirun(2, """
            from onpolicybaselines.common.mpi_world import abort, abort_on_exception, allmean, rank
            allmean(0.0)
            with abort_on_exception():
                if rank() == 1:
                    abort(2, 'error: rain')
                allmean(0.0)
        """, timeout=30)
        assert result.returncode == 2
        assert 'error: rain\n' in result.stderr and 'Traceback' not in result.stderr


@pytest.mark.parametrize('status', ['', '0'])
def test_successful_exit_of_one_rank_is_no_failure(mpirun, status):
    result = mpirun(2, f"""
        import sys
        from onpolicybaselines.common.mpi_world import abort_on_exception, rank
        with abort_on_exception():
            if rank() == 1:
                sys.exit({status})
        print('finished')
    """)
    assert result.returncode == 0 and result.stdout.strip() == 'finished', result.stderr


def test_abort_on_exception_in_a_world_of_one():
    with pytest.raises(KeyError, match='passes'), mpi_world.abort_on_exception():
        raise KeyError('passes')
