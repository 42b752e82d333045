"""What is stepped natively, and what is said of the rest."""
import copy
import subprocess
import sys

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco import MujocoEnv, hopper_v5
from gymnasium.wrappers import TimeLimit, TransformReward

from onpolicybaselines import logger
from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.cmd_util import make_env, make_vec_env
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.vec_env import DummyVecEnv, SubprocVecEnv
from onpolicybaselines.common.wrappers import ClipActionsWrapper, RewardScaler
from onpolicybaselines.native import NativeVecEnv, known, native_or_dummy, native_vec_env


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    pytest.importorskip('numba')
    with logger.scoped_configure(str(tmp_path), ['log']):
        yield


@pytest.fixture
def said(tmp_path):
    """What is in the log."""
    return lambda: (tmp_path / 'log.txt').read_text().splitlines()[1:]  # the first names the folder


def hopper(**kwargs):
    return gym.make('Hopper-v5', **kwargs)


class Subclass(hopper_v5.HopperEnv):
    pass


def patched(name):
    env = hopper()
    setattr(env.unwrapped, name, getattr(env.unwrapped, name))
    return ClipActionsWrapper(env)


def patched_wrapper():
    env = ClipActionsWrapper(hopper())
    env.step = env.step
    return env


def with_observation_space(space):
    env = hopper()
    env.unwrapped.observation_space = space
    return ClipActionsWrapper(env)


OTHERS = {
    'unknown wrapper TransformReward': lambda: ClipActionsWrapper(TransformReward(hopper(), abs)),
    'unknown wrapper Unlimited': lambda: type('Unlimited', (ClipActionsWrapper,), {})(hopper()),
    'no ClipActionsWrapper': hopper,
    'wrappers in the order ClipActionsWrapper, TimeLimit, Monitor, TimeLimit, OrderEnforcing, PassiveEnvChecker':
        lambda: ClipActionsWrapper(TimeLimit(Monitor(hopper(), None), 5)),
    'wrappers in the order ClipActionsWrapper, Monitor, RewardScaler, TimeLimit, OrderEnforcing, PassiveEnvChecker':
        lambda: ClipActionsWrapper(Monitor(RewardScaler(hopper()), None)),
    'its Monitor reads x_position in infos':
        lambda: ClipActionsWrapper(Monitor(hopper(), None, info_keywords=['x_position'])),
    f'unknown class {__name__}.Subclass': lambda: ClipActionsWrapper(Subclass()),
    'unknown class gymnasium.envs.mujoco.hopper_v4.HopperEnv': lambda: ClipActionsWrapper(gym.make('Hopper-v4')),
    "render_mode='rgb_array'": lambda: ClipActionsWrapper(hopper(render_mode='rgb_array')),
    'step of HopperEnv is replaced': lambda: patched('step'),
    'control_cost of HopperEnv is replaced': lambda: patched('control_cost'),
    'step of ClipActionsWrapper is replaced': patched_wrapper,
    'ctrl_cost_weight=np.float32(0.001)': lambda: ClipActionsWrapper(hopper(ctrl_cost_weight=np.float32(1e-3))),
    'terminate_when_unhealthy=1': lambda: ClipActionsWrapper(hopper(terminate_when_unhealthy=1)),
    'healthy_z_range=array([0.7, 2. ])': lambda: ClipActionsWrapper(hopper(healthy_z_range=np.array([0.7, 2.]))),
    f"observation_space is {gym.spaces.Box(-9, 9, (11,), 'float32')}":
        lambda: with_observation_space(gym.spaces.Box(-9, 9, (11,), 'float32')),
    f'native steps differ from those of gymnasium {gym.__version__} with MuJoCo {mujoco.__version__}':
        lambda: with_observation_space(gym.spaces.Box(-9, 9, (12,), 'float64')),
}


@pytest.mark.filterwarnings('ignore:.*deprecated:DeprecationWarning', 'ignore:.*out of date', 'ignore:.*obs')
@pytest.mark.parametrize('reason', OTHERS)
def test_gymnasium_steps_the_rest(reason, said):
    """And one line says why."""
    env = OTHERS[reason]()
    venv = native_or_dummy([lambda: env])
    assert type(venv) is DummyVecEnv and venv.envs == [env]
    line, = (line for line in said() if line.startswith('gymnasium steps '))  # beside those of compiling
    assert line.endswith(f' itself: {reason}')
    with pytest.raises(known.NotNative):
        NativeVecEnv([env])


def test_other_simulators_go_without_saying(said):
    """What has nothing to do with MuJoCo."""
    assert type(native_or_dummy([lambda: gym.make('Pendulum-v1')])) is DummyVecEnv
    assert native_vec_env([lambda: pytest.fail('made')], 'Pendulum-v1', {}) is None
    assert native_vec_env([lambda: pytest.fail('made')], 'module.that_is_not:here-v0', {}) is None
    assert said() == []


def test_environments_that_differ(said):
    """In keywords they may; in the task not."""
    def wrapped(**kwargs):
        return lambda: ClipActionsWrapper(hopper(**kwargs))
    assert type(native_or_dummy([wrapped(), wrapped(healthy_reward=2.)])) is NativeVecEnv
    swimmer = gym.make('Swimmer-v5')
    swimmer.action_space = swimmer.unwrapped.action_space = hopper().action_space
    swimmer.observation_space = swimmer.unwrapped.observation_space = hopper().observation_space
    with pytest.raises(known.NotNative, match='several tasks'):
        NativeVecEnv([wrapped()(), ClipActionsWrapper(swimmer)])


def test_attributes_that_are_missing(said):
    """In another version of gymnasium, say."""
    env = make_env('Hopper-v5', 'mujoco')
    del env.unwrapped._healthy_reward
    assert type(native_or_dummy([lambda: env])) is DummyVecEnv
    assert said() == ["gymnasium steps Hopper-v5 itself: 'HopperEnv' object has no attribute '_healthy_reward'"]


def test_one_ulp_is_noticed(pair, monkeypatch):
    """In one number, by the comparison at the start and by the tests of identity."""
    both = pair('HalfCheetah-v5')
    stepper = both.ours.native.stepper(both.actions())
    stepper.numbers['forward_reward_weight'] = np.nextafter(1, 2)
    both.reset()
    with pytest.raises(AssertionError):
        for _ in range(10):
            both.step(both.actions())

    def wrong(env, task):
        numbers = numbers_of(env, task)
        numbers['ctrl_cost_weight'] = np.nextafter(np.float32(0.1), 1)
        return numbers
    numbers_of = known.numbers_of
    monkeypatch.setattr(known, 'numbers_of', wrong)
    with pytest.raises(known.NotNative, match='native steps differ'):
        NativeVecEnv([make_env('HalfCheetah-v5', 'mujoco')])


def test_changed_gymnasium_is_noticed(monkeypatch):
    """Whose step is another than the one written down here."""
    def is_healthy(self):
        return self.data.qpos[1] > 0.8
    monkeypatch.setattr(hopper_v5.HopperEnv, 'is_healthy', property(is_healthy))
    with pytest.raises(known.NotNative, match='native steps differ'):
        NativeVecEnv([make_env('Hopper-v5', 'mujoco')])


def test_a_step_that_fails(monkeypatch, said):
    """Is left to fail where it would."""
    def do_simulation(self, ctrl, n_frames):
        raise ZeroDivisionError('of the task')
    monkeypatch.setattr(MujocoEnv, 'do_simulation', do_simulation)
    venv = native_or_dummy([lambda: make_env('Hopper-v5', 'mujoco')])
    assert type(venv) is DummyVecEnv and 'ZeroDivisionError' in said()[0]


def test_comparison_leaves_no_trace():
    """In state, counters and random numbers of the environment."""
    for env_id in ('Pusher-v5', 'Hopper-v5'):
        env = make_env(env_id, 'mujoco', seed=1)
        u = env.unwrapped
        env.reset()
        before = [everything(u), copy.deepcopy(u.np_random.bit_generator.state), np.random.get_state()[1].tolist(),
                  env.action_space.np_random.bit_generator.state]
        NativeVecEnv([env])
        np.testing.assert_equal([everything(u), u.np_random.bit_generator.state, np.random.get_state()[1].tolist(),
                                 env.action_space.np_random.bit_generator.state], before)
        assert env.get_wrapper_attr('_elapsed_steps') == env.get_wrapper_attr('total_steps') == 0


def everything(env):
    """State of the simulator, and attributes that are arrays."""
    state = np.empty(mujoco.mj_stateSize(env.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(env.model, env.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    return [state, *(value.copy() for value in vars(env).values() if isinstance(value, np.ndarray))]


@pytest.mark.parametrize('num_env, kwargs, kind', [
    (1, {}, NativeVecEnv), (3, {}, NativeVecEnv), (3, {'force_dummy': True}, NativeVecEnv),
    (1, {'native': False}, DummyVecEnv), (2, {'native': False}, SubprocVecEnv),
    (2, {'env_kwargs': {'ctrl_cost_weight': np.float32(1)}}, SubprocVecEnv),
    (1, {'env_kwargs': {'ctrl_cost_weight': np.float32(1)}}, DummyVecEnv),
    (1, {'env_kwargs': {'render_mode': 'rgb_array'}}, SubprocVecEnv)])
def test_make_vec_env(num_env, kwargs, kind, said):
    """In this process where they can be native."""
    venv = make_vec_env('Hopper-v5', 'mujoco', num_env, 0, **kwargs)
    assert type(venv) is kind and venv.num_envs == num_env
    venv.reset()
    venv.close()
    assert said() == ['gymnasium steps Hopper-v5 itself: %s=%r' % keyword
                      for keyword in kwargs.get('env_kwargs', {}).items()]


def test_plain_environments_of_a_library_user():
    """`learn` steps them natively, a VecEnv as it is."""
    venv, _ = begin(hopper(), 0)
    assert type(venv) is NativeVecEnv
    dummy = DummyVecEnv([lambda: ClipActionsWrapper(hopper())])
    assert begin(dummy, 0)[0] is dummy


def test_without_numba():
    """As ever."""
    done = subprocess.run([sys.executable, '-c', '''if True:
        import sys
        class Absent:
            def find_spec(name, path, target=None):
                if name.partition('.')[0] == 'numba':
                    raise ModuleNotFoundError("No module named 'numba'", name='numba')
        sys.meta_path.insert(0, Absent)
        from onpolicybaselines import logger
        from onpolicybaselines.common.cmd_util import make_vec_env
        print(type(make_vec_env('Hopper-v5', 'mujoco', 1, 0)).__name__)
    '''], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == [
        "gymnasium steps Hopper-v5 itself: numba is not installed, with which it is several times faster: pip install "
        "'onpolicybaselines[fast]'", 'DummyVecEnv']
