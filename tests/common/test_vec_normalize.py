"""VecNormalize against running statistics computed by plain numpy from the whole history."""
import gymnasium
import numpy as np
import pytest

from onpolicybaselines.common.files import read_arrays, write_arrays
from onpolicybaselines.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from onpolicybaselines.common.vec_env.normalizing import find, normalize

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


def test_arrays_go_into_a_model_file_and_are_taken_over(tmp_path):
    """Frozen, in other environments and behind another wrapper, the other one shows the same."""
    venv, other = VecNormalize(make_venv()), VecNormalize(make_venv(), training=False)
    venv.reset()
    for _ in range(20):
        venv.step(np.ones((2, 1)))
    write_arrays(str(tmp_path / 'model.npz'), venv.arrays(), {})
    arrays, _ = read_arrays(str(tmp_path / 'model.npz'))
    assert set(arrays) == {f'{of}/{name}' for of in ('ob_rms', 'ret_rms') for name in ('mean', 'var', 'count')}
    find(VecMonitor(other), VecNormalize).set_arrays(arrays)
    raw = make_venv()
    ob = raw.reset()
    np.testing.assert_array_equal(other.reset(), normalize(venv, ob))
    _, rews, _, _ = raw.step(np.ones((2, 1)))
    np.testing.assert_array_equal(other.step(np.ones((2, 1)))[1], rews / np.sqrt(venv.ret_rms.var + EPSILON))
    assert other.arrays().keys() == arrays.keys()
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(array, venv.arrays()[name])
    assert find(VecMonitor(make_venv()), VecNormalize) is None
    with pytest.raises(ValueError, match="VecNormalize does not fit: 'ob_rms/mean' has shape missing, needs"):
        VecNormalize(make_venv(), ret=False).set_arrays({})
    with pytest.raises(ValueError, match="VecNormalize does not fit: 'ret_rms/mean' has shape "):
        VecNormalize(make_venv(), ret=False).set_arrays(arrays)


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
