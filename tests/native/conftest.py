"""Native steps beside gymnasium's."""
import numpy as np
import pytest

from onpolicybaselines.common.cmd_util import make_env
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv


class Pair:
    """The same environments in a DummyVecEnv and in a NativeVecEnv."""

    def __init__(self, env_id, num_env=1, folder=None, reward_scale=1., **env_kwargs):
        from onpolicybaselines.native import NativeVecEnv

        def make(name):
            if folder:
                (folder / name).mkdir()
            return [make_env(env_id, 'mujoco', seed=3, subrank=i, num_env=num_env, reward_scale=reward_scale,
                             env_kwargs=env_kwargs, logger_dir=folder and str(folder / name)) for i in range(num_env)]
        theirs, ours = make('theirs'), make('ours')
        self.theirs, self.ours = DummyVecEnv([lambda env=env: env for env in theirs]), NativeVecEnv(ours)
        self.random = np.random.default_rng(1)

    def actions(self, dtype=np.float32):
        """Of which a third is out of bounds."""
        high = self.theirs.action_space.high
        return (high * self.random.standard_normal([self.theirs.num_envs, *high.shape])).astype(dtype)

    def reset(self):
        same(self.theirs.reset(), self.ours.reset())

    def step(self, actions):
        """Step both; returns the infos of the episodes that ended."""
        natively = not self.ours.unchecked
        theirs, ours = self.theirs.step(actions), self.ours.step(actions)
        for their, our in zip(theirs[:3], ours[:3], strict=True):
            same(their, our)
        for their, our in zip(theirs[3], ours[3], strict=True):
            for info in (their, our):
                info.get('episode', {}).pop('t', None)
            promised = ('episode', 'TimeLimit.truncated', 'terminal_observation')
            np.testing.assert_equal(our, {name: their[name] for name in promised if name in their}
                                    if natively else their)
        same_counters(self.theirs, self.ours)
        return [info for info in theirs[3] if 'episode' in info]

    def close(self):
        self.theirs.close()
        self.ours.close()


def same(theirs, ours):
    """To the last bit, but those of a NaN, on which processors need not agree."""
    assert theirs.dtype == ours.dtype and theirs.shape == ours.shape
    theirs, ours = (np.where(np.isnan(x), np.nan, x) for x in (theirs, ours))
    assert theirs.tobytes() == ours.tobytes()


def same_counters(theirs, ours):
    """What the wrappers and the simulators have counted."""
    for their, our in zip(theirs.envs, ours.envs, strict=True):
        for name in ('_elapsed_steps', 'rewards', 'total_steps', 'needs_reset', '_has_reset', 'checked_step',
                     'checked_data_reuse'):
            assert their.has_wrapper_attr(name) == our.has_wrapper_attr(name)
            if our.has_wrapper_attr(name):
                assert np.array_equal(our.get_wrapper_attr(name), their.get_wrapper_attr(name), equal_nan=True), name
        assert their.unwrapped.data.time == our.unwrapped.data.time


@pytest.fixture
def pair():
    """Makes a Pair."""
    pytest.importorskip('numba')
    pairs = []

    def make(*args, **kwargs):
        pairs.append(Pair(*args, **kwargs))
        return pairs[-1]
    yield make
    for made in pairs:
        made.close()
