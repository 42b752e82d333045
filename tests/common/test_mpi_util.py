import json
import os
import warnings

import pytest

from onpolicybaselines.common import mpi_util, mpi_world

COLLECTIVES = """
    import json, os, platform, sys
    from onpolicybaselines.common import mpi_util, mpi_world
    comm = mpi_world.get_comm()
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

    out['all'] = mpi_world.allgather(rank)
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
    assert mpi_world.allgather('x') == ['x']
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
