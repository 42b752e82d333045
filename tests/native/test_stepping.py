"""What is compiled is kept, found again, and made anew where it cannot be."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytest.importorskip('numba')

from onpolicybaselines.native import physics, stepping, tasks  # noqa: E402

PACKAGE = pathlib.Path(stepping.__file__).parents[1]


def start(*tasks, path=PACKAGE.parent, **environ):
    """The steps of a new process, by the package at `path`: seconds of CPU for the Steppers, how many of them the cache
    had, and observations after a few steps."""
    done = subprocess.run([sys.executable, '-c', '''if True:
        import json, sys, time
        import numba, numpy as np
        numba.njit('(int64,)')(lambda x: x)  # numba's own start
        from onpolicybaselines.common.cmd_util import make_env
        from onpolicybaselines.native import NativeVecEnv, known
        seconds, hits, obs = 0., 0, []
        for name in sys.argv[1:]:
            env = make_env(name + '-v5', 'mujoco', seed=0)
            task, begin = known.task_of(env.unwrapped), time.process_time()
            numbers = known.numbers_of(env.unwrapped, task)
            stepper = known.stepper_of(task, numbers, env.observation_space, np.dtype('float32'))
            seconds += time.process_time() - begin
            hits += stepper.function.cache_hits
            venv = NativeVecEnv([env])
            actions = np.full([1, *env.action_space.shape], .3, 'float32')
            obs += [venv.reset().tolist()] + [venv.step(actions)[0].tolist() for _ in range(30)]
        print(json.dumps([seconds, hits, obs]))
        ''', *(tasks or ['InvertedPendulum'])], cwd=path, env={**os.environ, 'PYTHONPATH': str(path), **environ},
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_second_process_loads_what_the_first_compiled(tmp_path):
    """In less than half a second."""
    first, second = (start(NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert (first[1], second[1]) == (0, 1) and second[0] < 0.5 < first[0]
    assert first[2] == second[2]
    index = [path.name for path in tmp_path.rglob('*.nbi')]
    assert len(index) == 1 and 'step_InvertedPendulum' in index[0]


def test_tasks_of_several_processes(tmp_path):
    """Machine code from the cache, whose parts have names that may be the same."""
    cache = {'NUMBA_CACHE_DIR': str(tmp_path)}
    apart = [start(task, **cache) for task in ('HalfCheetah', 'InvertedPendulum')]
    together = start('HalfCheetah', 'InvertedPendulum', **cache)
    assert together[1:] == [2, apart[0][2] + apart[1][2]]


def test_changed_code_is_compiled_again(tmp_path):
    """Also if it is in another file than the function in the cache."""
    shutil.copytree(PACKAGE, tmp_path / 'onpolicybaselines', ignore=shutil.ignore_patterns('__pycache__'))
    cache = {'NUMBA_CACHE_DIR': str(tmp_path / 'cache')}
    before = start(path=tmp_path, **cache)
    path = tmp_path / 'onpolicybaselines' / 'native' / 'arithmetic.py'
    path.write_text(path.read_text() + '\n')
    after = start(path=tmp_path, **cache)
    assert (before[1], after[1]) == (0, 0) and before[2] == after[2]


def test_no_folder_for_the_cache(tmp_path):
    """Nothing but the start takes longer."""
    shutil.copytree(PACKAGE, tmp_path / 'onpolicybaselines', ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'onpolicybaselines' / 'native' / '__pycache__').touch()  # no folder
    nowhere = {name: '/dev/null' for name in ('HOME', 'XDG_CACHE_HOME')}
    assert start(path=tmp_path, **nowhere)[1:] == [0, start()[2]]


def test_damaged_cache(tmp_path):
    """As a machine that loses its power may leave it."""
    expected = start(NUMBA_CACHE_DIR=str(tmp_path))
    cache = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert cache
    for path in cache:
        path.write_bytes(path.read_bytes()[:100])
    assert start(NUMBA_CACHE_DIR=str(tmp_path))[2] == expected[2]


def test_without_a_blas_that_is_known(pair, monkeypatch):
    """Steps are compared, as ever: either they are the same, or they are not native."""
    from onpolicybaselines.native import known
    monkeypatch.setattr(physics, 'ddot', lambda: 0)
    try:
        both = pair('Reacher-v5')
    except known.NotNative as reason:
        assert 'native steps differ' in str(reason)
        return
    both.reset()
    for _ in range(1000):
        both.step(both.actions())


def test_every_task_has_its_own_functions():
    """Those that it does not share with another."""
    functions = {name: [getattr(task, name) for name in tasks.FUNCTIONS] for name, task in vars(tasks).items()
                 if isinstance(task, type) and issubclass(task, tasks.Task)}
    assert len(functions) == 13
    for name, own in functions.items():
        assert name == 'Task' or own != functions['Task'], name
