"""What can be stepped natively: exactly known environments in exactly known wrappers, and what `native.tasks` is told.

Every function raises NotNative with the reason where it cannot be.
"""
import copy
import sys
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.extras import how_to_install, is_installed
from onpolicybaselines.common.wrappers import ClipActionsWrapper, RewardScaler
from onpolicybaselines.envs import RLLAB

if TYPE_CHECKING:
    from onpolicybaselines.native.stepping import Stepper

MODULES = {'hopper_v5': 'Hopper', 'half_cheetah_v5': 'HalfCheetah', 'walker2d_v5': 'Walker2d', 'swimmer_v5': 'Swimmer',
           'ant_v5': 'Ant', 'humanoid_v5': 'Humanoid', 'humanoidstandup_v5': 'HumanoidStandup', 'reacher_v5': 'Reacher',
           'pusher_v5': 'Pusher', 'inverted_pendulum_v5': 'InvertedPendulum',
           'inverted_double_pendulum_v5': 'InvertedDoublePendulum'}
TASKS = {**{f'gymnasium.envs.mujoco.{module}:{name}Env': ('tasks', name) for module, name in MODULES.items()},
         **{f'onpolicybaselines.envs.rllab:{name}Env': ('rllab', name) for name in RLLAB}}
"""modules and classes of this package by entry point"""
WRAPPERS = (RewardScaler, Monitor, TimeLimit, OrderEnforcing, PassiveEnvChecker)
"""from the outside in; there may be a ClipActionsWrapper anywhere among them"""
STEPS_COMPARED = 200


class NotNative(Exception):
    """Why an environment cannot be stepped natively."""


def is_mujoco(env: gymnasium.Env | str) -> bool:
    """Whether a task, or what is registered by that id, is one of MuJoCo's."""
    if isinstance(env, str):
        return 'mujoco' in _entry_point(env) or _entry_point(env) in TASKS
    return isinstance(env.unwrapped, MujocoEnv) or _class_of(env.unwrapped) in TASKS


def _class_of(env):
    return f'{type(env).__module__}:{type(env).__qualname__}'


def _entry_point(env_id):
    return str(getattr(gymnasium.registry.get(env_id.split(':')[-1]), 'entry_point', None))


def check_registered(env_id: str, env_kwargs: Mapping[str, Any]) -> None:
    """What can be said before an environment is made."""
    if _entry_point(env_id) not in TASKS:
        raise NotNative(f'unknown class {_entry_point(env_id).replace(":", ".")}')
    if 'render_mode' in env_kwargs:
        raise NotNative(f'render_mode={env_kwargs["render_mode"]!r}')


def wrappers_of(env: gymnasium.Env) -> dict[type, gymnasium.Wrapper]:
    """The wrappers by class."""
    chain = []
    while isinstance(env, gymnasium.Wrapper):
        chain.append(env)
        env = env.env
    wrappers = {type(wrapper): wrapper for wrapper in chain}
    for wrapper in chain:
        if type(wrapper) not in (*WRAPPERS, ClipActionsWrapper):
            raise NotNative(f'unknown wrapper {type(wrapper).__name__}')
        _refuse_patches(wrapper)
    if [kind for kind in WRAPPERS if kind in wrappers] != [type(w) for w in chain if type(w) is not ClipActionsWrapper]:
        raise NotNative(f'wrappers in the order {", ".join(type(wrapper).__name__ for wrapper in chain)}')
    if ClipActionsWrapper not in wrappers:
        raise NotNative('no ClipActionsWrapper')
    if Monitor in wrappers and wrappers[Monitor].info_keywords:
        raise NotNative(f'its Monitor reads {", ".join(wrappers[Monitor].info_keywords)} in infos')
    return wrappers


def task_of(env: gymnasium.Env) -> type:
    """The class of `native.tasks` or `native.rllab` for an environment without its wrappers."""
    name = TASKS.get(_class_of(env))
    if name is None:
        raise NotNative(f'unknown class {type(env).__module__}.{type(env).__qualname__}')
    if env.render_mode is not None:
        raise NotNative(f'render_mode={env.render_mode!r}')
    _refuse_patches(env)
    if sys.platform == 'win32':
        raise NotNative('not on Windows')
    module, name = name
    try:
        from onpolicybaselines.native import rllab, tasks
        return getattr({'rllab': rllab, 'tasks': tasks}[module], name)
    except ImportError as e:
        slow = f'numba is not installed, with which it is several times faster: {how_to_install("numba")}'
        raise NotNative(str(e) if is_installed('numba') else slow) from None


def _refuse_patches(env):
    for name in vars(env):
        if callable(getattr(type(env), name, None)):
            raise NotNative(f'{name} of {type(env).__name__} is replaced')


def numbers_of(env: gymnasium.Env, task: type) -> np.ndarray:
    """What the functions of the task are told about an environment, `p`, as an array of one record."""
    from onpolicybaselines.native import physics
    model, data = env.model, env.data
    try:
        values = {name: _keyword(name, getattr(env, f'_{name}'), kind)
                  for name, kind in typing.get_type_hints(task).items()}
        values.update(task.numbers(env))
        for name in physics.Simulator._fields:
            values[name] = physics.place(getattr(data if hasattr(data, name) else model, name))
        values.update(zip(('handler', 'text'), physics.error_handler(), strict=True))
        values.update((name, physics.address_of(name)) for name in task.functions)
        values.update(model=model._address, data=data._address, ddot=physics.ddot())
    except (AttributeError, KeyError, ValueError, RuntimeError) as e:
        raise NotNative(' '.join(str(e).split())) from None
    values.update(dt=float(env.dt), frame_skip=int(env.frame_skip), low=env.action_space.low,
                  high=env.action_space.high,
                  skipped_qpos=getattr(env, 'observation_structure', {}).get('skipped_qpos', 0))
    for name in ('action', 'ob', 'rew', 'over'):
        values[name] = np.zeros(2, int)  # for Stepper to say
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return np.array([tuple(arrays.values())],
                    np.dtype([(name, array.dtype, array.shape) for name, array in arrays.items()], align=True))


def _keyword(name, value, kind):
    """A keyword of the constructor; NumPy's numbers in place of Python's would compute otherwise."""
    is_range = kind not in (bool, float)
    parts = list(value) if is_range and isinstance(value, (tuple, list)) else [value]
    kinds = (bool,) if kind is bool else (int, float)
    if len(parts) != 1 + is_range or any(type(part) not in kinds for part in parts):
        raise NotNative(f'{name}={value!r}')
    return value if kind is bool else np.array(value, float)


def compare(env: gymnasium.Env, task: type) -> None:
    """Take the same steps with two copies of a bare environment, by its own `step` and natively."""
    theirs, ours = _copy(env), _copy(env)
    stepper = stepper_of(task, numbers_of(ours, task), env.observation_space, np.dtype(np.float32))
    low, high = env.action_space.low, env.action_space.high
    rng = np.random.default_rng(0)
    actions = 1.5 * np.where(np.isfinite(high), high, 1) * rng.standard_normal([STEPS_COMPARED, *high.shape])
    over = True
    for action in actions.astype(np.float32):
        if over:
            for copied in (theirs, ours):
                copied.reset()
        try:
            ob, rew, over, _, _ = theirs.step(np.minimum(np.maximum(action, low), high))
        except Exception as e:  # of any kind, to come again where it is not in the way
            raise NotNative(f'its step fails: {e!r}') from e
        stepper.actions[0] = action
        if stepper.run() != 1 or not all(map(_same, (ob, rew, over), (stepper.obs, stepper.rews, stepper.over))):
            raise NotNative(f'native steps differ from those of gymnasium {gymnasium.__version__} '
                            f'with MuJoCo {mujoco.__version__}')


def same_kind(p: np.ndarray, q: np.ndarray) -> bool:
    """Whether two environments differ at most in where they are."""
    from onpolicybaselines.native.physics import Simulator
    places = ('model', 'data', 'action', 'ob', 'rew', 'over', *Simulator._fields)
    return p.dtype == q.dtype and all(np.array_equal(p[name], q[name]) for name in p.dtype.names if name not in places)


def stepper_of(task: type, numbers: np.ndarray, ob_space: gymnasium.Space, action: np.dtype) -> 'Stepper':
    """The task's Stepper for environments of these numbers and actions of that dtype."""
    from numba.core.errors import NumbaError

    from onpolicybaselines.native.stepping import Stepper
    if ob_space.dtype != np.float64 or len(ob_space.shape) != 1:
        raise NotNative(f'observation_space is {ob_space}')
    try:
        return Stepper(task, numbers, ob_space.shape[0], action)
    except NumbaError as e:
        raise NotNative(f'numba cannot compile it: {str(e).strip().splitlines()[-1]}') from e


def _copy(env):
    """An environment with a simulator and random numbers of its own; the model is the same."""
    twin = object.__new__(type(env))
    twin.__dict__.update((name, copy.copy(value) if isinstance(value, (np.ndarray, mujoco.MjData)) else value)
                         for name, value in vars(env).items())
    twin.np_random = np.random.default_rng(0)
    return twin


def _same(theirs, ours):
    """To the last bit, as float64."""
    return np.asarray(theirs, float).tobytes() == ours.tobytes()
