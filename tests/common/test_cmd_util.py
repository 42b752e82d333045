"""make_env and make_vec_env, with the files they write."""
import contextlib
import functools
import json
import os
import sys

import gymnasium
import numpy as np
import pytest

from onpolicybaselines import logger
from onpolicybaselines.common.cmd_util import make_env, make_vec_env
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.seeds import environment_seed
from onpolicybaselines.common.vec_env import DummyVecEnv, SubprocVecEnv, series
from onpolicybaselines.common.wrappers import ClipActionsWrapper, RewardScaler


@pytest.fixture
def run_dir(tmp_path):
    with logger.scoped_configure(dir=str(tmp_path), format_strs=[]):
        yield tmp_path


def rollout(venv, steps=30):
    """Everything that a run with sampled actions shows."""
    with contextlib.closing(venv):
        seen = [venv.reset()]
        for _ in range(steps):
            actions = np.array([venv.action_space.sample() for _ in range(venv.num_envs)])
            obs, rews, dones, _ = venv.step(actions)
            seen += [actions, obs, rews, dones]
    return seen


def equal(xs, ys):
    return all(np.array_equal(x, y) for x, y in zip(xs, ys, strict=True))


def make(env_id='Hopper-v5', num_env=1, seed=0, **kwargs):
    return make_vec_env(env_id, 'mujoco', num_env, seed, **kwargs)


def test_same_seed_same_run(run_dir):
    """One environment, several in this process, several in processes; Hopper falls several times in 30 steps."""
    one = rollout(make())
    assert sum(dones.sum() for dones in one[4::4]) >= 1
    assert equal(one, rollout(make()))
    assert not equal(one, rollout(make(seed=1)))
    two = rollout(make(num_env=2, force_dummy=True))
    assert equal(two, rollout(make(num_env=2)))
    assert not np.array_equal(two[0][0], two[0][1])
    np.testing.assert_array_equal(two[0][0], one[0][0])


def test_seeds_of_environments(run_dir):
    """The first has the run's; environment i of a VecEnv is the i-th one on its own; neighbouring runs share none."""
    five, six = (rollout(make(num_env=2, force_dummy=True, seed=seed)) for seed in (5, 6))
    np.testing.assert_array_equal(five[0][0], rollout(make(seed=5))[0][0])
    np.testing.assert_array_equal(five[0][1], rollout(make(seed=5, start_index=1))[0][0])
    np.testing.assert_array_equal(five[0][1], rollout(make(seed=environment_seed(5, 0, 1)))[0][0])
    assert not np.array_equal(five[0][1], six[0][0])
    assert not equal(rollout(make(seed=None))[:1], rollout(make(seed=None))[:1])


def test_ranks_have_seeds_and_files_of_their_own(mpirun, tmp_path):
    out = mpirun(2, '''
        import sys
        import numpy as np
        from onpolicybaselines import logger
        from onpolicybaselines.common.cmd_util import make_vec_env

        if __name__ == '__main__':
            with logger.scoped_configure(dir=sys.argv[1], format_strs=[]):
                for num_env in (1, 2):
                    venv = make_vec_env('Pendulum-v1', 'classic_control', num_env, 7)
                    np.save(sys.argv[1] + '/%d.%s.npy' % (num_env, np.random.randint(2 ** 31)), venv.reset())
                    venv.close()
        ''', tmp_path)
    assert out.returncode == 0, out.stderr
    assert sorted(p.name for p in tmp_path.glob('*.csv')) == [
        *('%s.monitor.csv' % name for name in ('0.0', '0.1', '0', '1.0', '1.1', '1'))]
    with logger.scoped_configure(dir=str(tmp_path / 'single'), format_strs=[]):
        for num_env in (1, 2):
            expected = [np.concatenate([rollout(make('Pendulum-v1', 1, environment_seed(7, rank, i)), 0)[0]
                                        for i in range(num_env)]) for rank in range(2)]
            found = [np.load(p) for p in tmp_path.glob('%d.*.npy' % num_env)]
            assert len(found) == 2  # the ranks' global seeds, from which the names were drawn, differ too
            if not np.array_equal(found[0], expected[0]):
                found.reverse()
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(('num_env', 'start_index', 'names'), [
    (1, 0, ['0']), (1, 2, ['0.2']), (2, 0, ['0.0', '0.1']), (2, 1, ['0.1', '0.2'])])
@pytest.mark.parametrize('force_dummy', [True, False])
def test_monitor_files(run_dir, num_env, start_index, names, force_dummy):
    venv = make('CartPole-v1', num_env, start_index=start_index, force_dummy=force_dummy)
    assert isinstance(venv, DummyVecEnv if force_dummy or num_env == 1 else SubprocVecEnv)
    episodes = [[] for _ in names]
    with contextlib.closing(venv):
        venv.reset()
        for _ in range(60):
            for i, info in enumerate(venv.step([0] * num_env)[3]):
                if 'episode' in info:
                    episodes[i].append(info['episode'])
    assert sorted(os.listdir(run_dir)) == ['%s.monitor.csv' % name for name in names]
    for name, rows in zip(names, episodes, strict=True):
        lines = (run_dir / ('%s.monitor.csv' % name)).read_text().splitlines()
        assert json.loads(lines[0].lstrip('# '))['env_id'] == 'CartPole-v1'
        assert len(rows) >= 4
        assert lines[2:] == ['%s,%s,%s' % (row['r'], row['l'], row['t']) for row in rows]


def test_reward_scale_and_raw_monitor(run_dir):
    venv = make('CartPole-v1', reward_scale=.01)
    assert isinstance(venv.envs[0], RewardScaler)
    venv.reset()
    done = False
    while not done:
        _, rews, (done,), infos = venv.step([0])
        assert rews == [.01]
    assert infos[0]['episode']['r'] == infos[0]['episode']['l'] >= 8
    venv.close()


def test_wrappers_of_make_env():
    env = make_env('Pendulum-v1', 'classic_control', env_kwargs={'g': 5., 'max_episode_steps': 3})
    assert isinstance(env, ClipActionsWrapper) and env.unwrapped.g == 5.
    env.reset()
    assert [env.step([9.])[3] for _ in range(3)] == [False, False, True]
    assert env.unwrapped.last_u == 2.
    assert not isinstance(make_env('CartPole-v1', None), ClipActionsWrapper)


THIRD_PARTY = '''
import gymnasium
import numpy as np

class DictEnv(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Dict(a=gymnasium.spaces.Box(-1, 1, (2,)), b=gymnasium.spaces.Box(-1, 1, (3,)))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {'a': np.zeros(2, np.float32), 'b': np.ones(3, np.float32)}, {}

gymnasium.register('ThirdParty-v0', DictEnv)
'''


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """A module on the path whose import registers an environment."""
    (tmp_path / 'third_party_envs.py').write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(tmp_path)
    yield 'third_party_envs:ThirdParty-v0'
    del gymnasium.registry['ThirdParty-v0'], sys.modules['third_party_envs']


@pytest.mark.parametrize('flatten', [True, False])
def test_dict_observations_of_a_third_party(run_dir, third_party, flatten):
    venv = make(third_party, flatten_dict_observations=flatten)
    obs = venv.reset()
    if flatten:
        assert venv.observation_space.shape == (5,)
        np.testing.assert_array_equal(obs, [[0, 0, 1, 1, 1]])
    else:
        np.testing.assert_array_equal(obs['b'], [[1, 1, 1]])
    venv.close()


def test_unknown_module():
    with pytest.raises(ModuleNotFoundError, match='no_such_module'):
        make_env('no_such_module:Env-v0', None)


def write_initialized(directory, mpi_rank, subrank):
    (directory / ('%d.%d.%d' % (mpi_rank, subrank, os.getpid()))).touch()


def test_initializer_runs_once_in_each_process(run_dir):
    (run_dir / 'init').mkdir()
    initializer = functools.partial(write_initialized, run_dir / 'init')
    venv = make('CartPole-v1', 2, initializer=initializer)
    pids = [p.pid for p in venv.venv.processes]
    venv.close()
    assert sorted(os.listdir(run_dir / 'init')) == sorted('0.%d.%d' % (i, pid) for i, pid in enumerate(pids))
    make('CartPole-v1', 2, initializer=initializer, force_dummy=True).close()  # no process, no call
    assert len(os.listdir(run_dir / 'init')) == 2


def test_atari(run_dir):
    pytest.importorskip('ale_py', reason="pip install 'onpolicybaselines[atari]'")
    venv = make_vec_env('PongNoFrameskip-v4', 'atari', 1, 0, wrapper_kwargs={'frame_stack': True},
                        env_kwargs={'render_mode': 'rgb_array'})
    assert venv.reset().shape == (1, 84, 84, 4)
    assert venv.render('rgb_array').shape == (210, 160, 3)
    venv.close()
    assert os.listdir(run_dir) == ['0.monitor.csv']


def test_games_share_processes(run_dir, monkeypatch):
    pytest.importorskip('ale_py', reason="pip install 'onpolicybaselines[atari]'")
    monkeypatch.setattr(series, 'cores', lambda: 2)
    venv = make_vec_env('PongNoFrameskip-v4', 'atari', 4, 0)
    dummy = make_vec_env('PongNoFrameskip-v4', 'atari', 4, 0, force_dummy=True)
    assert len(venv.venv.processes) == 2
    np.testing.assert_array_equal(venv.reset(), dummy.reset())
    for i in range(30):
        actions = (np.arange(4) + i) % 6
        np.testing.assert_array_equal(venv.step(actions)[0], dummy.step(actions)[0])
    venv.close()
    dummy.close()
    assert sorted(os.listdir(run_dir)) == [f'0.{i}.monitor.csv' for i in range(4)]


def test_faulty_arguments(run_dir):
    with pytest.raises(UsageError, match='num_env must be at least 1, got 0'):
        make(num_env=0)
    with pytest.raises(UsageError, match=r"for env_type 'atari', this one is 'mujoco': leave out \['frame_stack'\]"):
        make(wrapper_kwargs={'frame_stack': True})
    with pytest.raises(gymnasium.error.NameNotFound, match='Hoper'):
        make('Hoper-v5')
