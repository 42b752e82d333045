import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import matplotlib
import numpy as np
import pandas
import pytest
from matplotlib.colors import to_hex

from onpolicybaselines import logger, results_plotter
from onpolicybaselines.bench import Monitor, ResultsWriter
from onpolicybaselines.common import plot_util, plotting
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.plot_util import Result
from run.experiments.experiment import FLOW, GAUSSIAN, GMM5

matplotlib.use('Agg')
plt = matplotlib.pyplot
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close('all')


def write_run(folder, rewards, lengths=None, env_id='Hopper-v5', file=''):
    """A run folder with these episodes, 36 seconds each."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = ResultsWriter(str(folder / file), header={'t_start': 100., 'env_id': env_id})
    for i, r in enumerate(rewards):
        writer.write_row({'r': r, 'l': 10 if lengths is None else lengths[i], 't': 36. * (i + 1)})
    writer.close()
    return folder


# plot_util: smoothing

@pytest.mark.parametrize('mode', ['two_sided', 'causal'])
@pytest.mark.parametrize('valid_only', [False, True])
@pytest.mark.parametrize('radius', [0, 1, 3, 30])
def test_smooth_equals_its_definition(mode, valid_only, radius):
    y = np.random.default_rng(0).integers(0, 100, 20)
    expected = np.empty(20)
    for i in range(20):
        low, high = i - radius, i + (radius if mode == 'two_sided' else 0)
        expected[i] = np.mean(y[max(low, 0):high + 1])
        if valid_only and (low < 0 or high > 19):
            expected[i] = np.nan
    np.testing.assert_allclose(plot_util.smooth(y, radius, mode=mode, valid_only=valid_only), expected, rtol=1e-12)


def test_smooth_rejects_other_modes():
    with pytest.raises(ValueError, match="mode='twosided': use 'two_sided' or 'causal'"):
        plot_util.smooth(np.ones(3), 1, mode='twosided')


def slow_ema(xs, xolds, yolds, period, symmetric):
    ys, counts = np.zeros(len(xs)), np.zeros(len(xs))
    for i, x in enumerate(xs):
        for xold, yold in zip(xolds, yolds, strict=True):
            if np.isnan(yold):
                continue
            for seen in [xold <= x, xold >= x] if symmetric else [xold <= x]:
                counts[i] += seen * np.exp(-abs(x - xold) / period)
                ys[i] += seen * np.exp(-abs(x - xold) / period) * yold
    return ys / counts, counts


@pytest.mark.parametrize('symmetric', [False, True])
@pytest.mark.parametrize('low, high', [(None, None), (2.5, 7.)])
def test_ema_equals_its_definition(symmetric, low, high):
    rng = np.random.default_rng(0)
    xolds, yolds = list(np.sort(rng.uniform(0, 10, 60))), list(rng.normal(size=60))
    yolds[20] = np.nan
    ema = plot_util.symmetric_ema if symmetric else plot_util.one_sided_ema
    xs, ys, counts = ema(xolds, yolds, low, high, n=30, decay_steps=1.7)
    ends = (xolds[0] if low is None else low, xolds[-1] if high is None else high)
    np.testing.assert_allclose(xs, np.linspace(*ends, 30), rtol=1e-14)
    slow_ys, slow_counts = slow_ema(xs, xolds, yolds, 1.7 * (ends[1] - ends[0]) / 29, symmetric)
    np.testing.assert_allclose(counts, slow_counts, rtol=1e-10)
    np.testing.assert_allclose(ys, slow_ys, rtol=1e-10)


def test_ema_far_from_data_is_nan_until_the_other_side_sees_it():
    x, y = np.array([0., 1000.]), np.array([1., 3.])
    _, ys, counts = plot_util.one_sided_ema(x, y, n=1001)
    assert np.isnan(ys[counts < 1e-8]).all() and (ys[counts >= 1e-8][:-1] == 1).all()
    _, ys, _ = plot_util.symmetric_ema(x, y, n=1001, low_counts_threshold=0)
    np.testing.assert_allclose(ys[[0, 499, 500, 501, 1000]], [1, 1 + 2 / (1 + np.e**2), 2, 3 - 2 / (1 + np.e**2), 3])


def test_ema_refuses_to_extrapolate():
    x = np.arange(5.)
    for low, high, n in [(-1, 4, 9), (0, 4.1, 9), (2, 2, 9), (0, 4, 1)]:
        with pytest.raises(ValueError, match=r'cannot resample data on \[0.0, 4.0\]'):
            plot_util.one_sided_ema(x, x, low, high, n)
    with pytest.raises(ValueError, match='differ in length: 5 and 4'):
        plot_util.symmetric_ema(x, x[1:])


# plot_util: loading

def test_load_results_of_real_runs(tmp_path):
    for seed in range(2):
        folder = tmp_path / f'my-processed-runs/CartPole-{seed}'  # 'proc' is no reason to skip it
        with logger.scoped_configure(str(folder), ['csv']):
            env = Monitor(gymnasium.make('CartPole-v1'), str(folder / '0.0'))
            env.action_space.seed(seed)
            for _ in range(3):
                env.reset(seed=seed)
                done = False
                while not done:
                    *_, terminated, truncated, info = env.step(env.action_space.sample())
                    done = terminated or truncated
                logger.logkv('EpRewMean', info['episode']['r'])
                logger.dumpkvs()
            env.close()
    (folder / 'config.json').write_text(json.dumps({'seed': 1}))
    results = plot_util.load_results(str(tmp_path))
    assert [r.dirname for r in results] == [str(tmp_path / f'my-processed-runs/CartPole-{s}') for s in range(2)]
    assert [r.metadata for r in results] == [None, {'seed': 1}]
    for r in results:
        np.testing.assert_array_equal(r.monitor.r, r.progress.EpRewMean)
        x, y = plot_util.default_xy_fn(r)
        assert x.iloc[-1] == r.monitor.l.sum() and len(y) == 3
    assert plot_util.load_results([str(folder), str(tmp_path)], enable_monitor=False)[0].monitor is None
    assert plot_util.load_results(str(tmp_path), enable_progress=False)[0].progress is None
    for path in folder.glob('*.csv'):
        path.with_name(f'{path.name}.gz').write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = plot_util.load_results(str(folder))[0]
    pandas.testing.assert_frame_equal(packed.monitor, results[1].monitor)
    pandas.testing.assert_frame_equal(packed.progress, results[1].progress)


def test_load_results_says_what_it_skips(tmp_path, capsys):
    write_run(tmp_path / 'good', [1., 2.])
    (tmp_path / 'good/progress.csv').write_text('')
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/0.monitor.csv').write_text('r,l,t\n')
    (tmp_path / 'bad/progress.json').write_text('{"a": 1\n')
    (tmp_path / 'none').mkdir()
    result, = plot_util.load_results(str(tmp_path), verbose=True)
    assert result.dirname == str(tmp_path / 'good') and result.progress is None
    out, err = capsys.readouterr()
    assert out == f'loaded {tmp_path}/good\nloaded 1 runs\n'
    assert [line.split(': ')[0] for line in err.splitlines()] == [
        f'skipping {tmp_path}/bad', f'skipping {tmp_path}/bad/progress.json', f'skipping {tmp_path}/good/progress.csv']
    with pytest.raises(UsageError, match=f'no such folder: {tmp_path}/nowhere'):
        plot_util.load_results(str(tmp_path / 'nowhere'))


@pytest.mark.parametrize('dirname, key', [
    ('logs/Hopper-v5-0', 'Hopper-v5'), ('logs/Hopper-v5-12/', 'Hopper-v5'), ('Hopper', 'Hopper'), ('a-1/b-x', 'b-x')])
def test_default_split_fn(dirname, key):
    assert plot_util.default_split_fn(Result(dirname=dirname)) == key


# plot_util: plotting

def some_results(tmp_path, n=4):
    for task in range(n):
        write_run(tmp_path / f'task{task}-0', np.arange(30.))
    return plot_util.load_results(str(tmp_path))


@pytest.mark.parametrize('n, tiling, shape', [
    (4, 'vertical', (4, 1)), (4, None, (4, 1)), (4, 'horizontal', (1, 4)), (4, 'symmetric', (2, 2)),
    (5, 'symmetric', (2, 3)), (1, 'symmetric', (1, 1))])
def test_tilings(n, tiling, shape, tmp_path):
    _, axes = plot_util.plot_results(some_results(tmp_path, n), tiling=tiling, xlabel='x', ylabel='y')
    assert axes.shape == shape
    assert [ax.get_title() for ax in axes.flat if ax.get_visible()] == [f'task{i}' for i in range(n)]
    assert all(ax.get_ylabel() == 'y' for ax in axes[:, 0])
    for column in axes.T:  # the lowest visible panel of each column is labelled
        assert [ax for ax in column if ax.get_visible()][-1].get_xlabel() == 'x'


def test_plot_options(tmp_path):
    results = some_results(tmp_path)
    f, axes = plot_util.plot_results(results, split_fn=None)
    assert axes.shape == (1, 1) and len({line.get_color() for line in axes[0, 0].lines}) == 4
    assert [t.get_text() for t in axes[0, 0].get_legend().texts] == ['task0', 'task1', 'task2', 'task3']
    _, axes = plot_util.plot_results(results, split_fn=None, group_fn=None, resample=100)
    assert [len(line.get_xdata()) for line in axes[0, 0].lines] == [100] * 4 and axes[0, 0].get_legend() is None
    f, axes = plot_util.plot_results(results, legend_outside=True, xy_fn=lambda r: (None, r.monitor.r))
    assert len(f.legends) == 1 and len(f.legends[0].texts) == 4
    assert all(ax.get_legend() is None for ax in axes.flat)
    np.testing.assert_array_equal(axes[0, 0].lines[0].get_xdata(), np.arange(30))
    with pytest.raises(UsageError, match="tiling='round': use 'vertical', None, 'horizontal' or 'symmetric'"):
        plot_util.plot_results(results, tiling='round')
    with pytest.raises(UsageError, match='no results to plot'):
        plot_util.plot_results([])


def test_mean_and_bands(tmp_path):
    for seed, ret in enumerate([1., 2., 3., 6.]):
        write_run(tmp_path / f'run-{seed}', [ret] * (5 + seed))
    _, axes = plot_util.plot_results(plot_util.load_results(str(tmp_path)), average_group=True)
    line, = axes[0, 0].lines
    assert line.get_label() == 'run (4)' and len(line.get_xdata()) == 512
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (10, 50)  # what all runs cover
    np.testing.assert_allclose(line.get_ydata(), 3.)
    err, std = (np.unique(band.get_paths()[0].vertices[:, 1].round(9)) for band in axes[0, 0].collections)
    np.testing.assert_allclose(std, 3 + np.sqrt(3.5) * np.array([-1, 1]), rtol=1e-8)
    np.testing.assert_allclose(err, 3 + np.sqrt(3.5) / 2 * np.array([-1, 1]), rtol=1e-8)


def test_runs_without_a_common_range_are_named(tmp_path):
    write_run(tmp_path / 'run-0', [1., 2.])
    write_run(tmp_path / 'run-1', [1., 2.], lengths=[20, 30])
    results = plot_util.load_results(str(tmp_path))
    with pytest.raises(UsageError, match=r"the runs of 'run \(2\)' have no range of x in common"):
        plot_util.plot_results(results, average_group=True)
    write_run(tmp_path / 'run-2', [])
    with pytest.raises(UsageError, match='no data to plot in .*run-2'):
        plot_util.plot_results(plot_util.load_results(str(tmp_path)))


# results_plotter

def test_ts2xy(tmp_path):
    ts = plot_util.load_results(str(write_run(tmp_path, [1., 3.], lengths=[4, 5])))[0].monitor
    for xaxis, x in [('timesteps', [4, 9]), ('episodes', [0, 1]), ('walltime_hrs', [.01, .02])]:
        for yaxis, y in [('reward', [1, 3]), ('timesteps', [4, 5])]:
            np.testing.assert_allclose(results_plotter.ts2xy(ts, xaxis, yaxis), (x, y), rtol=1e-9)
    with pytest.raises(UsageError, match="xaxis='steps': use 'timesteps', 'episodes' or 'walltime_hrs'"):
        results_plotter.ts2xy(ts, 'steps', 'reward')
    with pytest.raises(UsageError, match="yaxis='walltime_hrs': use 'reward' or 'timesteps'"):
        results_plotter.ts2xy(ts, 'episodes', 'walltime_hrs')


def test_plot_curves():
    x, y = np.arange(1, 301) * 10, np.arange(300.)
    fig = results_plotter.plot_curves([(x, y), (x[:20], y[:20])], 'timesteps', 'reward', 'two runs')
    ax, = fig.axes
    long, short = ax.lines
    assert long.get_ydata()[-1] == pytest.approx(np.mean(y[-100:])) and short.get_ydata()[-1] == pytest.approx(9.5)
    assert ax.get_xlim() == (0, 3000) and ax.get_title() == 'two runs'
    assert (ax.get_xlabel(), ax.get_ylabel()) == ('Environment timesteps', 'Episode return')


@pytest.mark.parametrize('path, env_id, task, kind', [
    ('Hopper-v5-flow-0', 'Hopper-v5', 'Hopper-v5', 'flow'),
    ('Hopper-v5/gmm-5/0', 'Hopper-v5', 'Hopper-v5', 'gmm-5'),
    ('Hopper/trpo_mpi/flow/seed-3', 'Hopper-v5', 'Hopper-v5', 'trpo_mpi/flow'),
    ('flow/hopper/s1', 'Hopper-v5', 'Hopper-v5', 'flow'),
    ('ppo2-HalfCheetah-v5_seed2', 'HalfCheetah-v5', 'HalfCheetah-v5', 'ppo2'),
    ('HumanoidStandup-a2c-1', 'Humanoid-v5', 'Humanoid-v5', 'HumanoidStandup-a2c'),
    ('ALE_Pong-v5/ppo2/1', 'ALE/Pong-v5', 'ALE/Pong-v5', 'ppo2'),
    ('Ant-v5/flow/1', None, 'Ant-v5', 'flow'),  # a VecMonitor does not know its task
    ('flow/1', None, '', 'flow'),
    ('7', 'Hopper-v5', 'Hopper-v5', 'root'),
])
def test_task_and_kind_of_a_run(path, env_id, task, kind, tmp_path):
    result, = plot_util.load_results(str(write_run(tmp_path / 'root' / path, [1.], env_id=env_id)))
    assert results_plotter.split_by_task(result) == task
    assert plotting.kind_of(result, str(tmp_path / 'root')) == kind


def test_plot_results(tmp_path):
    for env_id in ('Hopper-v5', 'Reacher-v5'):
        for policy, ret in [('gaussian', 1.), ('flow', 3.)]:
            for seed, more in enumerate((-1, 1, -1, 1)):
                write_run(tmp_path / env_id / policy / str(seed), [ret + more] * 100, env_id=env_id)
    write_run(tmp_path / 'Hopper-v5/flow/9', [1.])
    fig, axes = results_plotter.plot_results([str(tmp_path)], num_timesteps=600, title='Figure 3')
    assert fig.get_suptitle() == 'Figure 3' and axes.shape == (1, 2)
    for ax, env_id in zip(axes.flat, ('Hopper-v5', 'Reacher-v5'), strict=True):
        assert ax.get_title() == env_id and ax.get_xlabel() == 'Environment timesteps'
        assert ax.get_legend().get_title().get_text() == 'mean ± std (runs)'
        assert [t.get_text() for t in ax.get_legend().texts] == ['flow (4)', 'gaussian (4)']
        for line, band, mean in zip(ax.lines, ax.collections, (3., 1.), strict=True):
            assert line.get_xdata()[-1] == 600
            np.testing.assert_allclose(line.get_ydata(), mean)
            low, high = np.unique(band.get_paths()[0].vertices[:, 1].round(9))
            assert (low, high) == (mean - 1, mean + 1)
    assert axes[0, 0].xaxis.get_major_formatter()(250000) == '250k'


def test_no_band_around_two_runs(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f'run-{seed}', [float(seed)] * 5)
    (_, axes), (_, by_command) = (plot_util.plot_results(plot_util.load_results(str(tmp_path)), average_group=True),
                                  results_plotter.plot_results(str(tmp_path)))
    for ax in (axes[0, 0], by_command[0, 0]):
        assert len(ax.lines) == 1 and not ax.collections
        assert (ax.get_xlabel(), ax.get_ylabel()) == ('Environment timesteps', 'Episode return')


def test_labels_are_those_of_the_curves(tmp_path):
    write_run(tmp_path / 'run-0', [1., 2.])
    results = plot_util.load_results(str(tmp_path))
    _, axes = plot_util.plot_results(results, ylabel='raw return')
    assert (axes[0, 0].get_xlabel(), axes[0, 0].get_ylabel()) == ('Environment timesteps', 'raw return')
    assert axes[0, 0].xaxis.get_major_formatter()(250000) == '250k'
    _, axes = plot_util.plot_results(results, xy_fn=lambda r: (None, r.monitor.l), ylabel='length')
    assert (axes[0, 0].get_xlabel(), axes[0, 0].get_ylabel()) == ('', 'length')


def write_config(folder, alg='trpo_mpi', **alg_kwargs):
    args = {'alg': alg, 'env': 'Hopper-v5', 'seed': 0, 'num_timesteps': 100, 'num_env': 1, 'reward_scale': 1.0}
    (folder / 'config.json').write_text(json.dumps({'args': args, 'ranks': 1, 'alg_kwargs': alg_kwargs}))


def test_curves_are_named_by_what_the_runs_were(tmp_path):
    """Not by their folders, if they say so."""
    runs = {'a-0': {'policy': 'flow', 'max_kl': .01}, 'a-1': {'policy': 'flow', 'max_kl': .01},
            'b': {'policy': 'flow', 'max_kl': .02, 'xla': True, 'filter_update': 'after'},
            'c': {'policy': 'gaussian', 'max_kl': .05},
            'd': {'alg': 'a2c', 'lr': 1.}, 'e': None, 'f-3': 'no record'}
    for name, config in runs.items():
        write_run(tmp_path / name, [1., 2.], env_id='Hopper-v5')
        if isinstance(config, dict):
            write_config(tmp_path / name, **config)
        elif config:
            (tmp_path / name / 'config.json').write_text(json.dumps({'args': config}))
    _, axes = results_plotter.plot_results(str(tmp_path))
    assert [text.get_text() for text in axes[0, 0].get_legend().texts] == [
        'a2c (1)', 'e (1)', 'f (1)', 'trpo_mpi, flow, filter_update=after, max_kl=0.02 (1)',
        'trpo_mpi, flow, max_kl=0.01 (2)', 'trpo_mpi, gaussian (1)']


def test_policies_have_the_colours_of_the_figures(tmp_path):
    for name, policy in [('a', 'gaussian'), ('b', 'flow'), ('c', 'gmm'), ('d', None)]:
        write_run(tmp_path / name, [1., 2.], env_id='Hopper-v5')
        write_config(tmp_path / name, policy=policy)
    _, axes = results_plotter.plot_results(str(tmp_path))
    drawn = {line.get_label().partition(' (')[0]: to_hex(line.get_color()) for line in axes[0, 0].lines}
    figures = {f'trpo_mpi, {name}': method.color for name, method in
               [('gaussian', GAUSSIAN), ('flow', FLOW), ('gmm', GMM5)]}
    assert figures.items() < drawn.items() and len(set(drawn.values())) == 4


def test_what_differs_between_tasks_makes_no_kinds(tmp_path):
    for env_id, max_kl in [('Hopper-v5', .01), ('Pong-v5', .001)]:
        write_run(tmp_path / env_id, [1., 2.], env_id=env_id)
        write_config(tmp_path / env_id, policy='flow', max_kl=max_kl)
    _, axes = results_plotter.plot_results(str(tmp_path))
    assert {text.get_text() for ax in axes.flat for text in ax.get_legend().texts} == {'trpo_mpi, flow (1)'}


def test_many_kinds_share_one_legend(tmp_path):
    for i in range(8):
        write_run(tmp_path / f'Hopper-v5-policy{i}-0', np.arange(20.))
    fig, axes = results_plotter.plot_results(str(tmp_path))
    assert len(fig.legends[0].texts) == 8 and len({line.get_color() for line in axes[0, 0].lines}) == 8
    fig.canvas.draw()
    panel = axes[0, 0].get_tightbbox()
    assert panel.x1 <= fig.legends[0].get_window_extent().x0 and panel.width > .5 * fig.bbox.width


def test_command_line(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f'logs/Hopper-v5-flow-{seed}', np.random.default_rng(seed).normal(size=50).cumsum())
    out = subprocess.run(
        [sys.executable, '-W', 'error', '-m', 'onpolicybaselines.results_plotter', '--dirs', tmp_path / 'logs',
         '--xaxis', 'walltime_hrs', '--yaxis', 'timesteps', '--save', tmp_path / 'out.png'],
        cwd=ROOT, env=dict(os.environ, MPLBACKEND='TkAgg', DISPLAY=''), capture_output=True, text=True)
    assert (out.returncode, out.stdout, out.stderr) == (0, '', '')
    image = plt.imread(tmp_path / 'out.png')
    assert image.shape == (562, 750, 4) and len(np.unique(image.reshape(-1, 4), axis=0)) > 10


@pytest.mark.parametrize('args, fault', [
    (['--dirs', '{tmp}/nowhere', '--save', '{tmp}/x.png'], 'no such folder: {tmp}/nowhere'),
    (['--dirs', '{tmp}/empty', '--save', '{tmp}/x.png'],
     'no monitor.csv with two episodes or more at or below {tmp}/empty'),
    (['--dirs', '{tmp}/good', '--save', '{tmp}/nowhere/x.png'], 'cannot save the figure to {tmp}/nowhere/x.png: '),
    (['--dirs', '{tmp}/good', '--save', '{tmp}/x.doc'], "cannot save the figure to {tmp}/x.doc: Format 'doc'"),
    (['--dirs', '{tmp}/good'], 'there is no display to show the figure on: give --save FILE'),
])
def test_command_line_errors(args, fault, tmp_path, capsys):
    write_run(tmp_path / 'good', [1., 2.])
    (tmp_path / 'empty').mkdir()
    assert results_plotter.main([arg.format(tmp=tmp_path) for arg in args]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith(f'results_plotter: error: {fault.format(tmp=tmp_path)}')


def test_command_line_axes_are_checked(capsys):
    for option in ('--xaxis', '--yaxis'):
        with pytest.raises(SystemExit) as e:
            results_plotter.main([option, 'steps'])
        assert e.value.code == 2 and f"{option}: invalid choice: 'steps'" in capsys.readouterr().err
