"""Wrappers of single environments, tiling, and the base of runners."""
import contextlib
import functools

import gymnasium
import numpy as np
import pytest

from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.runners import AbstractEnvRunner
from onpolicybaselines.common.tile_images import tile_images
from onpolicybaselines.common.vec_env import DummyVecEnv, ShmemVecEnv
from onpolicybaselines.common.wrappers import ClipActionsWrapper, RewardScaler


class Recorder(gymnasium.Wrapper):
    """Keeps the action that arrives."""

    def step(self, action):
        self.action = action
        return super().step(action)


def test_clip_actions():
    recorder = Recorder(gymnasium.make('Hopper-v5'))
    env = ClipActionsWrapper(recorder)
    assert env.action_space == recorder.action_space
    env.reset(seed=0)
    env.step(np.array([-7., .25, 7.]))
    np.testing.assert_array_equal(recorder.action, [-1., .25, 1.])


def test_clip_actions_lets_nan_pass():
    recorder = Recorder(gymnasium.make('Pendulum-v1', disable_env_checker=True))
    env = ClipActionsWrapper(recorder)
    env.reset(seed=0)
    ob, reward, _, _, _ = env.step(np.array([np.nan], np.float32))
    assert np.isnan(recorder.action).all() and np.isnan(reward) and np.isnan(ob).any()


def test_clip_actions_needs_a_box():
    with pytest.raises(TypeError, match='Box action space, got Discrete'):
        ClipActionsWrapper(gymnasium.make('CartPole-v1'))


def test_reward_scaler_leaves_the_monitor_raw():
    env = RewardScaler(Monitor(gymnasium.make('CartPole-v1', max_episode_steps=5), None), scale=.1)
    env.reset(seed=0)
    rewards = []
    for action in (0, 1, 0, 1, 0):
        _, reward, _, _, info = env.step(action)
        rewards.append(reward)
    assert rewards == [.1] * 5
    assert info['episode']['r'] == 5


@pytest.mark.parametrize(('n', 'rows', 'columns'), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (7, 3, 3)])
def test_tile_images(n, rows, columns):
    h, w = 4, 6
    imgs = np.random.default_rng(0).integers(1, 256, (n, h, w, 3)).astype(np.uint8)
    for given in (imgs, list(imgs)):
        big = tile_images(given)
        assert big.shape == (rows * h, columns * w, 3) and big.dtype == np.uint8
        for i in range(rows * columns):
            y, x = i // columns * h, i % columns * w
            np.testing.assert_array_equal(big[y:y + h, x:x + w], imgs[i] if i < n else 0)


@pytest.mark.parametrize('imgs', [[], [np.zeros((2, 2, 3)), np.zeros((2, 3, 3))], [np.zeros((2, 2))]])
def test_tile_images_rejects(imgs):
    with pytest.raises(ValueError, match=r'one or more images of one shape \[h, w, c\]'):
        tile_images(imgs)


def test_env_runner():
    class Model:
        initial_state = None

    class Runner(AbstractEnvRunner):
        def run(self):
            self.obs[:], _, self.dones, _ = self.env.step([0] * self.nenv)

    with pytest.raises(TypeError, match='abstract'):
        AbstractEnvRunner(env=None, model=None, nsteps=1)
    venv = DummyVecEnv([functools.partial(gymnasium.make, 'CartPole-v1')] * 3)
    runner = Runner(env=venv, model=Model, nsteps=5)
    assert runner.nenv == 3 and runner.nsteps == 5 and runner.states is None and runner.dones == [False] * 3
    assert runner.batch_ob_shape == (15, 4)
    assert runner.obs.shape == (3, 4) and runner.obs.dtype == np.float32
    runner.run()
    assert list(runner.dones) == [False] * 3


# --- Atari, with the real emulator ---

@pytest.fixture(scope='module')
def atari():
    pytest.importorskip('ale_py', reason="pip install 'onpolicybaselines[atari]'")
    pytest.importorskip('cv2', reason="pip install 'onpolicybaselines[atari]'")
    from onpolicybaselines.common import atari_wrappers
    return atari_wrappers


@pytest.mark.parametrize(('kwargs', 'shape', 'dtype', 'high'), [
    ({}, (84, 84, 1), np.uint8, 255),
    ({'frame_stack': True}, (84, 84, 4), np.uint8, 255),
    ({'scale': True}, (84, 84, 1), np.float32, 1),
    ({'scale': True, 'frame_stack': True}, (84, 84, 4), np.float32, 1),
])
def test_atari_observations(atari, kwargs, shape, dtype, high):
    env = atari.wrap_deepmind(atari.make_atari('BreakoutNoFrameskip-v4'), **kwargs)
    assert env.observation_space == gymnasium.spaces.Box(0, high, shape, dtype)
    ob, _ = env.reset(seed=0)
    for action in (2, 2, 3, 3, 1):
        old, (ob, _, _, _, _) = ob, env.step(action)
        assert env.observation_space.contains(ob)
        assert .3 * high < ob.max() <= high
        if shape[-1] == 4:
            np.testing.assert_array_equal(ob[..., :3], old[..., 1:])  # the newest frame comes last
    env.close()


def test_atari_episodes_are_lives(atari):
    """Five lives of one game of Breakout: five episodes for the learner, one for the Monitor inside."""
    monitor = Monitor(atari.make_atari('BreakoutNoFrameskip-v4'), None)
    env = atari.wrap_deepmind(monitor)
    ale = env.unwrapped.ale
    env.reset(seed=1)
    raw, lives, infos = [], [], []
    rng = np.random.default_rng(0)
    for _ in range(5):
        terminated = truncated = False
        while not (terminated or truncated):
            _, reward, terminated, truncated, info = env.step(rng.integers(4))
            assert reward in (-1., 0., 1.)
            raw.append(reward)
        assert terminated
        lives.append(ale.lives())
        infos.append(info)
        if lives[-1] > 0:
            env.reset()
    assert lives == [4, 3, 2, 1, 0]
    assert ['episode' in info for info in infos] == [False] * 4 + [True]
    assert infos[-1]['episode']['r'] == sum(raw) > 0  # Breakout's first bricks give 1 each: clipping changes nothing
    assert infos[-1]['episode']['l'] > len(raw)  # the NOOP and the two FIRE steps after each lost life
    env.reset()
    assert ale.lives() == 5
    env.close()


def test_atari_a_seed_starts_a_new_game(atari):
    env = atari.wrap_deepmind(atari.make_atari('BreakoutNoFrameskip-v4'))
    first, _ = env.reset(seed=3)
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(0)
    again, _ = env.reset(seed=3)
    assert env.unwrapped.ale.lives() == 5
    np.testing.assert_array_equal(first, again)
    env.close()


def test_atari_rewards_are_clipped(atari):
    """Bricks higher up give 4 and 7; SpaceInvaders' aliens give 5 and more from the first on."""
    totals = {}
    for clip in (False, True):
        env = atari.wrap_deepmind(atari.make_atari('SpaceInvadersNoFrameskip-v4'), clip_rewards=clip)
        env.reset(seed=0)
        totals[clip] = [float(env.step(1)[1]) for _ in range(100)]
        env.close()
    assert max(totals[False]) >= 5
    assert totals[True] == list(np.sign(totals[False]))


def test_atari_reset_presses_fire_where_it_must(atari):
    """In Breakout the ball moves after FIRE only; without it the picture stands still."""
    still = atari.make_atari('BreakoutNoFrameskip-v4')
    moving = atari.wrap_deepmind(atari.make_atari('BreakoutNoFrameskip-v4'), episode_life=False)
    changes = []
    for env in (still, moving):
        env.reset(seed=0)
        frames = [env.step(0)[0].astype(int) for _ in range(5)]
        changes.append(sum(np.abs(a - b).max() for a, b in zip(frames, frames[1:], strict=False)))
        env.close()
    assert changes[0] == 0 < changes[1]


def test_atari_time_limit_and_skip(atari):
    env = atari.make_atari('PongNoFrameskip-v4', max_episode_steps=3)
    env.reset(seed=0)
    before = env.unwrapped.ale.getEpisodeFrameNumber()
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert env.unwrapped.ale.getEpisodeFrameNumber() - before == 12
    assert ends == [(False, False), (False, False), (False, True)]
    env.close()


def test_atari_noops_differ_by_seed(atari):
    env = atari.make_atari('PongNoFrameskip-v4')
    noops = set()
    for seed in range(8):
        env.reset(seed=seed)
        noops.add(env.unwrapped.ale.getEpisodeFrameNumber())
    assert len(noops) > 3 and 1 <= min(noops) and max(noops) <= 30
    env.close()


def test_atari_in_processes_equals_dummy(atari):
    def make(seed):
        env = atari.wrap_deepmind(atari.make_atari('PongNoFrameskip-v4'), frame_stack=True)
        env.reset(seed=seed)
        return env

    env_fns = [functools.partial(make, seed) for seed in range(2)]
    with contextlib.closing(DummyVecEnv(env_fns)) as venv1, contextlib.closing(ShmemVecEnv(env_fns)) as venv2:
        np.testing.assert_array_equal(venv1.reset(), venv2.reset())
        for action in range(6):
            for a, b in zip(venv1.step([action, 0])[:3], venv2.step([action, 0])[:3], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(('env_id', 'repeats'), [('ALE/Pong-v5', .25), ('PongNoFrameskip-v4', 0), ('Pong-v4', 0)])
def test_atari_ids_differ_in_repeated_actions_only(atari, env_id, repeats):
    env = atari.make_atari(env_id)
    env.reset(seed=0)
    ale = env.unwrapped.ale
    frames = [ale.getEpisodeFrameNumber()]
    for action in (2, 3, 2):
        env.step(action)
        frames.append(ale.getEpisodeFrameNumber())
    assert list(np.diff(frames)) == [4, 4, 4] and env.action_space.n == 6
    assert ale.getFloat('repeat_action_probability') == repeats
    env.close()


def test_atari_takes_games_only(atari):
    with pytest.raises(UsageError, match="games of ale-py, such as 'ALE/Pong-v5' .*, got 'CartPole-v1'"):
        atari.make_atari('CartPole-v1')


def test_missing_ale_py(monkeypatch):
    import sys

    from onpolicybaselines.common.atari_wrappers import make_atari
    monkeypatch.setitem(sys.modules, 'ale_py', None)
    with pytest.raises(ImportError, match=r"pip install 'onpolicybaselines\[atari\]'"):
        make_atari('PongNoFrameskip-v4')
