"""A package that only some uses need is missing: every entry point says so in one line, with the command."""
import os
import subprocess
import sys

import pytest

from onpolicybaselines.common.extras import EXTRAS, how_to_install, need

RUN = '-m onpolicybaselines.run --num_timesteps=0 --log_path={folder}'
FILM = '--save_video_interval=10 --play --play_episodes=1'
# command, missing package
TABLE = [
    (f'{RUN} --env=PongNoFrameskip-v4', 'ale_py'), (f'{RUN} --env=ALE/Pong-v5', 'ale_py'),
    (f'{RUN} --env=CartPole-v1 {FILM}', 'pygame'), (f'{RUN} --env=CartPole-v1 {FILM}', 'imageio_ffmpeg'),
    (f'{RUN} --track', 'wandb'),
    ('-m onpolicybaselines.results_plotter --dirs {folder}', 'matplotlib'),
    ('-m onpolicybaselines.results_plotter --dirs {folder}', 'pandas'),
    *((f'-m run.{figure} --plot-only --folder {{folder}}', 'matplotlib') for figure in ('fig1', 'fig2', 'fig3', 'why')),
    ('-m run.fig4 --plot-only --folder {folder}', 'pandas'), ('-m run.fig5 --folder {folder}', 'rliable'),
    ('-m run.bench --what cost --folder {folder}', 'matplotlib'), ('-m run.bench --what ranks', 'mpi4py'),
    ('-m run.bench --what atari', 'ale_py'), ('-m run.bench --what checkpoints', 'cv2'), ('-m run.diff x', 'pygments')]
# modules and what is called of them in a script
LIBRARY = [
    ('onpolicybaselines.common.plot_util', '', 'matplotlib'), ('onpolicybaselines.common.plot_util', '', 'pandas'),
    ('onpolicybaselines.results_plotter', '', 'pandas'),
    ('onpolicybaselines.logger', '.read_csv("x")', 'pandas'),
    ('onpolicybaselines.logger', '.read_tb("x")', 'pandas'),
    ('onpolicybaselines.bench.monitor', '.load_results(".")', 'pandas')]


@pytest.fixture
def python_without(tmp_path):
    """A function that runs Python with these words and without a package; returns (exit status, stdout, stderr)."""
    (tmp_path / 'block').mkdir()
    (tmp_path / 'block/sitecustomize.py').write_text(
        'import os, sys\nsys.modules.update(dict.fromkeys(os.environ["BLOCKED"].split()))')

    def run(package, *words, **environment):
        path = os.pathsep.join([str(tmp_path / 'block'), *filter(None, [os.environ.get('PYTHONPATH')])])
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, env={
            **os.environ, 'PYTHONPATH': path, 'BLOCKED': package, 'DISPLAY': '', **environment})
        return done.returncode, done.stdout, done.stderr
    return run


@pytest.mark.parametrize('command, package', TABLE, ids=[f'{p} {c.split()[1]}' for c, p in TABLE])
def test_a_missing_package_is_one_line(command, package, python_without, tmp_path):
    status, _, error = python_without(package, *command.format(folder=tmp_path / 'folder').split())
    assert status == 2 and error.startswith('error: ') and error.count('\n') == 1, error
    assert f"pip install 'onpolicybaselines[{EXTRAS[package]}]'" in error


@pytest.mark.parametrize('module, call, package', LIBRARY, ids=[f'{m}{c} {p}' for m, c, p in LIBRARY])
def test_in_scripts_it_is_an_import_error(module, call, package, python_without):
    status, _, error = python_without(package, '-c', f'import {module} as module\nmodule{call}')
    last = error.splitlines()[-1]
    assert status == 1 and last.startswith('onpolicybaselines.common.extras.NotInstalled: '), error
    assert last.endswith(f"{package} is not installed: pip install 'onpolicybaselines[{EXTRAS[package]}]'"), error


def test_tensorboard(python_without, tmp_path):
    """Which TensorFlow would miss later."""
    status, _, error = python_without('tensorboard', *RUN.format(folder=tmp_path / 'run').split(),
                                      OPENAI_LOG_FORMAT='tensorboard')
    assert (status, error) == (2, 'error: tensorboard is not installed: pip install tensorboard\n')


def test_mpi4py_under_a_launcher(python_without, tmp_path):
    status, _, error = python_without('mpi4py', *RUN.format(folder=tmp_path).split(), PMI_RANK='0', PMI_SIZE='2')
    assert status == 2 and error.count('\n') == 1 and error.endswith("pip install 'onpolicybaselines[mpi]'\n"), error


def test_what_is_there_is_not_missed():
    need('json', 'numpy')
    assert how_to_install('matplotlib', 'rliable', 'pandas') == "pip install 'onpolicybaselines[plots,figures]'"
