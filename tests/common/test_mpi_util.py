import json
import os
import pathlib
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from onpolicybaselines.common import mpi_util

REPOSITORY = pathlib.Path(__file__).parents[2]


def run_python(code, **variables):
    env = dict(os.environ, PYTHONPATH=str(REPOSITORY), **variables)
    return subprocess.run([sys.executable, '-c', code], env=env, text=True, capture_output=True, timeout=60)


def test_without_a_launcher():
    result = run_python("""
import sys
from onpolicybaselines.common import mpi_util
print(mpi_util.get_comm(), mpi_util.rank(), mpi_util.size(), 'mpi4py' in sys.modules)""")
    assert result.stdout.split() == ['None', '0', '1', 'False'], result.stderr


@pytest.mark.parametrize('variables', [
    dict(PMI_RANK='0', PMI_SIZE='2'), dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2', PMIX_RANK='1'),
    dict(MV2_COMM_WORLD_RANK='0', MV2_COMM_WORLD_SIZE='2'), dict(PMIX_RANK='1')])
def test_launcher_without_mpi4py(variables):
    code = """
import sys; sys.modules['mpi4py'] = None
from onpolicybaselines.common import mpi_util
mpi_util.rank()"""
    result = run_python(code, **variables)
    assert result.returncode != 0
    last_line = result.stderr.splitlines()[-1]
    assert last_line.startswith('RuntimeError: an MPI launcher started 2 processes, but mpi4py does not work')
    assert last_line.endswith("pip install 'onpolicybaselines[mpi]'")


def test_launcher_of_one_process_needs_no_mpi4py():
    code = """
import sys; sys.modules['mpi4py'] = None
from onpolicybaselines.common import mpi_util
print(mpi_util.rank(), mpi_util.size())"""
    assert run_python(code, PMI_RANK='0', PMI_SIZE='1').stdout.split() == ['0', '1']


def test_launcher_of_another_mpi(mpirun):
    """An installed mpi4py that does not understand the launcher makes every process a world of its own."""
    own = run_python('from mpi4py import MPI; print(MPI.get_vendor()[0])').stdout.strip()
    variables = (dict(PMI_RANK='0', PMI_SIZE='2') if own == 'Open MPI' else
                 dict(OMPI_COMM_WORLD_RANK='0', OMPI_COMM_WORLD_SIZE='2'))
    result = run_python('from onpolicybaselines.common import mpi_util; mpi_util.rank()', **variables)
    assert 'RuntimeError: an MPI launcher started 2 processes, but mpi4py sees only one' in result.stderr


def test_allmean_without_mpi_is_a_copy():
    x = np.ones((2, 2), 'float32')
    y = mpi_util.allmean(x)
    assert y is not x and y.dtype == 'float32'
    np.testing.assert_array_equal(y, x)
    assert mpi_util.allmean(3).dtype == 'float64'


def test_allmean_is_the_same_to_the_bit_on_all_ranks(mpirun):
    result = mpirun(3, """
        import sys
        import numpy as np
        from onpolicybaselines.common import mpi_util
        comm = mpi_util.get_comm()
        assert (mpi_util.rank(), mpi_util.size()) == (comm.rank, 3)
        assert 'tensorflow' not in sys.modules
        for dtype in ('float32', 'float64'):
            for shape in ((), (0,), (5,), (3, 4), (100_000,)):
                x = np.asarray(np.random.default_rng(comm.rank).standard_normal(shape), dtype)
                if comm.rank == 1:
                    x = np.asfortranarray(x).reshape(shape)  # the order in memory is nobody's business
                before = x.copy()
                mean = mpi_util.allmean(x)
                assert mean.dtype == dtype and mean.shape == x.shape
                assert len(set(comm.allgather(mean.tobytes()))) == 1
                np.testing.assert_array_equal(x, before)
                exact = np.mean(np.asarray(comm.allgather(x), 'float64'), axis=0)
                np.testing.assert_allclose(mean, exact, rtol=0, atol=4 * np.finfo(dtype).eps)
        assert mpi_util.allmean(comm.rank) == 1.0
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
        from onpolicybaselines.common.mpi_util import abort_on_exception, allmean, rank
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


@pytest.mark.parametrize('status', ['', '0'])
def test_successful_exit_of_one_rank_is_no_failure(mpirun, status):
    result = mpirun(2, f"""
        import sys
        from onpolicybaselines.common.mpi_util import abort_on_exception, rank
        with abort_on_exception():
            if rank() == 1:
                sys.exit({status})
        print('finished')
    """)
    assert result.returncode == 0 and result.stdout.strip() == 'finished', result.stderr


def test_abort_on_exception_in_a_world_of_one():
    with pytest.raises(KeyError, match='passes'), mpi_util.abort_on_exception():
        raise KeyError('passes')


COLLECTIVES = """
    import json, os, platform, sys
    from onpolicybaselines.common import mpi_util
    comm = mpi_util.get_comm()
    rank = comm.rank
    out = {'local': mpi_util.get_local_rank_size(comm)}

    os.makedirs(os.path.join(sys.argv[1], str(rank)))
    os.chdir(os.path.join(sys.argv[1], str(rank)))
    node = platform.node
    platform.node = lambda: f'machine{min(rank, 1)}'  # rank 0 alone on one, the others on the other machine
    out['local on two machines'] = mpi_util.get_local_rank_size(comm)
    if rank == 0:
        os.makedirs('sub')
        with open('sub/file', 'wb') as fh:
            fh.write(bytes(range(256)))
        with open('file', 'wb') as fh:
            fh.write(b'')
    mpi_util.share_file(comm, 'sub/file')
    mpi_util.share_file(comm, 'file')
    out['shared'] = os.path.exists('file') and open('sub/file', 'rb').read().hex()
    platform.node = node

    out['all'] = mpi_util.allgather(rank)
    out['mean'] = mpi_util.dict_gather(comm, {'a': rank, 'b': 1.0})
    out['sum'] = mpi_util.dict_gather(comm, {'a': rank}, op='sum')
    d = {'a': rank} if rank else {}
    out['some'] = mpi_util.dict_gather(comm, d, assert_all_have_data=False)
    try:
        mpi_util.dict_gather(comm, d)
    except RuntimeError as e:
        out['missing'] = str(e)

    name2valcount = [{'a': (10, 2), 'b': (20, 3)}, {'a': (19, 1), 'c': (42, 3)}, {}][rank]
    out['weighted'] = mpi_util.mpi_weighted_mean(comm, name2valcount)

    mpi_util.setup_mpi_gpus()
    out['gpu'] = os.environ['CUDA_VISIBLE_DEVICES']
    everything = comm.gather(out)
    if rank == 0:
        print(json.dumps(everything, default=float))
"""


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    """A stand-in for NVIDIA's program, first on the PATH, that lists two GPUs."""
    program = tmp_path / 'nvidia-smi'
    program.write_text('#!/bin/sh\necho "NVIDIA A"\necho "NVIDIA B"\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    return program


def test_collectives_on_three_ranks(mpirun, tmp_path, two_gpus):
    result = mpirun(3, COLLECTIVES, tmp_path)
    assert result.returncode == 0, result.stderr
    outs = json.loads(result.stdout)
    assert [out['local'] for out in outs] == [[0, 3], [1, 3], [2, 3]]
    assert [out['local on two machines'] for out in outs] == [[0, 1], [0, 2], [1, 2]]
    content = bytes(range(256)).hex()
    assert [out['shared'] for out in outs] == [content, content, False]
    for out in outs:
        assert out['all'] == [0, 1, 2]
        assert out['mean'] == {'a': 1.0, 'b': 1.0}
        assert out['sum'] == {'a': 3}
        assert out['some'] == {'a': 1.5}
        assert out['missing'] == "only 2 out of 3 MPI ranks have sent 'a'"
    assert [out['weighted'] for out in outs] == [{'a': 13.0, 'b': 20.0, 'c': 42.0}, {}, {}]
    assert [out['gpu'] for out in outs] == ['0', '1', '0']


def test_collectives_without_a_communicator(tmp_path):
    assert mpi_util.get_local_rank_size(None) == (0, 1)
    assert mpi_util.allgather('x') == ['x']
    assert mpi_util.dict_gather(None, {'a': 1}) == {'a': 1}
    with pytest.raises(ValueError, match="'mean' or 'sum', got 'max'"):
        mpi_util.dict_gather(None, {}, op='max')
    mpi_util.share_file(None, tmp_path / 'missing')
    assert list(tmp_path.iterdir()) == []


def test_weighted_mean_leaves_out_what_is_no_number():
    with pytest.warns(UserWarning, match='non-float name=text'):
        assert mpi_util.mpi_weighted_mean(None, {'name': ('text', 2), 'a': ('1.5', 1)}) == {'a': 1.5}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert mpi_util.mpi_weighted_mean(None, {'a': (2, 3)}) == {'a': 2.0}


def test_gpus(two_gpus, monkeypatch):
    assert mpi_util.gpu_count() == 2
    mpi_util.setup_mpi_gpus()
    assert os.environ['CUDA_VISIBLE_DEVICES'] == '0'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '1')
    mpi_util.setup_mpi_gpus()
    assert os.environ['CUDA_VISIBLE_DEVICES'] == '1'
    two_gpus.write_text('#!/bin/sh\necho "no driver"\nexit 9\n')
    assert mpi_util.gpu_count() == 0
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    mpi_util.setup_mpi_gpus()
    assert os.environ['CUDA_VISIBLE_DEVICES'] == ''
    monkeypatch.setenv('PATH', '')
    assert mpi_util.gpu_count() == 0
