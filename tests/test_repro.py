"""The paper's figures: what is run, in which processes, and what is drawn of it."""
import collections
import csv
import dataclasses
import gzip
import importlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from rliable import metrics

from onpolicybaselines.bench.benchmarks import get_benchmark
from run import baselines, fig1, fig2, fig3, fig6, shrink, why
from run.experiments import experiment, jobs
from run.experiments.experiment import Experiment, Method
from run.experiments.jobs import Job, Worker, run_jobs
from run.plots import curves, titles
from run.reproduce import main

ROOT = pathlib.Path(__file__).parents[1]
FIGURES = {name: importlib.import_module(f'run.{name}').EXPERIMENT
           for name in ('fig3', 'fig4', 'fig5', 'fig6', 'fig7', 'filter_update', 'why', 'baselines', 'ppo')}
OPTIONS = ('--alg=trpo_mpi', '--env=Reacher-v5', '--timesteps_per_batch=256', '--seed=0')
GAUSSIAN = (*OPTIONS, '--policy=gaussian')
FLOW = (*OPTIONS, '--policy=flow', '--flow_layers=1')


# ---------------------------------------------------------------- training

def content(folder):
    """Logs of a run without times."""
    texts = {}
    for name in jobs.LOGS:
        packed = folder / f'{name}.gz'
        lines = (gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()).decode()
        rows = csv.DictReader(line for line in lines.splitlines() if not line.startswith('#'))
        texts[name] = [{k: v for k, v in row.items() if k not in ('t', 'TimeElapsed')} for row in rows]
    return texts


def config(folder):
    return json.loads((folder / 'config.json').read_text())


@pytest.mark.slow
def test_second_run_of_a_worker_is_that_of_a_process_of_its_own(tmp_path):
    """To the bit; and a failure before it does no harm. The process of its own is the line that --dry-run prints."""
    alone = Job(str(tmp_path / 'alone'), 512, FLOW)
    first, second = (Job(str(tmp_path / name), 512, options) for name, options in [('1', GAUSSIAN), ('2', FLOW)])
    wrong = Job(str(tmp_path / 'wrong'), 512, (*GAUSSIAN, '--max_kl=-1'))
    assert run_jobs([first, wrong, second]) == [wrong]
    (tmp_path / 'alone').mkdir()
    (tmp_path / 'alone' / '0.monitor.csv.gz').write_text('a run of fewer steps')
    subprocess.run(alone.command, shell=True, check=True, cwd=ROOT)
    assert content(tmp_path / '2') == content(tmp_path / 'alone')
    assert len(content(tmp_path / '2')['progress.csv']) == 2
    a, b = config(tmp_path / '2'), config(tmp_path / 'alone')
    assert a['command'][:-1] == b['command'][:-1] == ['python', '-m', 'onpolicybaselines.run', *second.arguments[:-1]]
    assert a['ranks'] == 1 and a['alg_kwargs'] == b['alg_kwargs']
    assert sorted(p.name for p in (tmp_path / '2').iterdir()) == ['0.monitor.csv.gz', 'config.json', 'progress.csv.gz']
    assert 'max_kl' in wrong.error() and wrong.error().startswith('error: ')


DEADLY = '''
import os, signal
import gymnasium as gym
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv

class Deadly(ReacherEnv):
    def step(self, action):
        os.kill(os.getpid(), signal.SIGKILL)

gym.register('Deadly-v0', Deadly, max_episode_steps=50)
'''


def test_death_of_a_worker_is_the_failure_of_one_run(tmp_path, monkeypatch, capsys):
    """Killed as the kernel does when memory is short. The others are trained; the folders of failed runs say why."""
    (tmp_path / 'deadly.py').write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    experiment = Experiment(name='some', title='Some', tasks={'deadly:Deadly-v0': 256, 'Reacher-v5': 256}, seeds=1,
                            methods={'gaussian': Method('Gaussian', ('--policy=gaussian',), 'blue')},
                            options=('--timesteps_per_batch=256',), smoke_steps=256)
    arguments = ['--folder', str(tmp_path / 'runs'), '-j', '1']
    assert main(experiment, arguments) == 1
    printed = capsys.readouterr()
    folder = tmp_path / 'runs' / 'deadly:Deadly-v0' / 'gaussian' / 'seed_0'
    assert f'failed: {folder}: the worker process died' in printed.err
    assert 'worker process died' in (folder / 'error.txt').read_text()
    assert experiment.jobs(str(tmp_path / 'runs'), {'Reacher-v5': 256}, ['gaussian'], 1)[0].finished()
    assert (tmp_path / 'runs' / 'some.png').exists()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A Gaussian's run, in a folder where one had been killed."""
    folder = tmp_path_factory.mktemp('finished')
    (folder / '0.monitor.csv').write_text('# the run was killed\n')
    job = Job(str(folder), 256, GAUSSIAN)
    assert not job.finished()
    environment = dict(os.environ)
    assert not run_jobs([job])
    assert os.environ == environment
    return job


def test_finished_runs_are_kept_and_interrupted_ones_begin_again(finished):
    job, monitor = finished, pathlib.Path(finished.folder) / '0.monitor.csv.gz'
    assert job.finished() and not monitor.with_suffix('').exists()
    written = monitor.stat().st_mtime_ns
    assert not run_jobs([job, Job(job.folder, 128, GAUSSIAN)])
    assert monitor.stat().st_mtime_ns == written
    assert not Job(job.folder, 512, GAUSSIAN).finished()


def test_a_shorter_run_is_kept_until_the_longer_one_has_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', sys.argv)
    for name, value in jobs.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    short, wrong, longer = (Job(str(tmp_path / 'run'), steps, (*GAUSSIAN, *options))
                            for steps, options in ((256, ()), (512, ('--max_kl=-1',)), (512, ())))
    kept = tmp_path / 'run.old'
    assert jobs.train(short)
    assert not jobs.train(wrong) and not short.finished()
    assert Job(str(kept), 256, ()).finished()
    assert jobs.train(longer) and longer.finished() and not kept.exists()


def test_a_worker_that_died_idle_is_replaced(tmp_path):
    worker = Worker()
    first = Job(str(tmp_path / 'first'), 256, ('--env=Reachr-v5',))
    assert not worker.train(first) and 'Reacher' in first.error()
    process, = worker._executor._processes.values()
    process.kill()
    process.join()
    second = Job(str(tmp_path / 'second'), 256, GAUSSIAN)
    assert worker.train(second) and second.finished()
    worker._executor.shutdown()


def start_session(folder, *arguments):
    """`run.fig3` as a terminal starts it: a session of its own, so that an interrupt goes to all its processes, which
    a shell's background jobs ignore."""
    command = [sys.executable, '-m', 'run.fig3', '--tasks', 'Reacher-v5', '--methods', 'gaussian', '--seeds', '3',
               '-j', '1', '--folder', str(folder), *arguments]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_alive(session):
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize('everywhere', [True, False], ids=['terminal', 'kill -INT'])
def test_interrupt_ends_all_and_keeps_what_is_finished(everywhere, tmp_path):
    first, second = (tmp_path / 'Reacher-v5' / 'gaussian' / f'seed_{n}' for n in (0, 1))
    job, = fig3.EXPERIMENT.jobs(str(tmp_path), {'Reacher-v5': 1_000_000}, ['gaussian'], 1)
    first.mkdir(parents=True)  # the run of a worker: tested above
    (first / '0.monitor.csv.gz').write_bytes(b'')
    (first / 'config.json').write_text('{"args": {"num_timesteps": 1000000.0}}')
    with start_session(tmp_path) as process:
        progress = second / 'progress.csv'
        wait_for(lambda: progress.exists() and len(progress.read_text().splitlines()) > 2)
        (os.killpg if everywhere else os.kill)(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith('interrupted: 1 of 3 runs are finished') and 'Traceback' not in err
    assert job.finished() and not (second / '0.monitor.csv.gz').exists()
    wait_for(lambda: not is_alive(process.pid), 20)


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    with start_session(tmp_path) as process:
        wait_for(lambda: (tmp_path / 'Reacher-v5' / 'gaussian' / 'seed_0' / 'config.json').exists())
        process.kill()
    wait_for(lambda: not is_alive(process.pid), 20)


def test_mpi_workers_train_as_single_ranks(mpirun, tmp_path, finished):
    """Two ranks: one hands out the runs, the other has them trained. A run that fails ends nobody."""
    program = tmp_path / 'program.py'
    program.write_text(f'''
from run.experiments.jobs import Job, run_jobs
if __name__ == '__main__':
    wrong, good = [Job({str(tmp_path)!r} + '/' + name, 256, {GAUSSIAN!r} + options)
                   for name, options in [('wrong', ('--max_kl=-1',)), ('good', ())]]
    print([job.folder for job in run_jobs([wrong, good])] == [wrong.folder])
''')
    launcher = f'''
import runpy, sys
sys.argv = ['mpi4py.futures', {str(program)!r}]
runpy.run_module('mpi4py.futures', run_name='__main__', alter_sys=True)
'''
    result = mpirun(2, launcher)
    assert result.returncode == 0 and result.stdout.strip() == 'True', result.stderr
    assert config(tmp_path / 'good')['ranks'] == 1
    assert content(tmp_path / 'good') == content(pathlib.Path(finished.folder))


OTHER_PROGRAM = """
import os, sys

def main(argv):
    folder = argv[-1].removeprefix('--log_path=')
    with open(folder + '/config.json', 'w') as fh:
        fh.write('{"args": {"num_timesteps": 256}}')
    for name in ('progress.csv', '0.monitor.csv'):
        with open(os.path.join(folder, name), 'w') as fh:
            fh.write('tensorflow' if 'tensorflow' in sys.modules else 'alone')
"""


@pytest.mark.slow
def test_a_worker_has_one_program(tmp_path, monkeypatch, finished):
    """TensorFlow and what another program needs are not in one process; and of that neither model nor checkpoints."""
    (tmp_path / 'other_program.py').write_text(OTHER_PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    other = Job(str(tmp_path / 'other'), 256, (), 'other_program')
    ours = [Job(str(tmp_path / name), 256, GAUSSIAN) for name in '12']
    assert not run_jobs([ours[0], other, ours[1]])
    assert other.finished() and gzip.decompress((tmp_path / 'other' / '0.monitor.csv.gz').read_bytes()) == b'alone'
    assert '-m other_program' in other.command
    assert content(tmp_path / '2') == content(pathlib.Path(finished.folder))


@pytest.mark.parametrize('name', ['TimestepsSoFar', 'misc/total_timesteps', 'total_timesteps', 'time/total_timesteps'])
def test_steps_of_a_run_under_way(name, tmp_path):
    """As the logs of TRPO, PPO2, A2C and SB3 call them."""
    job = Job(str(tmp_path), 300, ())
    assert job.steps_so_far() == 0
    (tmp_path / 'progress.csv').write_text(f'fps,{name}\n7,128\n8,256\n')
    assert job.steps_so_far() == 256


@pytest.mark.slow
def test_sb3_leaves_what_a_run_of_ours_does(tmp_path):
    """In a process of its own; the readers of curves take it."""
    pytest.importorskip('stable_baselines3')
    folder = tmp_path / 'Hopper-v5' / 'sb3' / 'seed_0'
    job = Job(str(folder), 2048, ('--env=Hopper-v5', '--seed=0'), 'run.experiments.sb3')
    assert not run_jobs([job])
    run, = curves.load(FIGURES['ppo'], str(tmp_path))['Hopper-v5']['sb3']
    assert run.steps == 2048 and len(run.returns) > 20 and 0 < run.final() < 200
    assert config(folder)['versions']['stable_baselines3']


def test_launcher_without_futures_is_an_error(mpirun):
    result = mpirun(2, '''
from run.experiments.jobs import make_pool
from onpolicybaselines.common.errors import UsageError
try:
    make_pool(1)
except UsageError as e:
    print(e)
''')
    assert result.stdout.count('mpi4py.futures -m run.figN') == 2, result.stderr


# ---------------------------------------------------------------- grids

@pytest.mark.parametrize('name', FIGURES)
def test_smoke_has_every_task_and_method_once(name, capsys):
    experiment = FIGURES[name]
    assert main(experiment, ['--scale', 'smoke', '--dry-run', '--folder', 'nowhere']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(experiment.tasks) * len(experiment.methods) * (2 if name == 'fig6' else 1)
    assert len({line.rpartition('--log_path=')[2] for line in lines}) == len(lines)
    batches = {'--alg=trpo_mpi': 1024, '--alg=acktr_cont': 2500, '--alg=ppo2': 2048}
    assert all(f'--num_timesteps={experiment.smoke_steps}' in line for line in lines)
    alg, *_ = experiment.options or next(iter(experiment.methods.values())).options
    assert experiment.smoke_steps >= 2 * batches[alg]


def test_the_papers_steps_and_seeds():
    benchmark = {task['env_id']: task for task in get_benchmark('TangAgrawal2018')['tasks']}
    assert {task: steps for task, steps in experiment.GYM.items() if task != 'Swimmer-v5'} == {
        task: entry['num_timesteps'] for task, entry in benchmark.items()}
    assert {entry['trials'] for entry in benchmark.values()} == {fig3.EXPERIMENT.seeds}
    assert fig6.EXPERIMENT.tasks['HalfCheetah-v5'] == experiment.GYM['HalfCheetah-v5'] == 2_000_000
    assert [FIGURES[f'fig{n}'].seeds for n in range(3, 8)] == [5, 2, 3, 30, 5]


def test_draws_cover_the_range_of_the_paper():
    draws = [fig6.draw(n)[1] for n in range(30)]
    exponents = np.sort([np.log10(float(kl.partition('=')[2])) for kl, _ in draws])
    assert -3 <= exponents[0] < -2.8 and -2.2 < exponents[-1] <= -2
    assert {seed for _, seed in draws} == {f'--seed={s}' for s in range(5)}


def test_full_scale_alone_writes_into_results(capsys):
    for arguments, folder in [((), 'results/fig3'), (('--scale', '1.0'), 'results/fig3'),
                              (('--scale', '0.10'), 'runs/scale-0.1/fig3'), (('--steps', '9'), 'runs/steps-9/fig3'),
                              (('--scale', 'smoke'), 'runs/scale-smoke/fig3')]:
        main(fig3.EXPERIMENT, ['--dry-run', '--seeds', '99', '--tasks', 'Ant-v5', *arguments])
        assert f'--log_path={folder}/Ant-v5/gaussian/seed_98' in capsys.readouterr().out
    assert '/runs/' in (ROOT / '.gitignore').read_text().split()


def test_methods_named_twice_are_run_once(capsys):
    main(fig3.EXPERIMENT, ['--dry-run', '--seeds', '1', '--folder', 'nowhere', '--tasks', 'Ant-v5', 'Ant-v5',
                           '--methods', 'flow', 'flow', '--steps', '1e6'])
    line, = capsys.readouterr().out.splitlines()
    assert '--num_timesteps=1000000 ' in line and '--fisher=hessian' in line


def test_commands_may_be_read_in_part():
    command = f'{sys.executable} -m run.fig3 --dry-run --folder nowhere | head -1'
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.count('\n') == 1 and not result.stderr


def test_a_missing_package_is_named_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'rliable', None)
    assert main(fig3.EXPERIMENT, ['--folder', str(tmp_path / 'runs')]) == 2
    assert "rliable is not installed: pip install 'onpolicybaselines[figures]'" in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('arguments', [['--scale', '0'], ['--scale', 'small'], ['--tasks', 'Hoper-v5'],
                                       ['--methods', 'flows'], ['--seeds', '0'], ['-j', '0'], ['--steps', '-1'],
                                       ['--steps', '9', '--scale', '2']])
def test_bad_arguments(arguments, capsys, tmp_path):
    with pytest.raises(SystemExit) as e:
        main(fig3.EXPERIMENT, ['--plot-only', '--folder', str(tmp_path), *arguments])
    assert e.value.code == 2 and arguments[0] in capsys.readouterr().err.splitlines()[-1]


# ---------------------------------------------------------------- curves

def write_run(folder, returns, length=10, steps=None):
    """A finished run with episodes of equal length."""
    os.makedirs(folder)
    rows = ''.join(f'{r},{length},{i}.5\n' for i, r in enumerate(returns))
    with gzip.open(os.path.join(folder, '0.monitor.csv.gz'), 'wt') as fh:
        fh.write('# {"t_start": 0.0, "env_id": "Reacher-v5"}\nr,l,t\n' + rows)
    with gzip.open(os.path.join(folder, 'progress.csv.gz'), 'wt') as fh:
        fh.write('TimestepsSoFar,EpLenMean,entropy,neg_curvature\n')
        fh.writelines(f'{500 * i},{length},{-i},{int(i > 0)}\n' for i in range(4))
    with open(os.path.join(folder, 'config.json'), 'w') as fh:
        json.dump({'args': {'num_timesteps': steps or length * len(returns)}}, fh)


@pytest.fixture
def folder(tmp_path):
    """Three runs on each of two tasks, Gaussian from 0 to 1 and flow from 0 to 2, half the steps of the paper."""
    generator = np.random.default_rng(0)
    for task in ('Reacher-v5', 'Hopper-v5'):
        for name, height in (('gaussian', 1), ('flow', 2)):
            for n in range(3):
                path = fig3.EXPERIMENT.folder(str(tmp_path), task, name, n)
                write_run(path, np.linspace(0, height, 1000) + 0.01 * generator.normal(size=1000) + 0.1 * n, 500)
    return tmp_path


def test_a_point_of_a_curve_is_the_mean_of_the_episodes_before_it(tmp_path):
    grid = np.arange(5., 251., 5.)  # a window of 5
    run = curves.Run(np.array([10, 12, 14, 50]), np.array([1., 2., 6., 7.]), 60)
    curve = dict(zip(grid, run.curve(grid), strict=True))
    assert np.isnan(curve[5]) and curve[10] == 1
    assert curve[15] == 4   # the two that ended in (10, 15]
    assert curve[45] == 6   # none in the window: the last one
    assert curve[50] == 7 and curve[60] == 7 and np.isnan(curve[65])
    assert run.final() == 4
    assert run.until(20).final() == 3 and run.until(60) is run


def test_statistics_are_those_of_rliable():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(5, 3, 7))
    np.testing.assert_allclose(curves.iqm(scores), [metrics.aggregate_iqm(scores[..., i]) for i in range(7)])
    one, other = generator.integers(0, 4, size=(2, 5, 3)).astype(float)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(curves.probability_of_improvement(one, other),
                               metrics.probability_of_improvement(one, other))


def test_intervals_cover_and_repeat():
    """Of a mean of 30 normal scores: 1.96 standard errors on each side, give or take (bootstrap, one sample)."""
    scores = np.random.default_rng(1).normal(size=(30, 1, 1))
    mean, (low, high) = curves.interval(lambda s: s.mean(axis=(0, 1)), scores)
    error = scores.std() / np.sqrt(30)
    np.testing.assert_allclose([mean - low, high - mean], np.full((2, 1), 1.96 * error), rtol=0.15)
    np.testing.assert_equal(curves.interval(lambda s: s.mean(axis=(0, 1)), scores)[1], [low, high])


def test_normalized_scores(folder):
    scores = curves.normalized(curves.load(fig3.EXPERIMENT, str(folder)))
    assert {name: score.shape for name, score in scores.items()} == dict.fromkeys(('gaussian', 'flow'),
                                                                                 (3, 2, curves.POINTS))
    assert abs(np.mean([score[..., 0].mean() for score in scores.values()])) < 0.05
    assert 0.9 < scores['flow'][..., -1].mean() < 1.1 and 0.4 < scores['gaussian'][..., -1].mean() < 0.6


def test_runs_of_a_task_are_cut_at_the_end_of_its_shortest(folder):
    """One run of half the length would lower the mean of its method if the others had all their steps."""
    runs = curves.load(fig3.EXPERIMENT, str(folder))
    write_run(fig3.EXPERIMENT.folder(str(folder), 'Hopper-v5', 'flow', 3), np.linspace(0, 1, 500), 500)
    cut = curves.load(fig3.EXPERIMENT, str(folder))
    assert [len(cut['Hopper-v5'][name]) for name in ('gaussian', 'flow')] == [3, 4]
    assert {run.steps for methods in cut['Hopper-v5'].values() for run in methods} == {250_000}
    assert all(0.85 < run.final() < 1.2 for run in cut['Hopper-v5']['flow'])
    np.testing.assert_equal(cut['Reacher-v5'], runs['Reacher-v5'])
    assert '| Hopper-v5 | 250,000 |' in curves.tables(fig3.EXPERIMENT, cut)


def test_runs_that_cannot_be_read_are_left_out_and_named(folder, capsys):
    damaged = [fig3.EXPERIMENT.folder(str(folder), 'Hopper-v5', 'flow', n) for n in range(5)]
    for path in damaged[3:]:
        write_run(path, np.ones(1000), 500)
    pathlib.Path(damaged[3], 'progress.csv.gz').write_bytes(gzip.compress(b'neg_curvature\n'))
    pathlib.Path(damaged[4], 'progress.csv.gz').write_bytes(gzip.compress(b'neg_curvature\n' * 99)[:15] + b'?' * 9)
    pathlib.Path(damaged[0], '0.monitor.csv.gz').write_bytes(b'')
    os.remove(os.path.join(damaged[1], 'progress.csv.gz'))
    pathlib.Path(damaged[2], 'config.json').write_text('[]')
    os.rename(fig3.EXPERIMENT.folder(str(folder), 'Hopper-v5', 'gaussian', 2),
              fig3.EXPERIMENT.folder(str(folder), 'Hopper-v5', 'gaussian', 2) + jobs.OLD)
    runs = curves.load(fig3.EXPERIMENT, str(folder))
    assert list(runs['Hopper-v5']) == ['gaussian'] and len(runs['Hopper-v5']['gaussian']) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5 and all(f'left out: {path}: ' in line for path, line in zip(damaged, said, strict=True))


def test_titles_say_what_is_missing(folder):
    experiment = fig3.EXPERIMENT
    runs = curves.load(experiment, str(folder))
    assert curves.figure_title(experiment, runs) == (
        'TRPO on MuJoCo tasks (partial: 2 of 9 tasks, 2 of 9 methods, 3 of 5 seeds, from 25% of the steps)')
    title = curves.panel_title(experiment, 'Hopper-v5', '', runs['Hopper-v5'], 3)
    assert title == 'Hopper-v5, 3 seeds\n(partial: 2 of 3 methods, 3 of 5 seeds, 500k of 2M steps)'
    full = {'flow': [curves.Run(np.ones(1), np.ones(1), 5_000_000)] * 5}
    assert curves.panel_title(experiment, 'rllab/Humanoid-v0', '', full, 1) == 'Humanoid-v0 (L), 5 seeds'


@pytest.mark.parametrize('lacks, shares, title', [
    ([], (1, 1), 'T'), (['2 of 3 seeds'], (), 'T (partial: 2 of 3 seeds)'),
    ([], (.25, .25), 'T (partial: 25% of the steps)'),
    ([], (1, .025), 'T (partial: from 2.5% of the steps)'), ([], (2,), 'T'),
    (['1 of 5 seeds'], (.002, .002), 'T (smoke scale: 1 of 5 seeds, 0.2% of the steps)')])
def test_titles_of_figures(lacks, shares, title):
    assert titles.marked('T', lacks, *shares) == title


def test_a_colour_is_that_of_one_method():
    """In all figures; a dashed line is a variant of the method."""
    methods = [*(method for figure in FIGURES.values() for method in figure.methods.values()), experiment.GMM2]
    colors = collections.defaultdict(set)
    for method in methods:
        if not method.dashed:
            colors[method.color].add(method.label.removesuffix(', Gauss–Newton'))
    assert colors.pop(experiment.FLOW.color) == {'flow', 'K=4, l1=3'}  # which are the same
    assert colors.pop(experiment.GAUSSIAN.color) == {'Gaussian', 'TRPO'}  # whose policy that is
    assert all(len(labels) == 1 for labels in colors.values()), colors


def test_tables(folder):
    text = curves.tables(fig3.EXPERIMENT, curves.load(fig3.EXPERIMENT, str(folder)))
    lines = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')]
    final, improvement, dropped = lines[:4], lines[4:7], lines[-4:]
    table = {row[0]: row[1:] for row in final}
    assert table['task'] == ['steps', 'Gaussian', 'flow']
    assert table['Hopper-v5'][0] == '500,000'
    mean, error = table['Hopper-v5'][1].split(' (')[0].split(' ± ')
    assert 1.0 < float(mean) < 1.1  # the last tenth of the line, and 0.1 on average
    assert abs(float(error) - 0.1 / np.sqrt(3)) < 0.01 and table['Hopper-v5'][1].endswith('(3)')
    assert improvement[0] == ['', 'Reacher-v5', 'Hopper-v5', 'all']
    assert improvement[2] == ['flow over Gaussian', *['1.00 [1.00, 1.00]'] * 3]
    assert ['Hopper-v5', '25.0%', '25.0%'] in dropped


def test_interquartile_means(tmp_path):
    """Of one run its return, of two or three their mean, of five the three in the middle."""
    experiment = FIGURES['ppo']
    for name, height, number in (('gaussian', 100, 5), ('flow', 10, 3), ('sb3', 1, 1)):
        for n in range(number):
            write_run(experiment.folder(str(tmp_path), 'Ant-v5', name, n), np.full(30, height * 2. ** n), 50)
    text = curves.tables(experiment, curves.load(experiment, str(tmp_path)))
    low, high = re.search(r'\| Ant-v5 \| 467 \[(\d+), (\d+)\] \| 1 \| 23 \[10, 40\] \|', text).groups()
    assert 100 <= int(low) < 300 and 1000 < int(high) <= 1600


def write_runs(experiment, folder):
    """Two runs of every method on two tasks."""
    for task in [*experiment.tasks][:2]:
        for i, method in enumerate(experiment.methods):
            for n in range(2):
                write_run(experiment.folder(str(folder), task, method, n), np.arange(30.) * (i + 1) + n, 50)
    return [folder / f'{experiment.name}{end}' for end in ('.png', '-iqm.png', '.md')]


@pytest.mark.parametrize('name', FIGURES)
def test_every_kind_of_figure_is_drawn(name, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, 'REPS', 20)
    files = write_runs(FIGURES[name], tmp_path)
    assert main(FIGURES[name], ['--plot-only', '--folder', str(tmp_path)]) == 0
    assert all(path.stat().st_size for path in files)


def test_where_runs_end_against_how_they_start(tmp_path, monkeypatch):
    """Also of a part of the runs: the lines of one family have points at the starts that it has runs of."""
    monkeypatch.setattr(curves, 'REPS', 20)
    figures = []
    monkeypatch.setattr(curves, 'save', lambda fig, path: figures.append((fig, path)))
    for name, height in (('flow-gn', 1.), ('flow-gn-0.37', 3.), ('gaussian', 2.)):
        for n in range(2):
            write_run(why.EXPERIMENT.folder(str(tmp_path), 'Ant-v5', name, n), np.full(30, height + n), 50)
    why.draw(why.EXPERIMENT, str(tmp_path))
    fig, path = figures[-1]
    assert path == str(tmp_path / 'why-start.png')
    finals, entropy, length = fig.axes
    flow, = (line for line in finals.lines if line.get_label() == 'flow, Gauss–Newton')
    assert flow.get_xydata().tolist() == [[1, 1.5], [0.37, 3.5]]
    assert [line.get_linestyle() for line in entropy.lines] == ['-', '-', '--']
    assert entropy.lines[0].get_xydata().tolist() == [[0, 0], [500, -1], [1000, -2], [1500, -3]]
    assert set(length.lines[0].get_ydata()) == {50}


def test_published_curves_beside_ours(tmp_path, monkeypatch):
    published = tmp_path / 'published.csv'
    published.write_text('task,method,step,mean,low,high\n' + ''.join(
        f'Hopper-v5,trpo_mpi,{step},{step / 10},{step / 10 - 1},{step / 10 + 1}\n' for step in range(0, 1001, 10)))
    experiment = dataclasses.replace(baselines.EXPERIMENT, published=str(published))
    for n in range(2):
        write_run(experiment.folder(str(tmp_path), 'Hopper-v5', 'trpo_mpi', n), np.full(100, 7. + 2 * n))
    runs = curves.load(experiment, str(tmp_path))
    _, ax = curves.plt.subplots()
    curves.plot_published(ax, experiment, 'Hopper-v5', runs['Hopper-v5'])
    assert ax.lines[0].get_xydata()[10].tolist() == [100, 10] and ax.lines[0].get_label() == 'TRPO, published'
    assert '| Hopper-v5 | TRPO | 8.0 ± 1.0 (2) | 95 (94 to 96) |' in curves.tables(experiment, runs)


def test_drawing_again_takes_no_tensorflow_and_changes_no_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, 'REPS', 20)
    files = write_runs(FIGURES['fig4'], tmp_path)
    arguments = ['--plot-only', '--folder', str(tmp_path)]
    main(FIGURES['fig4'], arguments)
    drawn = [path.read_bytes() for path in files]
    code = ('import sys; from run import fig4, reproduce; from run.plots import curves\n'
            f'curves.REPS = 20; reproduce.main(fig4.EXPERIMENT, {arguments})\n'
            'sys.exit("tensorflow" in sys.modules)')
    subprocess.run([sys.executable, '-W', 'error', '-c', code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert [path.read_bytes() for path in files] == drawn


def test_nothing_to_draw_is_said(tmp_path, capsys):
    assert main(fig3.EXPERIMENT, ['--plot-only', '--folder', str(tmp_path)]) == 0
    assert 'fig3: nothing to draw' in capsys.readouterr().err


@pytest.mark.parametrize('figure', [fig1, fig2])
def test_nothing_to_draw_without_training_either(figure, tmp_path, capsys):
    figure.main(['--plot-only', '--folder', str(tmp_path)])
    assert 'nothing to draw' in capsys.readouterr().err and not [*tmp_path.iterdir()]


def test_shrunk_logs_keep_six_digits(tmp_path):
    logs = {'0.monitor.csv': '# {"t_start": 1795967121.593555}\nr,l,t\n-44.85003668504998,24,15.376501\n3.5,1,2\n',
            'progress.csv': 'TimestepsSoFar,meankl,note\n12345678,8.103933017082454e-07,"a, b"\n2,nan,\n'}
    for name, text in logs.items():
        (tmp_path / f'{name}.gz').write_bytes(gzip.compress(text.encode()))
    for _ in range(2):
        shrink.main(['run.shrink', str(tmp_path)])
        assert {name: gzip.decompress((tmp_path / f'{name}.gz').read_bytes()).decode() for name in logs} == {
            '0.monitor.csv': '# {"t_start": 1795967121.593555}\nr,l,t\n-44.85,24,15.38\n3.5,1,2\n',
            'progress.csv': 'TimestepsSoFar,meankl,note\n12345678,8.10393e-07,"a, b"\n2,nan,\n'}
