import gzip
import json
import math

import gymnasium
import numpy as np
import pandas
import pytest
from gymnasium.wrappers import TransformReward

from onpolicybaselines.bench import LoadMonitorResultsError, Monitor, ResultsWriter, get_monitor_files, load_results
from onpolicybaselines.common.errors import UsageError


def run_episodes(env, n, seed=0):
    """Random actions for n episodes: returns, lengths and the last infos."""
    env.action_space.seed(seed)
    returns, lengths, infos = [], [], []
    for i in range(n):
        env.reset(seed=seed + i)
        rewards, done = [], False
        while not done:
            _, rew, terminated, truncated, info = env.step(env.action_space.sample())
            rewards.append(float(rew))
            done = terminated or truncated
        returns.append(math.fsum(rewards))
        lengths.append(len(rewards))
        infos.append(info)
    return returns, lengths, infos


@pytest.mark.parametrize('env_id', ['CartPole-v1', 'Hopper-v5'])
def test_records_episodes(env_id, tmp_path):
    env = Monitor(gymnasium.make(env_id), str(tmp_path / '0'))
    returns, lengths, infos = run_episodes(env, 12)
    firstline, _, table = (tmp_path / '0.monitor.csv').read_text().partition('\n')  # flushed before close
    header = json.loads(firstline.removeprefix('# '))
    assert header == {'t_start': env.tstart, 'env_id': env_id} and table.startswith('r,l,t\n')
    env.close()

    assert env.get_total_steps() == sum(lengths)
    assert env.get_episode_lengths() == lengths
    np.testing.assert_allclose(env.get_episode_rewards(), returns, rtol=1e-14)
    df = load_results(str(tmp_path))
    assert df.attrs['headers'] == [header] and list(df.columns) == ['r', 'l', 't']
    for row, info in zip(df.itertuples(), infos, strict=True):
        assert set(info['episode']) == {'r', 'l', 't'}
        assert row.l == info['episode']['l']
        assert row.r == pytest.approx(info['episode']['r'], rel=1e-14)
        assert row.t == pytest.approx(info['episode']['t'], abs=2e-6)
    assert df.t.is_monotonic_increasing
    np.testing.assert_allclose(env.get_episode_times(), df.t, atol=2e-6)


def test_a_time_limit_ends_the_episode():
    env = Monitor(gymnasium.make('Hopper-v5', max_episode_steps=3), None)
    env.reset(seed=0)
    for i in range(3):
        *_, terminated, truncated, info = env.step(np.zeros(3))
        assert ('episode' in info) == (i == 2)
    assert truncated and not terminated and info['episode']['l'] == 3
    env.reset()  # not an early one
    env.close()


def test_float32_rewards_are_summed_in_float64():
    env = Monitor(TransformReward(gymnasium.make('CartPole-v1', max_episode_steps=500), lambda r: np.float32(.1)),
                  None)
    returns, lengths, infos = run_episodes(env, 20)
    env.close()
    ret = max(returns)
    i = returns.index(ret)
    single = np.cumsum(np.full(lengths[i], .1, np.float32))[-1]
    assert abs(single - ret) > 1e-6  # summing in float32 would show
    assert type(infos[i]['episode']['r']) is float and infos[i]['episode']['r'] == pytest.approx(ret, rel=1e-14)


def test_close_closes_the_file(tmp_path):
    env = Monitor(gymnasium.make('CartPole-v1'), str(tmp_path / '0'))
    assert not env.results_writer.f.closed
    env.close()
    env.close()
    assert env.results_writer.f.closed


def test_order_of_calls_is_checked():
    env = Monitor(gymnasium.make('CartPole-v1'), None)
    with pytest.raises(RuntimeError, match=r'call reset\(\) first'):
        env.step(0)
    env.reset()
    env.reset(seed=0)  # no step is lost
    env.step(0)
    with pytest.raises(RuntimeError, match='allow_early_resets=True'):
        env.reset()
    env.close()


def test_early_resets_forget_the_episode():
    env = Monitor(gymnasium.make('CartPole-v1'), None, allow_early_resets=True)
    env.reset(seed=0)
    env.step(0)
    _, lengths, infos = run_episodes(env, 1)
    assert infos[0]['episode']['l'] == lengths[0] and env.get_total_steps() == lengths[0] + 1
    env.close()


def test_keywords_are_columns(tmp_path):
    env = Monitor(gymnasium.make('Hopper-v5'), str(tmp_path), reset_keywords=['task', 'seed'],
                  info_keywords=('x_position',))
    env.action_space.seed(0)
    for task in ('a,b', 'c'):
        env.reset(seed=3, options={'task': task})
        done = False
        while not done:
            *_, terminated, truncated, info = env.step(env.action_space.sample())
            done = terminated or truncated
        assert info['episode']['task'] == task and info['episode']['x_position'] == info['x_position']
    env.close()
    df = load_results(str(tmp_path))
    assert list(df.columns) == ['r', 'l', 't', 'task', 'seed', 'x_position']
    assert list(df.task) == ['a,b', 'c'] and list(df.seed) == [3, 3]
    assert df.x_position.iloc[-1] == pytest.approx(info['x_position'], rel=1e-14)


def test_missing_keywords_are_named():
    env = Monitor(gymnasium.make('CartPole-v1', max_episode_steps=1), None, reset_keywords=('task',),
                  info_keywords=('x_position',))
    with pytest.raises(ValueError, match="reset needs 'task'"):
        env.reset(seed=0)
    env.close()
    env = Monitor(gymnasium.make('CartPole-v1', max_episode_steps=1), None, info_keywords=('x_position',))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no 'x_position'"):
        env.step(0)
    env.close()


@pytest.mark.parametrize('name, file', [
    ('', 'monitor.csv'), ('0.1', '0.1.monitor.csv'), ('my.monitor.csv', 'my.monitor.csv')])
def test_file_names(name, file, tmp_path):
    ResultsWriter(str(tmp_path / name), header={'t_start': 0}).close()
    assert get_monitor_files(str(tmp_path)) == [str(tmp_path / file)]


def test_unwritable_file_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError) as e:
        ResultsWriter(str(tmp_path / 'nowhere' / '0'))
    assert str(e.value) == (f'cannot write episodes to {tmp_path}/nowhere/0.monitor.csv (No such file or '
                            'directory); give Monitor a path in an existing, writable folder')


def test_load_merges_files_by_time(tmp_path):
    folder = tmp_path / 'run[1]'  # not a pattern
    folder.mkdir()
    for name, t_start, rows in [('0.0', 1000., [(1., 10, 1.), (2., 20, 5.)]), ('0.1', 1002., [(3., 30, 1.)]),
                                ('0.2', 999., [])]:
        writer = ResultsWriter(str(folder / name), header={'t_start': t_start, 'env_id': name})
        for r, l, t in rows:
            writer.write_row({'r': r, 'l': l, 't': t})
        writer.close()
    (folder / '0.3.monitor.csv').write_text('')  # just opened by a running job
    df = load_results(str(folder))
    expected = pandas.DataFrame({'r': [1., 3., 2.], 'l': [10, 30, 20], 't': [2., 4., 6.]})
    pandas.testing.assert_frame_equal(df, expected)
    assert [h['env_id'] for h in df.attrs['headers']] == ['0.0', '0.1', '0.2']


def test_load_without_episodes(tmp_path):
    ResultsWriter(str(tmp_path), header={'t_start': 0}).close()
    df = load_results(str(tmp_path))
    assert len(df) == 0 and list(df.columns) == ['r', 'l', 't']


def test_load_errors(tmp_path):
    with pytest.raises(LoadMonitorResultsError, match='no monitor files of the form'):
        load_results(str(tmp_path))
    path = tmp_path / 'monitor.csv'
    for text, fault in [('', 'empty'), ('r,l,t\n1,2,3\n', 'first line'), ('# {"t_start": 0\nr,l,t\n', 'delimiter'),
                        ('# {}\nr,l,t\n', '"t_start"'), ('# {"t_start": 0}\nr,t\n', 'r, l, t'),
                        ('# {"t_start": 0}\n', 'it is empty')]:
        path.write_text(text)
        with pytest.raises(LoadMonitorResultsError, match=fault) as e:
            load_results(str(tmp_path))
        assert str(tmp_path) in str(e.value) and '\n' not in str(e.value)


def test_compressed_files_are_read_alike(tmp_path):
    env = Monitor(gymnasium.make('CartPole-v1'), str(tmp_path / '0'))
    run_episodes(env, 3)
    env.close()
    df = load_results(str(tmp_path))
    plain = tmp_path / '0.monitor.csv'
    content = gzip.compress(plain.read_bytes())
    packed = tmp_path / '0.monitor.csv.gz'
    packed.write_bytes(content)
    pandas.testing.assert_frame_equal(load_results(str(tmp_path)), df)  # no episode twice
    plain.unlink()
    pandas.testing.assert_frame_equal(load_results(str(tmp_path)), df)
    for damaged in (content[:-20], b'no gzip file', content[:15] + b'\xff' * 30):
        packed.write_bytes(damaged)
        with pytest.raises(LoadMonitorResultsError, match='0.monitor.csv.gz is not a monitor file'):
            load_results(str(tmp_path))


def test_folders_and_files_by_path(tmp_path):
    """As by text."""
    from onpolicybaselines import results_plotter
    from onpolicybaselines.common import plot_util
    for path in (tmp_path / 'run', tmp_path / 'run' / 'folder'):
        path.mkdir()
        env = Monitor(gymnasium.make('CartPole-v1'), path)
        run_episodes(env, 3)
        env.close()
        assert (path / 'monitor.csv').exists() and get_monitor_files(path) == [str(path / 'monitor.csv')]
        assert load_results(path).equals(load_results(str(path)))
    for folders in (tmp_path, [tmp_path]):
        assert [r.dirname for r in plot_util.load_results(folders)] == [
            r.dirname for r in plot_util.load_results(str(tmp_path))]
        figure, _ = results_plotter.plot_results(folders)
        assert figure.axes[0].lines
