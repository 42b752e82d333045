"""Environments that break gymnasium's rules are named in one line; those that keep them are reset once an episode."""
import functools
import signal
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from onpolicybaselines import logger
from onpolicybaselines.a2c import a2c
from onpolicybaselines.acktr import acktr, acktr_cont
from onpolicybaselines.bench import Monitor, load_results
from onpolicybaselines.common.errors import EnvironmentFault, Interrupted, UsageError
from onpolicybaselines.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, as_vec_env
from onpolicybaselines.trpo_mpi import trpo_mpi

BOX = spaces.Box(-1, 1, (3,))
GIVEN = {
    'observation None': (None, 0., False, False, {}),
    'a word': ('up', 0., False, False, {}),
    'another shape': (np.zeros(4), 0., False, False, {}),
    'a shape that could be broadcast': (np.zeros(1), 0., False, False, {}),
    'one number': (0., 0., False, False, {}),
    'ragged': ([[0., 1.], 2.], 0., False, False, {}),
    'four': (np.zeros(3), 0., False, {}),
    'nothing': None,
    'reward None': (np.zeros(3), None, False, False, {}),
    'terminated None': (np.zeros(3), 0., None, False, {}),
    'truncated a word': (np.zeros(3), 0., False, 'no', {}),
    'terminated of two': (np.zeros(3), 0., np.zeros(2, bool), False, {}),
    'info None': (np.zeros(3), 0., False, False, None),
}


class Given(gym.Env):
    """Every step gives the same, and so does every reset, in part."""

    action_space = spaces.Discrete(2)

    def __init__(self, given=None, observation_space=BOX, first=None):
        self.given, self.observation_space = given, observation_space
        self.first = observation_space.sample() if first is None else first

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.first, {}

    def step(self, action):
        return self.given


class Counted(gym.Wrapper):
    """Counts resets, and the episodes that were played."""

    def __init__(self, env):
        super().__init__(env)
        self.resets, self.played, self.begun = 0, 0, False

    def reset(self, **kwargs):
        self.resets += 1
        self.begun = False
        return self.env.reset(**kwargs)

    def step(self, action):
        self.played += not self.begun
        self.begun = True
        return self.env.step(action)


@pytest.mark.filterwarnings('ignore')  # of gymnasium's checker
@pytest.mark.parametrize('wrap', [lambda env: env, functools.partial(Monitor, filename=None),
                                  lambda env: gym.wrappers.TimeLimit(env, 9), gym.wrappers.PassiveEnvChecker])
@pytest.mark.parametrize('name', GIVEN)
def test_steps_of_another_form_are_named(name, wrap):
    venv = DummyVecEnv([lambda: wrap(Given(GIVEN[name]))])
    venv.reset()
    with pytest.raises(EnvironmentFault) as e:
        venv.step(np.zeros(1, int))
    assert '\n' not in str(e.value) and ('observation' in str(e.value))


def test_a_process_names_them_too():
    for name in ('four', 'another shape'):
        venv = SubprocVecEnv([functools.partial(Given, GIVEN[name])] * 2)
        venv.reset()
        with pytest.raises(EnvironmentFault, match=r'^environment 0: .*$'):
            venv.step(np.zeros(2, int))
        venv.close()


@pytest.mark.parametrize(('space', 'inside', 'outside'), [
    (spaces.Discrete(4), [0, 3, np.int64(3), np.array(2)], [4, -1, 2**40, np.int8(-1), 1.5, np.nan]),
    (spaces.Discrete(3, start=5), [5, 7], [4, 8, 0]),
    (spaces.MultiDiscrete([2, 3]), [[1, 2], np.array([0, 0])], [[2, 0], [0, 3], [-1, 0]])])
def test_observations_outside_of_discrete_spaces_are_named(space, inside, outside):
    for ob in inside:
        np.testing.assert_array_equal(DummyVecEnv([lambda ob=ob: Given(None, space, ob)]).reset()[0], ob)
    for ob in outside:
        with pytest.raises(EnvironmentFault, match='outside of'):
            DummyVecEnv([lambda ob=ob: Given(None, space, ob)]).reset()
    venv = as_vec_env(SyncVectorEnv([lambda: Given(None, spaces.Discrete(4), 7)],
                                    autoreset_mode=AutoresetMode.SAME_STEP))
    with pytest.raises(EnvironmentFault, match='outside of'):
        venv.reset()


@pytest.mark.parametrize('space', [spaces.Text(3), spaces.Sequence(BOX)])
def test_observations_that_are_no_arrays_are_refused(space):
    with pytest.raises(ValueError, match='observations must be arrays'):
        DummyVecEnv([functools.partial(Given, None, space, first='abc')])


def test_parts_are_checked():
    space = spaces.Dict({'a': spaces.Discrete(2), 'b': BOX})
    for ob in ({'a': 1}, {'a': 2, 'b': np.zeros(3)}, {'a': 1, 'b': np.zeros(2)}, 3):
        with pytest.raises(EnvironmentFault):
            DummyVecEnv([lambda ob=ob: Given(None, space, ob)]).reset()


@pytest.mark.parametrize('wrap', [lambda env: env, lambda env: Monitor(env, None)], ids=['bare', 'monitored'])
def test_an_environment_may_not_end_the_run(wrap, monkeypatch):
    """Whose end would look like that of a run that is done."""
    env = Given()
    monkeypatch.setattr(env, 'step', lambda action: sys.exit(0))
    venv = DummyVecEnv([lambda: wrap(env)])
    venv.reset()
    with pytest.raises(EnvironmentFault, match=r'step of Given called sys.exit\(0\)'):
        venv.step([0])
    monkeypatch.setattr(env, 'step', lambda action: (_ for _ in ()).throw(Interrupted(signal.SIGTERM)))
    venv.reset()
    with pytest.raises(Interrupted):
        venv.step([0])


def test_errors_of_the_environment_itself_keep_their_traceback():
    class Broken(Given):
        def step(self, action):
            return float('no number')
    venv = DummyVecEnv([lambda: Monitor(Broken(), None)])
    venv.reset()
    with pytest.raises(ValueError, match='could not convert string to float'):
        venv.step(np.zeros(1, int))


LEARN = {'a2c': functools.partial(a2c.learn, network='mlp', nsteps=100), 'trpo_mpi': functools.partial(
    trpo_mpi.learn, network='mlp', timesteps_per_batch=200), 'acktr_cont': functools.partial(
    acktr_cont.learn, timesteps_per_batch=100), 'acktr': functools.partial(acktr.learn, network='mlp', nsteps=100)}


@pytest.mark.parametrize('seed', [0, None])
@pytest.mark.parametrize('alg', LEARN)
def test_every_algorithm_learns_in_a_monitored_environment(alg, seed, tmp_path):
    env = Monitor(Counted(gym.make('Pendulum-v1', max_episode_steps=40)), str(tmp_path))
    with logger.scoped_configure(format_strs=[]):
        LEARN[alg](env=env, total_timesteps=400, seed=seed)
    env.close()
    episodes = load_results(str(tmp_path))
    assert len(episodes) >= 10 and set(episodes.l) == {40}
    # the next one may have begun; a seed is given by a reset
    assert env.env.resets - env.env.played in ((0, 1) if seed is None else (1, 2))
    assert len(episodes) <= env.env.played <= len(episodes) + 1


@pytest.mark.parametrize('alg', LEARN)
def test_one_reset_an_episode(alg):
    env = Counted(gym.make('Pendulum-v1', max_episode_steps=40))
    with logger.scoped_configure(format_strs=[]):
        LEARN[alg](env=DummyVecEnv([lambda: env]), total_timesteps=400, seed=0)
    assert env.played >= 10 and env.resets - env.played in (0, 1)


@pytest.mark.parametrize('keywords', [{'info_keywords': ('r',)}, {'info_keywords': ('x', 'x')},
                                      {'reset_keywords': ('t',)}, {'reset_keywords': ('x',), 'info_keywords': ('x',)}])
def test_keywords_that_would_overwrite_a_column_are_refused(keywords, tmp_path):
    for filename in (None, str(tmp_path)):
        with pytest.raises(UsageError, match='would overwrite'):
            Monitor(gym.make('CartPole-v1'), filename, **keywords)
    assert not list(tmp_path.iterdir())
    if 'reset_keywords' not in keywords:
        with pytest.raises(UsageError, match='would overwrite'):
            VecMonitor(DummyVecEnv([lambda: gym.make('CartPole-v1')]), **keywords)
