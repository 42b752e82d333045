"""Fixtures shared by all tests."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap

import pytest
from closing import ClosingTable

REPOSITORY = pathlib.Path(__file__).parents[1]
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # TensorFlow is imported in a fifth less time


def pytest_addoption(parser):
    parity = parser.getgroup('parity', 'numerical parity with the TF1 originals (tests/parity)')
    parity.addoption('--golden', metavar='DIR', help='folder of traces to compare with (default: tests/golden)')
    parity.addoption('--parity-report', metavar='FILE', help='write the closing table to FILE, in Markdown')


def pytest_configure(config):
    folder = config.getoption('golden')
    if folder is not None and not any(pathlib.Path(folder).glob('*.npz')):
        raise pytest.UsageError(f'--golden={folder}: no trace (*.npz) in that folder')
    config.pluginmanager.register(ClosingTable(config))


@pytest.fixture(scope='session')
def mpirun(tmp_path_factory):
    """A function that runs Python code as MPI ranks: mpirun(nranks, code_or_path, *args, timeout=120).

    The code is text, or the pathlib.Path of a script. Returns a CompletedProcess with the ranks' joint stdout
    and stderr; the exit status is for the caller to check. A job over its time is ended, and the test fails.
    """
    places = os.path.dirname(sys.executable) + os.pathsep + os.environ.get('PATH', os.defpath)
    program = shutil.which('mpirun', path=places)
    if program is None:
        pytest.skip('no mpirun beside the Python interpreter or on the PATH')

    def run(nranks, code_or_path, *args, timeout=120):
        script = code_or_path
        if not isinstance(script, pathlib.Path):
            script = tmp_path_factory.mktemp('mpirun') / 'script.py'
            script.write_text(textwrap.dedent(code_or_path))
        path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / 'tests')))
        env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='3', PYTHONPATH=path)
        command = [program, '-n', str(nranks), sys.executable, str(script), *map(str, args)]
        with subprocess.Popen(command, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.terminate()  # mpirun then ends its ranks; were it killed, they would live on
                out, err = process.communicate()
                pytest.fail(f'mpirun did not end within {timeout} s; stdout:\n{out}\nstderr:\n{err}')
            except BaseException:
                process.terminate()
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return run


@pytest.fixture(autouse=True)
def environment_as_before():
    """What a test's command sets in os.environ, such as the folder of XLA's cache, ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def quiet_logger(tmp_path):
    """A logger of the test's own, which says nothing."""
    from onpolicybaselines import logger
    with logger.scoped_configure(str(tmp_path / 'log'), ['csv']):
        yield


@pytest.fixture
def small_disk():
    """small_disk(folder, size): a context in which the folder is a file system of that size; the test is skipped where
    none can be mounted."""
    @contextlib.contextmanager
    def mounted(folder, size):
        folder.mkdir()
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)],
                          capture_output=True).returncode:
            pytest.skip('a file system cannot be mounted here')
        try:
            yield
        finally:
            subprocess.run(['umount', '-l', str(folder)], check=True)
    return mounted
