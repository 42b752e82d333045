"""Runs of the command line that are ended from outside, and go on."""
import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from onpolicybaselines.common.checkpoint import found
from onpolicybaselines.common.files import TEMPORARY, read_arrays

TIMES = ('TimeElapsed', 'fps', 'misc/time_elapsed')
OPTIONS = {
    'trpo_mpi': ['--env=Hopper-v5', '--policy=flow', '--flow_layers=1', '--flow_units=4', '--timesteps_per_batch=64',
                 '--num_timesteps=3840'],
    'a2c': ['--alg=a2c', '--env=CartPole-v1', '--network=lstm', '--nlstm=8', '--num_env=3', '--num_timesteps=3000',
            '--log_interval=5'],
    'acktr': ['--alg=acktr', '--env=CartPole-v1', '--num_env=3', '--num_hidden=8', '--num_timesteps=6000',
              '--log_interval=5'],
    'acktr_cont': ['--alg=acktr_cont', '--env=Hopper-v5', '--timesteps_per_batch=100', '--vf_iters=2',
                   '--num_timesteps=4000'],
}


def command(ranks, words):
    launcher = [shutil.which('mpirun', path=os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH']), '-n',
                str(ranks)] if ranks > 1 else []
    return [*launcher, sys.executable, '-m', 'onpolicybaselines.run', *words]


def start(ranks, *words):
    return subprocess.Popen(command(ranks, words), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, env={**os.environ, 'OPENAI_LOG_FORMAT': 'log,csv'})


def finish(process, timeout=300):
    _, err = process.communicate(timeout=timeout)
    return process.returncode, err


def until(condition, process, timeout=200, pause=0.005):
    """Whether the condition came true while the process lived."""
    end = time.monotonic() + timeout
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(pause)
    return process.poll() is None


def result(folder):
    """What has to be the same: parameters, tables and episodes, times aside."""
    with open(folder / 'progress.csv', newline='') as fh:
        table = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(fh)]
    episodes = {path.name: [row[:2] for row in csv.reader(path.read_text().splitlines()[1:])]
                for path in sorted(folder.glob('*.monitor.csv'))}
    arrays, _ = read_arrays(folder / 'model.npz')
    return table, episodes, {name: value.tobytes() for name, value in arrays.items()}


@pytest.mark.parametrize(('signum', 'ranks'), [
    pytest.param(signal.SIGINT, 1, id='INT-1'),
    pytest.param(signal.SIGTERM, 2, id='TERM-2', marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, 2, id='INT-2', marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, 1, id='TERM-1', marks=pytest.mark.slow)])
def test_a_signal_saves_and_ends_with_one_line(signum, ranks, tmp_path):
    words = ['--env=Hopper-v5', '--seed=1', '--timesteps_per_batch=64', f'--num_timesteps={64 * 200 * ranks}',
             f'--log_path={tmp_path}/run']
    table = tmp_path / 'run/progress.csv'
    process = start(ranks, *words)
    assert until(lambda: table.exists() and table.stat().st_size, process)
    process.send_signal(signum)
    code, err = finish(process)
    assert code == 128 + signum, err
    assert 'Traceback' not in err and err.count('ended after update') == 1, err
    rows = len(table.read_text().splitlines()) - 1
    assert f'{rows:08d}.0.npz' in os.listdir(tmp_path / 'run/checkpoints') and rows < 200
    code, err = finish(start(ranks, '--resume', f'--log_path={tmp_path}/run'))
    assert code == 0, err
    code, err = finish(start(ranks, *words[:-1], f'--log_path={tmp_path}/whole'))
    assert code == 0, err
    assert result(tmp_path / 'run') == result(tmp_path / 'whole')


def test_a_signal_at_the_start_ends_with_one_line(tmp_path):
    process = start(1, '--env=Hopper-v5', f'--log_path={tmp_path}/run')
    assert until((tmp_path / 'run/config.json').exists, process)
    process.send_signal(signal.SIGTERM)
    code, err = finish(process)
    assert code == 143 and err == 'SIGTERM: ended\n', err


def kill_and_resume(folder, alg, ranks, seconds, np_random):
    """Go on with the run, and kill it, or one of its ranks: at a random moment of so many seconds, or, None, while a
    checkpoint is being written. Returns the number of updates of the last checkpoint and whether a file was half
    written; None if the run ended before."""
    checkpoints = folder / 'checkpoints'
    before = _half_written(checkpoints)
    process = start(ranks, *goes_on(alg, folder))
    victims = [process.pid]
    if ranks > 1:  # to be known in advance: a checkpoint is written in milliseconds
        assert until(lambda: len(_ranks_of(process.pid)) == ranks, process)
        victims = _ranks_of(process.pid)
    if seconds is None:
        wanted, seen = np_random.randrange(1, 6), set()

        def now():
            seen.update(_half_written(checkpoints) - before)
            return len(seen) >= wanted
    else:
        moment = time.monotonic() + np_random.uniform(0, seconds)

        def now():
            return time.monotonic() > moment
    if not until(now, process, pause=0.005 if seconds else 0.0002):
        code, err = finish(process)
        assert code == 0, err
        return None
    with contextlib.suppress(ProcessLookupError):  # a rank that has just ended
        os.kill(np_random.choice(victims), signal.SIGKILL)
    finish(process)
    return max(found(checkpoints), default=0), bool(_half_written(checkpoints) - before)


def goes_on(alg, folder):
    """The words of the command that begins the run or goes on with it."""
    return *OPTIONS[alg], '--seed=1', '--checkpoint_interval=2', f'--log_path={folder}', '--resume'


def _half_written(folder):
    return {name for name in os.listdir(folder) if name.endswith(TEMPORARY)} if folder.exists() else set()


def _ranks_of(launcher):
    """Processes below the launcher that are ranks."""
    children = subprocess.run(['ps', '-e', '-o', 'pid=,ppid=,args='], text=True, capture_output=True).stdout
    below, pids = {launcher}, []
    for line in children.splitlines():
        pid, ppid, args = line.split(None, 2)
        if int(ppid) in below:
            below.add(int(pid))
            if 'onpolicybaselines.run' in args and args.startswith(sys.executable):
                pids.append(int(pid))
    return pids


def check_kills(tmp_path, alg, ranks, kills, seed):
    """Every second kill is meant for the writing of a checkpoint, and one at least has to hit it."""
    np_random = random.Random(seed)
    whole, run = tmp_path / 'whole', tmp_path / 'run'
    begun = time.monotonic()
    code, err = finish(start(ranks, *OPTIONS[alg], '--seed=1', f'--log_path={whole}'))
    assert code == 0, err
    seconds, killed = time.monotonic() - begun, []
    while len(killed) < kills or not any(half for _, half in killed):
        end = kill_and_resume(run, alg, ranks, seconds if len(killed) % 2 else None, np_random)
        if end is not None:
            killed.append(end)
        else:  # it was faster: again from the beginning
            assert result(run) == result(whole)
            shutil.rmtree(run)
    print(f'{alg}, {ranks} ranks, {seconds:.0f} s: (last checkpoint, half written) at the kills: {killed}')
    code, err = finish(start(ranks, *goes_on(alg, run)))
    assert code == 0, err
    assert result(run) == result(whole)


@pytest.mark.parametrize('alg, ranks', [
    ('a2c', 1), pytest.param('trpo_mpi', 1, marks=pytest.mark.slow), pytest.param('a2c', 2, marks=pytest.mark.slow)])
def test_killed_runs_go_on_exactly(alg, ranks, tmp_path):
    check_kills(tmp_path, alg, ranks, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('ranks', [1, 2])
@pytest.mark.parametrize('alg', OPTIONS)
def test_fifty_killed_runs_go_on_exactly(alg, ranks, tmp_path):
    check_kills(tmp_path, alg, ranks, kills=7, seed=ranks)  # 8 times 7


# ---------------------------------------------------------------- outputs that fail

SMALL = ['--env=CartPole-v1', '--num_hidden=8', '--timesteps_per_batch=64', '--num_timesteps=1280', '--seed=1']


def test_a_closed_stdout_is_one_line_and_the_model_is_saved(tmp_path):
    line = ' '.join([*command(1, SMALL), f'--log_path={tmp_path}/run', '| head -1'])
    process = subprocess.run(['bash', '-o', 'pipefail', '-c', line], text=True, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout == f'Logging to {tmp_path}/run\n'
    errors = [line for line in process.stderr.splitlines() if ' steps (' not in line]
    assert errors == ['cannot write to <stdout> (Broken pipe): the run goes on']
    assert len((tmp_path / 'run/progress.csv').read_text().splitlines()) == 21
    assert (tmp_path / 'run/model.npz').exists()


def test_help_into_a_pipe_that_nobody_reads():
    line = ' '.join([*command(1, ['--help']), '| true'])
    process = subprocess.run(['bash', '-o', 'pipefail', '-c', line], text=True, capture_output=True)
    assert (process.returncode, process.stderr) == (0, '')


def test_a_full_disk_is_a_line_for_each_file_and_the_model_is_saved(tmp_path):
    """Files in the folder may grow to 2 kB; the model goes elsewhere, as on another disk."""
    code = f"""
import resource, signal, sys
from onpolicybaselines import run
from onpolicybaselines.session import folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save = folder.save_model
def save_model(*args):
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    save(*args)
run.save_model = save_model
begin = run.start_tensorflow
def start(*args, **kwargs):
    begin(*args, **kwargs)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
run.start_tensorflow = start
run.main(['run', *{[*SMALL, f'--log_path={tmp_path}/run']!r}])
"""
    process = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True)
    assert process.returncode == 0, process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith('cannot write')]
    assert errors == [f'cannot write to {tmp_path}/run/log.txt (File too large): the run goes on'], errors
    assert (tmp_path / 'run/model.npz').exists()


def test_a_signal_that_ends_the_environments_too_is_one_line_and_the_checkpoint_before_stays(tmp_path):
    """As schedulers of clusters send it, to all processes of a job."""
    words = ['--env=Hopper-v5', '--seed=1', '--timesteps_per_batch=96', '--num_env=3', '--native=False',
             '--checkpoint_interval=1', f'--log_path={tmp_path}/run']
    process = subprocess.Popen(command(1, words), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, start_new_session=True)
    assert until(lambda: len(list(tmp_path.glob('run/checkpoints/*.npz'))) == 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    code, err = finish(process)
    assert code == 143 and 'Traceback' not in err, err
    assert len(list(tmp_path.glob('run/checkpoints/*.npz'))) == 2
