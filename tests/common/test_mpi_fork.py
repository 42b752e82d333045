import os
import pathlib
import subprocess
import sys

import pytest

from onpolicybaselines.common.mpi_fork import mpi_fork

SCRIPT = """
import os, sys
from onpolicybaselines.common.mpi_fork import mpi_fork
from onpolicybaselines.common.mpi_world import rank, size
if mpi_fork(2, bind_to_core='bind' in sys.argv) == 'parent':
    print('parent of all')
else:
    assert os.environ['OMP_NUM_THREADS'] == '1'
    if 'fail' in sys.argv: sys.exit(1)
    # in one piece, or the ranks' lines may mix
    sys.stdout.write(f'rank {rank()} of {size()} {sys.argv[1:]}\\n')
"""


@pytest.fixture
def launch(tmp_path, mpirun):
    (tmp_path / 'forking.py').write_text(SCRIPT)
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / 'name.py').touch()
    (tmp_path / 'package' / '__main__.py').write_text('from . import name' + SCRIPT)

    def run(*args):
        env = dict(os.environ, PYTHONPATH=str(pathlib.Path(__file__).parents[2]))
        return subprocess.run([sys.executable, *args], cwd=tmp_path, env=env, text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=60)
    return run


@pytest.mark.parametrize('command', [['forking.py', 'an argument'], ['-m', 'package', 'bind']])
def test_runs_the_same_command_as_ranks(launch, command):
    result = launch(*command)
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == ['parent of all'] + [
        f'rank {i} of 2 {command[-1:]}' for i in range(2)]


def test_failure_of_the_ranks_is_the_parents(launch):
    result = launch('forking.py', 'fail')
    assert result.returncode != 0 and 'parent of all' not in result.stdout


def test_one_process_needs_no_fork():
    assert mpi_fork(1) == 'child'


def test_no_mpirun(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'python'))
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(RuntimeError, match=r"no mpirun; pip install 'onpolicybaselines\[mpi\]'"):
        mpi_fork(2)
