"""VecNormalize against running statistics computed by plain numpy from the whole history."""
import gymnasium
import numpy as np
import pytest

from onpolicybaselines.common.running_mean_std import RunningMeanStd
from onpolicybaselines.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize, statistics

GAMMA, EPSILON, COUNT = .9, 1e-8, 1e-4


def make_venv(max_episode_steps=(5, 7)):
    """Pendulums of different length, seeded: two calls give the same."""
    def make(seed, limit):
        env = gymnasium.make('Pendulum-v1', max_episode_steps=limit)
        env.reset(seed=seed)
        return env
    return DummyVecEnv([lambda i=i, n=n: make(i, n) for i, n in enumerate(max_episode_steps)])


def moments(samples):
    """Mean and variance of `samples` [n, ...] and of COUNT virtual ones with mean 0 and variance 1."""
    samples = np.asarray(samples, np.float64)
    n = len(samples) + COUNT
    mean = samples.sum(axis=0) / n
    var = (COUNT * (1 + mean ** 2) + ((samples - mean) ** 2).sum(axis=0)) / n
    return mean, var


def test_against_numpy():
    raw, venv = make_venv(), VecNormalize(make_venv(), clipob=1.5, cliprew=1., gamma=GAMMA, epsilon=EPSILON)
    seen, returns, ret = [], [], np.zeros(2)
    clipped_obs = clipped_rews = ends = 0

    def normalized(ob):
        mean, var = moments(np.concatenate(seen))
        return np.clip((ob - mean) / np.sqrt(var + EPSILON), -1.5, 1.5)

    raw_obs, obs = raw.reset(), venv.reset()
    seen.append(raw_obs)
    np.testing.assert_allclose(obs, normalized(raw_obs), rtol=1e-6, atol=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.uniform(-2, 2, (2, 1))
        raw_obs, raw_rews, raw_dones, raw_infos = raw.step(actions)
        obs, rews, dones, infos = venv.step(actions)
        seen.append(raw_obs)
        np.testing.assert_allclose(obs, normalized(raw_obs), rtol=1e-6, atol=1e-6)
        ret = ret * GAMMA + raw_rews
        returns.append(ret)
        expected = raw_rews / np.sqrt(moments(np.concatenate(returns))[1] + EPSILON)
        np.testing.assert_allclose(rews, np.clip(expected, -1, 1), rtol=1e-9)
        np.testing.assert_array_equal(dones, raw_dones)
        ret = np.where(dones, 0, ret)
        for i in np.flatnonzero(dones):
            ends += 1
            np.testing.assert_allclose(infos[i]['terminal_observation'],
                                       normalized(raw_infos[i]['terminal_observation']), rtol=1e-6, atol=1e-6)
        clipped_obs += (np.abs(obs) == 1.5).sum()
        clipped_rews += (np.abs(rews) == 1).sum()
    assert ends == 8 + 5 and clipped_obs > 0 and clipped_rews > 0


def test_frozen_for_evaluation():
    venv = VecNormalize(make_venv(), gamma=GAMMA)
    venv.reset()
    for _ in range(10):
        venv.step(np.zeros((2, 1)))
    venv.training = False
    before = [np.copy(x) for rms in (venv.ob_rms, venv.ret_rms) for x in (rms.mean, rms.var, rms.count)]
    raw = make_venv()
    raw.reset()
    for _ in range(10):
        raw.step(np.zeros((2, 1)))
    expected = (raw.reset() - venv.ob_rms.mean) / np.sqrt(venv.ob_rms.var + EPSILON)
    np.testing.assert_allclose(venv.reset(), expected, rtol=1e-6, atol=1e-6)
    for _ in range(10):
        raw_rews, rews = raw.step(np.ones((2, 1)))[1], venv.step(np.ones((2, 1)))[1]
        np.testing.assert_allclose(rews, raw_rews / np.sqrt(venv.ret_rms.var + EPSILON), rtol=1e-12)
    after = [x for rms in (venv.ob_rms, venv.ret_rms) for x in (rms.mean, rms.var, rms.count)]
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(('ob', 'ret'), [(False, True), (True, False), (False, False)])
def test_parts_switched_off(ob, ret):
    raw, venv = make_venv(), VecNormalize(make_venv(), ob=ob, ret=ret)
    assert (venv.ob_rms is None, venv.ret_rms is None) == (not ob, not ret)
    assert np.array_equal(raw.reset(), venv.reset()) == (not ob)
    for _ in range(8):
        raw_obs, raw_rews, raw_dones, raw_infos = raw.step(np.ones((2, 1)))
        obs, rews, _, infos = venv.step(np.ones((2, 1)))
        assert np.array_equal(obs, raw_obs) == (not ob)
        assert np.array_equal(rews, raw_rews) == (not ret)
        for i in np.flatnonzero(raw_dones):
            assert np.array_equal(raw_infos[i]['terminal_observation'], infos[i]['terminal_observation']) == (not ob)


class ImageEnv(gymnasium.Env):
    """Random uint8 images."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.integers(0, 256, (4, 4, 3), np.uint8), {}

    def step(self, action):
        return self.np_random.integers(0, 256, (4, 4, 3), np.uint8), 0., False, False, {}


def test_space_says_what_comes_out():
    venv = VecNormalize(make_venv(), clipob=3.)
    assert venv.observation_space == gymnasium.spaces.Box(-3., 3., (3,), np.float32)
    assert venv.reset().dtype == np.float32
    assert VecNormalize(make_venv(), ob=False).observation_space == venv.venv.observation_space
    images = VecNormalize(DummyVecEnv([ImageEnv]))
    assert images.observation_space == gymnasium.spaces.Box(-10., 10., (4, 4, 3), np.float32)
    images.reset()
    obs, _, _, _ = images.step([0])
    assert images.observation_space.contains(obs[0]) and (obs < 0).any()


def test_dict_observations_are_rejected():
    env = ImageEnv()
    env.observation_space = gymnasium.spaces.Dict(image=ImageEnv.observation_space)
    with pytest.raises(ValueError, match='needs Box observations.*VecExtractDictObs'):
        VecNormalize(DummyVecEnv([lambda: env]))


# ================================================================
# What a policy has learned from
# ================================================================

def test_a_frozen_one_keeps_to_what_another_has_learned():
    learned, env = VecNormalize(make_venv()), VecNormalize(make_venv())
    learned.reset()
    for _ in range(10):
        learned.step(np.ones((2, 1)))
    wrapped = VecMonitor(env)
    assert statistics.normalizer_of(wrapped) is env and statistics.normalizer_of(env.venv) is None
    statistics.freeze(wrapped, learned)
    before = env.ob_rms.state(), env.ret_rms.state()
    np.testing.assert_equal(before, (learned.ob_rms.state(), learned.ret_rms.state()))
    raw = make_venv().reset()
    expected = (raw - learned.ob_rms.mean) / np.sqrt(learned.ob_rms.var + 1e-8)
    np.testing.assert_allclose(wrapped.reset(), np.clip(expected, -10, 10), rtol=1e-6)
    wrapped.step(np.ones((2, 1)))
    np.testing.assert_equal((env.ob_rms.state(), env.ret_rms.state()), before)
    statistics.freeze(env.venv, learned)
    statistics.freeze(env, None)  # nothing to do


@pytest.mark.parametrize('parts', [{}, {'ob': False}, {'ret': False}, {'ob': False, 'ret': False}])
def test_statistics_go_into_arrays_and_back(parts):
    first, other = (VecNormalize(make_venv(), **parts) for _ in range(2))
    first.reset()
    first.step(np.ones((2, 1)))
    arrays = statistics.arrays(first)
    assert len(arrays) == 3 * (parts.get('ob', True) + parts.get('ret', True))
    statistics.set_arrays(other, {'pi/w': np.zeros(1), **arrays})
    np.testing.assert_equal(statistics.arrays(other), arrays)
    assert statistics.arrays(None) == {}


@pytest.mark.parametrize('samples', [np.array([[1.5, -2., np.pi]]), np.array([0.1])])
def test_a_batch_of_one_is_taken_in_as_numpy_has_it_to_the_bit(samples):
    fast, slow = (RunningMeanStd(shape=samples.shape[1:]) for _ in range(2))
    for i in range(5):
        x = samples * (i + 1) / 3
        fast.update(x)
        slow.update_from_moments(np.mean(x, axis=0), np.var(x, axis=0), 1)
        np.testing.assert_equal(fast.state(), slow.state())
