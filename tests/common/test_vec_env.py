"""Vectorized environments against plain gymnasium and against each other."""
import contextlib
import copy
import functools
import os
import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common import mpi_world
from onpolicybaselines.common.errors import EnvironmentFault, UsageError
from onpolicybaselines.common.rollouts import Episodes
from onpolicybaselines.common.vec_env import (
    AlreadySteppingError,
    DummyVecEnv,
    GymVecEnv,
    NotSteppingError,
    ShmemVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    as_vec_env,
    series,
)
from onpolicybaselines.common.vec_env.series import in_series
from onpolicybaselines.common.vec_env.vec_env import clear_mpi_env_vars
from onpolicybaselines.common.wrappers import ClipActionsWrapper


def sync_vec_env(env_fns, **kwargs):
    return GymVecEnv(SyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs))


ALL_KINDS = [DummyVecEnv, sync_vec_env, SubprocVecEnv, ShmemVecEnv]


class SimpleEnv(gymnasium.Env):
    """Counts up. If nasty, in one array for ever, which tempts to alias, and with infos that cannot be merged."""

    def __init__(self, seed, dtype='float32', fault=None, nasty=True):
        self.observation_space = self.action_space = gymnasium.spaces.Box(0, 255, (3, 8), dtype)
        self._start_obs = np.random.default_rng(seed).integers(0, 256, (3, 8)).astype(dtype)
        self._cur_obs = np.zeros((3, 8), dtype)
        self._seed, self._fault, self._nasty = seed, fault, nasty
        if fault == 'build' and seed and is_child():
            raise OSError('100% built wrong')

    def reset(self, *, seed=None, options=None):
        self._fail('reset')
        if not self._nasty:
            self._cur_obs = self._cur_obs.copy()
        self._cur_obs[:] = self._start_obs
        self._cur_step = 0
        return self._cur_obs, {}

    def step(self, action):
        self._cur_step += 1
        if self._cur_step == 2:
            self._fail('step')
        self._cur_obs += action.astype(self._cur_obs.dtype)
        reward = self._cur_step / 3
        info = {'name': 'step%d' % self._cur_step}
        if self._nasty:  # numbers of two types, arrays of two lengths
            info.update(number=.5 if self._seed else 1, array=np.arange(self._cur_step + self._seed))
        return self._cur_obs, reward, self._cur_step >= self._seed + 2, False, info

    def _fail(self, where):
        if self._fault == where and self._seed:
            raise LocalError('100% wrong')
        if self._fault == 'exit' and where == 'step' and self._seed:
            os._exit(3)
        if self._fault == 'hang' and where == 'step':
            time.sleep(600)


def is_child():
    import multiprocessing
    return multiprocessing.parent_process() is not None


class LocalError(Exception):
    """Cannot be pickled."""

    def __reduce__(self):
        raise TypeError('no pickling')


class LocalNeed(gymnasium.error.DependencyNotInstalled):
    """Cannot be pickled in a child process."""

    def __reduce__(self):
        if is_child():
            raise TypeError('no pickling')
        return super().__reduce__()


class DictEnv(gymnasium.Env):
    """Dict observations of two dtypes."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Dict(
        pos=gymnasium.spaces.Box(-9, 9, (2,), np.float64), image=gymnasium.spaces.Box(0, 255, (4, 4, 1), np.uint8))

    def reset(self, *, seed=None, options=None):
        self._cur_step = 0
        return self._ob(), {}

    def step(self, action):
        self._cur_step += 1 + int(action)
        return self._ob(), 1., self._cur_step > 4, False, {}

    def _ob(self):
        return {'pos': np.full(2, self._cur_step / 3), 'image': np.full((4, 4, 1), self._cur_step, np.uint8)}


def monitored(env_id, seed, **kwargs):
    env = gymnasium.make(env_id, **kwargs)
    env.reset(seed=seed)
    return Monitor(env, None, allow_early_resets=True)


def fns(make, num_envs=2, **kwargs):
    return [functools.partial(make, seed=i, **kwargs) for i in range(num_envs)]


def assert_same(x, y):
    """Equal values of equal types; wall times may differ."""
    assert type(x) is type(y)
    if isinstance(x, dict):
        assert x.keys() == y.keys()
        for k in x.keys() - {'t'}:
            assert_same(x[k], y[k])
    elif isinstance(x, (list, tuple)):
        assert len(x) == len(y)
        for a, b in zip(x, y, strict=True):
            assert_same(a, b)
    elif isinstance(x, np.ndarray):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    else:
        assert x == y


def assert_same_steps(venv1, venv2, steps):
    """A reset, and steps in which at least four episodes end; returns the last actions."""
    assert_same(venv1.reset(), venv2.reset())
    venv1.action_space.seed(1337)
    episodes = 0
    for _ in range(steps):
        actions = np.array([venv1.action_space.sample() for _ in range(venv1.num_envs)])
        out1, out2 = venv1.step(actions), venv2.step(actions)
        assert_same(list(out1), list(out2))
        episodes += out1[2].sum()
    assert episodes >= 4
    return actions


@pytest.mark.parametrize('klass', [SubprocVecEnv, ShmemVecEnv])
@pytest.mark.parametrize('env_fns', [
    fns(SimpleEnv, dtype='uint8'), fns(SimpleEnv, dtype='float32'), [DictEnv, DictEnv],
    fns(monitored, env_id='CartPole-v1'), fns(monitored, env_id='Hopper-v5', max_episode_steps=25),
], ids=['uint8', 'float32', 'dict', 'CartPole', 'Hopper'])
def test_equals_dummy(klass, env_fns):
    with contextlib.closing(DummyVecEnv(env_fns)) as venv1, contextlib.closing(klass(env_fns)) as venv2:
        assert venv1.num_envs == venv2.num_envs == len(env_fns)
        assert venv1.observation_space == venv2.observation_space
        assert venv1.action_space == venv2.action_space
        assert venv1.spec == venv2.spec
        assert_same_steps(venv1, venv2, 100)
        assert_same(venv1.reset(), venv2.reset())


@pytest.mark.parametrize('kind', ALL_KINDS)
def test_ends_of_episodes(kind):
    """Hopper falls (terminated), runs into its time limit (truncated), or both in one step (terminated)."""
    env = monitored('Hopper-v5', seed=1)
    rewards, terminated, obs = [], False, []
    env.reset()
    while not terminated:
        ob, reward, terminated, _, _ = env.step(np.ones(3))
        obs.append(ob)
        rewards.append(reward)
    fall = len(obs)
    assert fall > 7
    limits = [1000, 7, fall]
    with contextlib.closing(kind([functools.partial(monitored, 'Hopper-v5', 1, max_episode_steps=n)
                                  for n in limits])) as venv:
        venv.reset()
        ends = {}
        for t in range(1, fall + 1):
            next_obs, rews, dones, infos = venv.step(np.ones((3, 3)))
            assert rews.dtype == np.float64 and dones.dtype == bool
            for i in range(3):
                assert dones[i] == ('terminal_observation' in infos[i]) == ('TimeLimit.truncated' in infos[i])
                if dones[i]:
                    assert not np.array_equal(next_obs[i], infos[i]['terminal_observation'])
                    ends.setdefault(i, (t, infos[i]))
    for i, (length, truncated) in enumerate([(fall, False), (7, True), (fall, False)]):
        t, info = ends[i]
        assert t == length
        assert info['TimeLimit.truncated'] is truncated
        np.testing.assert_array_equal(info['terminal_observation'], obs[length - 1])
        assert info['episode']['l'] == length
        assert info['episode']['r'] == pytest.approx(sum(rewards[:length]), rel=1e-12)


@pytest.mark.parametrize('kind', [*ALL_KINDS, functools.partial(sync_vec_env, copy=False)],
                         ids=['dummy', 'sync', 'subproc', 'shmem', 'sync without copy'])
def test_results_stay_as_they_were(kind):
    nasty = kind in (DummyVecEnv, SubprocVecEnv, ShmemVecEnv)  # SyncVectorEnv itself does not stand it
    with contextlib.closing(kind(fns(SimpleEnv, 3, nasty=nasty))) as venv:
        kept = [(venv.reset(),)]
        for _ in range(5):
            kept.append(venv.step(np.ones((3, 3, 8), np.float32)))
        start = np.array([np.random.default_rng(i).integers(0, 256, (3, 8)) for i in range(3)], np.float32)
        step = np.zeros(3)
        for (obs, *rest) in kept:
            np.testing.assert_array_equal(obs, start + step[:, None, None])
            step = (step + 1) % [2, 3, 4]
            for i, info in enumerate(rest[2] if rest else []):
                assert ('terminal_observation' in info) == rest[1][i]
                if rest[1][i]:
                    np.testing.assert_array_equal(info['terminal_observation'], start[i] + i + 2)


def test_dummy_action_of_single_env():
    venv = DummyVecEnv([functools.partial(monitored, 'Pendulum-v1', 0)])
    venv.reset()
    assert venv.step(np.zeros(1))[0].shape == (1, 3)
    assert venv.step(np.zeros((1, 1)))[0].shape == (1, 3)
    venv.close()
    venv = DummyVecEnv(fns(monitored, env_id='CartPole-v1'))
    venv.reset()
    with pytest.raises(ValueError, match='2 environments need as many actions'):
        venv.step([0, 1, 0])
    venv.close()


def test_dummy_observations_have_the_dtype_of_the_space():
    venv = DummyVecEnv([lambda: gymnasium.wrappers.TransformObservation(
        SimpleEnv(0), lambda ob: ob.astype(np.float64).tolist(), SimpleEnv(0).observation_space)])
    assert venv.reset().dtype == np.float32
    assert venv.step(np.zeros((1, 3, 8)))[0].dtype == np.float32


def test_dummy_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match='at least one environment'):
        DummyVecEnv([])
    with pytest.raises(ValueError, match='same spaces'):
        DummyVecEnv([functools.partial(SimpleEnv, 0), DictEnv])
    nested = DictEnv()
    nested.observation_space = gymnasium.spaces.Dict(inner=nested.observation_space)
    with pytest.raises(ValueError, match='FlattenObservation'):
        DummyVecEnv([lambda: nested])


@pytest.mark.parametrize('kind', [DummyVecEnv, sync_vec_env, ShmemVecEnv])
def test_order_of_calls(kind):
    with contextlib.closing(kind(fns(monitored, env_id='CartPole-v1'))) as venv:
        venv.reset()
        with pytest.raises(NotSteppingError):
            venv.step_wait()
        with pytest.raises(ValueError, match='2 environments need as many actions'):
            venv.step([0, 1, 0])
        venv.step_async([0, 1])
        with pytest.raises(AlreadySteppingError):
            venv.step_async([0, 1])
        venv.step_wait()
        venv.step_async([0, 1])
        venv.reset()  # drops the pending step
        with pytest.raises(NotSteppingError):
            venv.step_wait()


@pytest.mark.parametrize('fault', ['build', 'reset', 'step', 'render'])
def test_child_exception(fault):
    venv = SubprocVecEnv(fns(SimpleEnv, fault=fault))
    with contextlib.closing(venv):
        with pytest.raises(RuntimeError) as excinfo:
            venv.reset()
            for _ in range(2):
                venv.step(np.zeros((2, 3, 8), np.float32))
            venv.get_images()
        message = str(excinfo.value)
        env, error = (0, 'NotImplementedError') if fault == 'render' else (1, '100% built wrong') \
            if fault == 'build' else (1, 'LocalError: 100% wrong')
        assert message.startswith('environment %d failed in its process:\nTraceback' % env)
        assert error in message
        assert 'test_vec_env.py' in message or fault == 'render'
    assert not any(p.is_alive() for p in venv.venv.processes)


class Needy(SimpleEnv):
    """In a process, a package is missing: to be made, or to be drawn."""

    def __init__(self, where, error):
        super().__init__(0)
        self._where, self._error = where, error
        if where == 'build' and is_child():
            raise error

    def render(self):
        raise self._error


@pytest.mark.parametrize(('where', 'error'), [
    *((where, LocalNeed('run `pip install painter`')) for where in ('build', 'render')),
    *(('build', kind('no room')) for kind in (UsageError, EnvironmentFault, FloatingPointError))])
def test_what_one_line_says_is_handed_on(where, error):
    venv = SubprocVecEnv([functools.partial(Needy, where, error)] * 2, in_series=2)
    kind = gymnasium.error.DependencyNotInstalled if isinstance(error, LocalNeed) else type(error)
    with contextlib.closing(venv), pytest.raises(kind, match=f'^one of environments 0 to 1: {error}$'):
        venv.reset()
        venv.get_images()


def test_child_exception_after_fork():
    """In a fresh interpreter, as forking is unsafe in one with threads such as TensorFlow's."""
    code = ('import os\n'
            'from onpolicybaselines.common.vec_env import SubprocVecEnv\n'
            'import gymnasium\n'
            'pid = os.getpid()\n'
            'def make():\n'
            '    if os.getpid() != pid: raise OSError("built wrong")\n'
            '    return gymnasium.make("CartPole-v1")\n'
            'venv = SubprocVecEnv([make], context="fork")\n'
            'try:\n'
            '    venv.reset()\n'
            'except RuntimeError as error:\n'
            '    print("OSError: built wrong" in str(error))\n'
            'venv.close()\n')
    out = subprocess.run(run_python(code), capture_output=True, text=True, timeout=30)
    assert (out.returncode, out.stdout, out.stderr) == (0, 'True\n', '')


def test_child_dies():
    venv = SubprocVecEnv(fns(SimpleEnv, fault='exit'))
    venv.reset()
    venv.step(np.zeros((2, 3, 8), np.float32))
    with pytest.raises(RuntimeError, match=r'exit code\): \{1: 3\}'):
        venv.step(np.zeros((2, 3, 8), np.float32))
    assert not any(p.is_alive() for p in venv.venv.processes)
    venv.close()


def die():
    if is_child():
        os._exit(4)
    return DictEnv()


def test_child_dies_at_start():
    with pytest.raises(RuntimeError, match='__main__'):
        SubprocVecEnv([DictEnv, die])


@pytest.mark.parametrize('kind', ALL_KINDS)
def test_close_twice(kind):
    venv = kind(fns(monitored, env_id='CartPole-v1'))
    venv.reset()
    venv.step_async([0, 1])  # a pending step is no obstacle
    venv.close()
    venv.close()
    assert venv.closed
    if isinstance(venv, SubprocVecEnv):
        assert [p.exitcode for p in venv.venv.processes] == [0, 0]


def test_close_ends_a_hanging_child():
    venv = SubprocVecEnv(fns(SimpleEnv, fault='hang'))
    venv.close_timeout = .2
    venv.reset()
    venv.step(np.zeros((2, 3, 8), np.float32))
    venv.step_async(np.zeros((2, 3, 8), np.float32))
    venv.close()
    assert [p.exitcode for p in venv.venv.processes] == [-signal.SIGKILL] * 2


def run_python(code):
    return [sys.executable, '-W', 'error', '-c', code]


def is_running(pid):
    try:
        with open('/proc/%d/stat' % pid) as fh:
            return fh.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_interrupt():
    """Ctrl-C, which all processes get, while the first child has answered and the second has not."""
    code = ('import os, signal, threading, time, gymnasium\n'
            'from onpolicybaselines.common.vec_env import SubprocVecEnv\n'
            'class Env(gymnasium.Env):\n'
            '    observation_space = action_space = gymnasium.spaces.Discrete(99)\n'
            '    def reset(self, *, seed=None, options=None):\n'
            '        return 0, {}\n'
            '    def step(self, action):\n'
            '        time.sleep(action)\n'
            '        return 0, 0., False, False, {}\n'
            'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # background jobs begin with it ignored
            'venv = SubprocVecEnv([Env] * 2)\n'
            'venv.reset()\n'
            'threading.Timer(.5, os.killpg, (os.getpgid(0), signal.SIGINT)).start()\n'
            'try:\n'
            '    venv.step([0, 60])\n'
            'except KeyboardInterrupt:\n'
            '    venv.close()\n'
            '    print([p.exitcode for p in venv.venv.processes])\n')
    out = subprocess.run(run_python(code), capture_output=True, text=True, timeout=30, start_new_session=True)
    assert (out.returncode, out.stdout, out.stderr) == (0, '[-9, -9]\n', '')


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks processes up in /proc')
def test_children_die_with_parent():
    code = ('import time, gymnasium\n'
            'from onpolicybaselines.common.vec_env import SubprocVecEnv\n'
            'venv = SubprocVecEnv([lambda: gymnasium.make("CartPole-v1")] * 2)\n'
            'print(*[p.pid for p in venv.venv.processes], flush=True)\n'
            'time.sleep(600)')
    with subprocess.Popen(run_python(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_running, pids))
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(.05)
    assert not any(map(is_running, pids))


def test_children_are_no_mpi_ranks(mpirun):
    out = mpirun(2, '''
        import gymnasium
        from onpolicybaselines.common import mpi_world
        from onpolicybaselines.common.vec_env import SubprocVecEnv

        class Env(gymnasium.Env):
            observation_space = action_space = gymnasium.spaces.Discrete(9)

            def reset(self, **kwargs):
                from mpi4py import MPI
                return MPI.COMM_WORLD.Get_rank(), {}

            def step(self, action):
                return mpi_world.size(), 0., False, False, {}

        if __name__ == '__main__':
            venv = SubprocVecEnv([Env])
            print('ranks', mpi_world.size(), 'children', venv.reset()[0], venv.step([0])[0][0], flush=True)
            venv.close()
        ''')
    assert out.returncode == 0, out.stderr
    assert out.stdout.splitlines() == ['ranks 2 children 0 1'] * 2


class LauncherEnv(gymnasium.Env):
    """Observes how many of the MPI launchers' variables there are."""

    observation_space = action_space = gymnasium.spaces.Discrete(99)

    def reset(self, *, seed=None, options=None):
        return len(launcher_variables() & set(os.environ)), {}


def launcher_variables():
    return {name for names in mpi_world.LAUNCHER_VARIABLES for name in names} - {'SLURM_NTASKS'}


def test_children_see_no_launcher(monkeypatch):
    for name in launcher_variables():
        monkeypatch.setenv(name, '0')
    with contextlib.closing(SubprocVecEnv([LauncherEnv])) as venv:
        assert LauncherEnv().reset()[0] >= 7
        assert list(venv.reset()) == [0]


def test_clear_mpi_env_vars(monkeypatch):
    names = launcher_variables()
    for name in names:
        monkeypatch.setenv(name, '2')
    with pytest.raises(KeyError), clear_mpi_env_vars():
        assert not names & set(os.environ)
        raise KeyError
    assert all(os.environ[name] == '2' for name in names)


def test_light_import():
    code = ('import sys, onpolicybaselines.common.vec_env\n'
            'print([m for m in ("tensorflow", "pandas", "mpi4py", "mujoco", "imageio", "cv2") if m in sys.modules])')
    out = subprocess.run(run_python(code), capture_output=True, text=True, check=True)
    assert out.stdout.strip() == '[]'


def test_as_vec_env():
    venv = DummyVecEnv([functools.partial(gymnasium.make, 'Pendulum-v1')])
    assert as_vec_env(venv) is venv

    class Foreign:
        num_envs = 1

        def step_async(self, actions): ...

        def step_wait(self): ...

    foreign = Foreign()
    assert as_vec_env(foreign) is foreign

    vector = gymnasium.make_vec('CartPole-v1', 2, 'sync',
                                vector_kwargs={'autoreset_mode': AutoresetMode.SAME_STEP})
    adapted = as_vec_env(vector)
    assert isinstance(adapted, GymVecEnv) and adapted.num_envs == 2
    assert adapted.action_space == gymnasium.spaces.Discrete(2)

    box = as_vec_env(gymnasium.make('Pendulum-v1'))
    assert isinstance(box, DummyVecEnv) and isinstance(box.envs[0], ClipActionsWrapper)
    clipped = Monitor(ClipActionsWrapper(gymnasium.make('Pendulum-v1')), None)
    assert as_vec_env(clipped).envs[0] is clipped
    discrete = gymnasium.make('CartPole-v1')
    assert as_vec_env(discrete).envs[0] is discrete

    for env in ('CartPole-v1', None, gymnasium.make):
        with pytest.raises(TypeError, match='must be a VecEnv, a gymnasium.vector.VectorEnv or a gymnasium.Env'):
            as_vec_env(env)


@pytest.mark.parametrize(('kind', 'mode'), [
    (SyncVectorEnv, 'NEXT_STEP'), (SyncVectorEnv, 'DISABLED'), (AsyncVectorEnv, 'NEXT_STEP'),
    (AsyncVectorEnv, 'DISABLED'), (functools.partial(AsyncVectorEnv, shared_memory=False), 'DISABLED'),
    (lambda *args, **kwargs: RecordEpisodeStatistics(SyncVectorEnv(*args, **kwargs)), 'NEXT_STEP')])
def test_every_autoreset_mode_gives_the_steps_of_same_step(kind, mode):
    """Observations, rewards, ends and last observations; no step in which an action has no effect."""
    def play(vector):
        venv = as_vec_env(vector)
        vector.reset(seed=3)
        steps, rng = [venv.reset()], np.random.default_rng(0)
        for _ in range(60):
            obs, rews, dones, infos = venv.step(rng.integers(2, size=2))
            last = [(i, info['terminal_observation'].tolist(), info['TimeLimit.truncated'])
                    for i, info in enumerate(infos) if 'terminal_observation' in info]
            steps.append((obs.tolist(), rews.tolist(), dones.tolist(), last))
            assert len(last) == sum(dones) and not any('episode' in info for info in infos)
        venv.close()
        return steps

    make = [functools.partial(gymnasium.make, 'CartPole-v1', max_episode_steps=n) for n in (12, 500)]
    expected = play(SyncVectorEnv(make, autoreset_mode=AutoresetMode.SAME_STEP))
    steps = play(kind(make, autoreset_mode=AutoresetMode[mode]))
    np.testing.assert_array_equal(steps[0], expected[0])
    assert steps[1:] == expected[1:] and sum(sum(dones) for _, _, dones, _ in expected[1:]) > 5


def test_vector_environments_that_cannot_reset_some_are_rejected_in_a_line():
    vectors = [gymnasium.make_vec('CartPole-v1', 2, vectorization_mode='vector_entry_point'),
               AsyncVectorEnv([functools.partial(gymnasium.make, 'CartPole-v1')], shared_memory=False)]
    for vector in vectors:
        with pytest.raises(ValueError, match='autoreset mode NEXT_STEP and cannot reset single.*make_vec') as error:
            as_vec_env(vector)
        assert '\n' not in str(error.value)
        vector.close()


def test_vector_env_actions_are_clipped():
    """Pendulum's cost has the action in it, so a clipped action shows in the reward."""
    class Recorder(gymnasium.Wrapper):
        def step(self, action):
            self.action = action
            return super().step(action)

    recorder = Recorder(gymnasium.make('Pendulum-v1'))
    venv = as_vec_env(SyncVectorEnv([lambda: recorder], autoreset_mode=AutoresetMode.SAME_STEP))
    venv.reset()
    for action, clipped in [(7., 2.), (-7., -2.), (.5, .5)]:
        venv.step(np.array([[action]]))
        assert recorder.action == [clipped]
    venv.close()


def test_vector_statistics_give_way_to_the_count_of_the_runner():
    """Those of gymnasium are wrong in this mode: an episode that ends begins with the reward of its last step."""
    venv = as_vec_env(RecordEpisodeStatistics(SyncVectorEnv(
        [functools.partial(gymnasium.make, 'Pendulum-v1', max_episode_steps=n) for n in (3, 5)],
        autoreset_mode=AutoresetMode.SAME_STEP)))
    venv.reset()
    returns, episodes = np.zeros(2), Episodes(2)
    for _ in range(12):
        _, rews, dones, infos = venv.step(np.zeros((2, 1)))
        returns += rews
        episodes.note(rews, dones, infos)
        for i in np.flatnonzero(dones):
            assert infos[i]['episode']['l'] == (3, 5)[i]
            assert infos[i]['episode']['r'] == pytest.approx(returns[i], rel=1e-6)
        returns[dones] = 0
        assert ['episode' in info for info in infos] == list(dones)
    venv.close()


def test_built_in_vector_env_is_rejected_as_it_resets_late():
    vector = gymnasium.make_vec('CartPole-v1', 2, 'vector_entry_point')
    with pytest.raises(ValueError, match='NEXT_STEP'):
        GymVecEnv(vector)
    vector.close()


def test_frame_stack():
    venv = VecFrameStack(DummyVecEnv(fns(SimpleEnv)), 3)
    start = [np.random.default_rng(i).integers(0, 256, (3, 8)).astype(np.float32) for i in range(2)]
    zero = np.zeros_like(start[0])
    ones = np.ones((2, 3, 8), np.float32)
    assert venv.observation_space.shape == (3, 24)
    first = venv.reset()
    second, _, _, _ = venv.step(ones)
    third, _, dones, infos = venv.step(ones)
    again = venv.reset()

    def stack(*frames):
        return np.concatenate(frames, axis=-1)

    for i in range(2):
        for obs in (first, again):  # the second reset did not write into the first one's array
            np.testing.assert_array_equal(obs[i], stack(zero, zero, start[i]))
        np.testing.assert_array_equal(second[i], stack(zero, start[i], start[i] + 1))
    assert list(dones) == [True, False]
    np.testing.assert_array_equal(third[0], stack(zero, zero, start[0]))
    np.testing.assert_array_equal(infos[0]['terminal_observation'], stack(start[0], start[0] + 1, start[0] + 2))
    np.testing.assert_array_equal(third[1], stack(start[1], start[1] + 1, start[1] + 2))
    assert third.dtype == np.float32
    with pytest.raises(ValueError, match='Box'):
        VecFrameStack(DummyVecEnv([DictEnv]), 2)


def test_extract_dict_obs():
    venv = VecExtractDictObs(DummyVecEnv([DictEnv, DictEnv]), 'pos')
    assert venv.observation_space == DictEnv.observation_space['pos']
    np.testing.assert_array_equal(venv.reset(), np.zeros((2, 2)))
    for _ in range(2):
        venv.step([1, 0])
    obs, _, dones, infos = venv.step([1, 0])
    assert list(dones) == [True, False]
    np.testing.assert_array_equal(obs, [[0, 0], [1, 1]])
    np.testing.assert_array_equal(infos[0]['terminal_observation'], [2, 2])


def test_monitor(tmp_path):
    inner = DummyVecEnv([functools.partial(gymnasium.make, 'Pendulum-v1', max_episode_steps=n) for n in (2, 3)])
    venv = VecMonitor(inner, str(tmp_path / 'run'), keep_buf=2, info_keywords=('TimeLimit.truncated',))
    venv.reset()
    rewards = []
    for t in range(1, 7):
        _, rews, dones, infos = venv.step(np.zeros((2, 1)))
        rewards.append(rews)
        for i in np.flatnonzero(dones):
            length = i + 2
            assert infos[i]['episode']['l'] == length and t % length == 0
            assert infos[i]['episode']['r'] == pytest.approx(sum(r[i] for r in rewards[-length:]), rel=1e-12)
            assert infos[i]['episode']['TimeLimit.truncated'] is True
    assert venv.epcount == 5
    assert list(venv.eplen_buf) == [2, 3]
    venv.close()
    lines = (tmp_path / 'run.monitor.csv').read_text().splitlines()
    assert lines[0].startswith('# {') and lines[1] == 'r,l,t,TimeLimit.truncated'
    assert [int(line.split(',')[1]) for line in lines[2:]] == [2, 3, 2, 2, 3]


def test_wrapper_shows_the_inner_one():
    class Same(VecEnvWrapper):
        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            return self.venv.step_wait()

    inner = DummyVecEnv([functools.partial(gymnasium.make, 'Pendulum-v1')])
    outer = Same(Same(inner))
    assert outer.unwrapped is inner and outer.envs is inner.envs
    assert outer.spec is inner.spec and outer.metadata is inner.metadata
    with pytest.raises(AttributeError):
        _ = outer._private
    with pytest.raises(AttributeError):
        _ = outer.missing
    with pytest.raises(ValueError, match="render_mode='rgb_array', these have None"):
        outer.render('rgb_array')
    outer.close()
    assert inner.closed and outer.closed


# --- several environments in a process ---

@pytest.mark.parametrize('env_fns', [fns(SimpleEnv, 4, dtype='uint8'), fns(monitored, 4, env_id='CartPole-v1')],
                         ids=['uint8', 'CartPole'])
def test_series_equals_dummy(env_fns):
    """And what has been in two processes goes on in four."""
    with (contextlib.closing(DummyVecEnv(env_fns)) as venv1,
          contextlib.closing(SubprocVecEnv(env_fns, in_series=2)) as venv2):
        assert venv1.num_envs == venv2.num_envs == 4 and len(venv2.venv.processes) == 2
        assert venv1.observation_space == venv2.observation_space and venv1.action_space == venv2.action_space
        assert venv1.spec == venv2.spec
        actions = assert_same_steps(venv1, venv2, 60)
        state = venv2.state()
        expected = venv2.step(actions)
        venv2.set_state(state)
        assert_same(list(venv2.step(actions)), list(expected))
        with pytest.raises(ValueError, match='4 environments need as many actions'):
            venv2.step(actions[:2])
        with contextlib.closing(SubprocVecEnv(env_fns, (venv1.observation_space, venv1.action_space))) as venv3:
            venv3.reset()
            venv3.set_state(state)
            assert_same(list(venv3.step(actions)), list(expected))


def test_series_names_what_failed():
    with contextlib.closing(SubprocVecEnv(fns(SimpleEnv, 4, fault='step'), in_series=2)) as venv:
        venv.reset()
        venv.step(np.ones((4, 3, 8), np.float32))
        with pytest.raises(RuntimeError, match='(?s)^one of environments 0 to 1 failed in its process:.*100% wrong'):
            venv.step(np.ones((4, 3, 8), np.float32))
    with pytest.raises(ValueError, match='4 environments cannot be shared out evenly, 3 in a process'):
        SubprocVecEnv(fns(SimpleEnv, 4), in_series=3)


@pytest.mark.parametrize(('cores', 'envs', 'processes'), [(2, 4, 2), (3, 4, 2), (16, 4, 4), (1, 4, 1), (2, 3, 1)])
def test_as_many_processes_as_cores(monkeypatch, cores, envs, processes):
    monkeypatch.setattr(series, 'cores', lambda: cores)
    with contextlib.closing(in_series(fns(SimpleEnv, envs))) as venv:
        found = len(venv.venv.processes) if isinstance(venv, SubprocVecEnv) else 1
        assert found == processes and venv.num_envs == envs


# --- spaces of every kind ---

BOXES = {dtype: gymnasium.spaces.Box(0, 1 if dtype == 'bool' else 100, (2, 3), dtype)
         for dtype in ('bool', 'int8', 'uint8', 'int16', 'int32', 'int64', 'float16', 'float32', 'float64')}
OTHERS = {'discrete': gymnasium.spaces.Discrete(5, start=-2), 'multidiscrete': gymnasium.spaces.MultiDiscrete([3, 7]),
          'table': gymnasium.spaces.MultiDiscrete([[3, 7], [2, 9]]), 'multibinary': gymnasium.spaces.MultiBinary(4)}
SPACES = {'dict': gymnasium.spaces.Dict({**BOXES, **OTHERS}), 'tuple': gymnasium.spaces.Tuple([*OTHERS.values()]),
          'discrete': OTHERS['discrete']}


class AnyEnv(gymnasium.Env):
    """Observes what it is told, or what is drawn; both spaces are the same."""

    def __init__(self, seed, name):
        self.observation_space, self.action_space = copy.deepcopy(SPACES[name]), copy.deepcopy(SPACES[name])
        self.observation_space.seed(seed)
        self.t = 0

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        return action, float(self.t), self.t % 3 == 0, False, {'action': action}


@pytest.mark.parametrize('name', SPACES)
def test_spaces_of_every_kind(name):
    """In processes, two in each, through pipes and shared memory, as in this one; Dicts and Tuples as actions, too."""
    env_fns = fns(AnyEnv, 4, name=name)
    with (contextlib.closing(DummyVecEnv(env_fns)) as dummy,
          contextlib.closing(SubprocVecEnv(env_fns, in_series=2)) as pipes,
          contextlib.closing(ShmemVecEnv(env_fns, in_series=4)) as shared):
        spaces = SPACES[name].spaces if name in ('dict', 'tuple') else {None: SPACES[name]}
        for venv in (pipes, shared):
            assert (venv.observation_space, venv.action_space) == (dummy.observation_space, dummy.action_space)
        obs = [venv.reset() for venv in (dummy, pipes, shared)]
        for t in range(1, 8):
            for other in obs[1:]:
                assert_same(other, obs[0])
            for key, space in spaces.items() if isinstance(spaces, dict) else enumerate(spaces):
                array = obs[0] if key is None else obs[0][key]
                assert array.dtype == space.dtype and all(space.contains(part) for part in array)
            actions = [dummy.action_space.sample() for _ in range(4)]
            results = [venv.step(actions) for venv in (dummy, pipes, shared)]
            obs = [result[0] for result in results]
            for _, rews, dones, infos in results:
                assert rews.tolist() == [t] * 4 and dones.tolist() == [t % 3 == 0] * 4
                assert_same([info['action'] for info in infos], actions)
