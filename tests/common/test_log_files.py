"""Logs go on from where a state was taken: what was written later is forgotten, what was before stays."""
import os

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines import logger
from onpolicybaselines.bench.monitor import Monitor, load_results
from onpolicybaselines.common.env_state import env_state, set_env_state
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.log_files import kept_logs
from onpolicybaselines.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

FORMATS = ['log', 'json', 'csv', 'tensorboard']


@pytest.fixture(autouse=True)
def own_logger(tmp_path):
    with logger.scoped_configure(str(tmp_path / 'scoped'), []):
        yield


def some_rows(first, last, **more):
    for i in range(first, last):
        logger.logkvs({'steps': i, 'text': 'a "b",\nc', **more})
        logger.logkv_mean('mean', i)
        logger.logkv_mean('mean', i + 1)
        logger.log('row', i)
        logger.dumpkvs()


def contents(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder)) if not name.startswith('tb')}


def test_a_run_that_goes_on_writes_the_logs_of_one_that_never_stopped(tmp_path):
    whole, parted = tmp_path / 'whole', tmp_path / 'parted'
    for folder in (whole, parted):
        logger.configure(str(folder), FORMATS)
        some_rows(0, 3)
        logger.logkv_mean('mean', 7.)
        logger.logkv('so far', 1)
        state = logger.get_current().state()
        some_rows(3, 5 if folder == whole else 4, **({} if folder == whole else {'a column of a future': 1}))
    with kept_logs():
        logger.configure(str(parted), FORMATS)
    logger.get_current().set_state(state)
    some_rows(3, 5)
    one, other = contents(whole), contents(parted)
    assert one['progress.csv'] == other['progress.csv'] and one['progress.json'] == other['progress.json']
    assert one['log.txt'].replace(b'whole', b'parted') == other['log.txt']
    frames = [logger.read_tb(str(folder / 'tb')) for folder in (whole, parted)]
    for column in frames[0]:
        np.testing.assert_array_equal(frames[0][column], frames[1][column])


def test_without_keeping_logs_begin_anew(tmp_path):
    logger.configure(str(tmp_path), ['csv'])
    some_rows(0, 3)
    state = logger.get_current().state()
    logger.configure(str(tmp_path), ['csv'])
    some_rows(7, 8)
    assert logger.read_csv(str(tmp_path / 'progress.csv')).steps.tolist() == [7]
    with pytest.raises(ValueError, match='has 1 rows, and had 3'):
        logger.get_current().set_state(state)


@pytest.mark.parametrize('format', ['log', 'json'])
def test_a_log_that_was_cut_short_is_an_error_unless_it_is_text(format, tmp_path):
    logger.configure(str(tmp_path), [format])
    some_rows(0, 3)
    state = logger.get_current().state()
    logger.configure(str(tmp_path), [format])
    if format == 'log':
        logger.get_current().set_state(state)
        return
    with pytest.raises(UsageError, match='has 0 bytes, and had .* at the checkpoint.*: put the file back'):
        logger.get_current().set_state(state)


def test_other_outputs_are_an_error(tmp_path):
    logger.configure(str(tmp_path), ['stdout', 'csv'])
    some_rows(0, 1)
    state = logger.get_current().state()
    logger.configure(str(tmp_path), [])
    with pytest.raises(ValueError, match='OPENAI_LOG_FORMAT'):
        logger.get_current().set_state(state)


def episodes(env, number):
    for _ in range(number):
        env.reset()
        while not any(env.step(0)[2:4]):
            pass


def test_monitor_files_go_on(tmp_path):
    def make():
        env = Monitor(gym.make('CartPole-v1'), str(tmp_path / '0'), allow_early_resets=True)
        env.reset(seed=1)
        return env

    env = make()
    episodes(env, 3)
    state = env_state(env)
    episodes(env, 3)
    env.close()
    lines = (tmp_path / '0.monitor.csv').read_text().splitlines()
    with kept_logs():
        env = make()
    set_env_state(env, state)
    assert len((tmp_path / '0.monitor.csv').read_text().splitlines()) == 2 + 3
    episodes(env, 3)
    again = (tmp_path / '0.monitor.csv').read_text().splitlines()
    assert [line.split(',')[:2] for line in again[1:]] == [line.split(',')[:2] for line in lines[1:]]
    assert again[0] == lines[0] and env.get_episode_rewards() == load_results(str(tmp_path)).r.tolist()
    env.close()


@pytest.mark.parametrize('kind', [DummyVecEnv, SubprocVecEnv])
def test_those_of_processes_go_on_too(kind, tmp_path):
    def thunk(i):
        return lambda: Monitor(gym.make('CartPole-v1', max_episode_steps=9), str(tmp_path / str(i)),
                               allow_early_resets=True)

    def make():
        return VecMonitor(kind([thunk(i) for i in range(2)]), str(tmp_path / 'all'))

    def lengths(name):
        return [line.split(',')[1] for line in (tmp_path / f'{name}.monitor.csv').read_text().splitlines()[2:]]

    venv = make()
    venv.reset()
    for _ in range(31):
        venv.step(np.zeros(2, int) + np.arange(2))
    state, before = venv.state(), [lengths(name) for name in ('0', '1', 'all')]
    for _ in range(20):
        venv.step(np.zeros(2, int) + np.arange(2))
    venv.close()
    with kept_logs():
        venv = make()
    venv.reset()
    venv.set_state(state)
    assert [lengths(name) for name in ('0', '1', 'all')] == before and all(before)
    venv.close()
