"""What environments give of a step, held against their spaces; what a VecEnv hands over, at an episode's end too."""
import copy
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from onpolicybaselines.common.errors import EnvironmentFault, Interrupted

Obs = np.ndarray | dict[Any, np.ndarray]
Step = tuple[Obs, np.ndarray, np.ndarray, list[dict]]


# ================================================================
# What environments give
# ================================================================

def step_of(env: gymnasium.Env, action: Any) -> tuple[Any, float, bool, bool, dict]:
    """env.step(action). Raises EnvironmentFault where it is not what gymnasium asks for."""
    try:
        ob, rew, terminated, truncated, info = env.step(action)
        rew = float(rew)
        _check_rest(terminated, truncated, info)
    except SystemExit as e:
        raise _exit(env, 'step', e) from e
    except (ValueError, TypeError, AssertionError, gymnasium.error.Error) as e:
        raise _fault(env, 'step', 'observation, reward, terminated, truncated, info', e) from e
    check_observation(env.observation_space, ob)
    return ob, rew, terminated, truncated, info


def _check_rest(terminated, truncated, info):
    for name, flag in (('terminated', terminated), ('truncated', truncated)):
        if not isinstance(flag, (bool, np.bool_)) and (np.shape(flag) or np.asarray(flag).dtype.kind not in 'iuf'):
            raise TypeError(f'{name} is {_one_line(flag)}')
    if not isinstance(info, dict):
        raise TypeError(f'info is {_one_line(info)}')


def reset_of(env: gymnasium.Env, **kwargs: Any) -> tuple[Any, dict]:
    """env.reset(**kwargs). Raises EnvironmentFault where it is not what gymnasium asks for."""
    try:
        ob, info = env.reset(**kwargs)
    except SystemExit as e:
        raise _exit(env, 'reset', e) from e
    except (ValueError, TypeError, AssertionError, gymnasium.error.Error) as e:
        raise _fault(env, 'reset', 'observation, info', e) from e
    check_observation(env.observation_space, ob)
    return ob, info


def seed_env(env: gymnasium.Env, seed: int) -> None:
    """Seed an environment, by a reset, and its action space. Raises EnvironmentFault as `reset_of`."""
    reset_of(env, seed=seed)
    env.action_space.seed(seed)


def _fault(env, method, results, error):
    """EnvironmentFault if what was given could not be taken, by gymnasium's wrappers or ours; else the error itself."""
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get('__name__', '').split('.')
    if module[0] not in ('gymnasium', 'onpolicybaselines') or 'envs' in module or isinstance(
            error, gymnasium.error.DependencyNotInstalled):
        return error
    return EnvironmentFault(f'{method} of {_name(env)} must return ({results}): {" ".join(str(error).split())}')


def _exit(env, method, exit):
    """EnvironmentFault for sys.exit, with which a run would seem to have ended well; not for the end that a signal asks
    for, which may come at any time."""
    if isinstance(exit, Interrupted):
        return exit
    return EnvironmentFault(f'{method} of {_name(env)} called sys.exit({exit.code}): it must not end a run')


def _name(env):
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def check_observation(space: gymnasium.Space, ob: Any, batch: tuple[int, ...] = ()) -> None:
    """Raise EnvironmentFault for an observation, or a batch of so many, of another shape than its space, which is no
    numbers, or none of a Discrete or MultiDiscrete space; spaces without a shape are refused elsewhere."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            check_observation(part, _part(ob, key), batch)
        return
    if space.shape is None:
        return
    try:
        array = np.asarray(ob)
    except ValueError:  # ragged
        array = np.empty(0, object)
    if array.shape != batch + space.shape or array.dtype.kind not in 'biuf':
        raise EnvironmentFault(f'an observation of shape {array.shape} and type {array.dtype} is none of '
                               f'{_one_line(space)}')
    if isinstance(space, spaces.Discrete):
        low, high = space.start, space.start + space.n
    elif isinstance(space, spaces.MultiDiscrete):
        low, high = space.start, space.start + space.nvec
    else:
        return
    if not ((array >= low) & (array < high) & (array % 1 == 0)).all():
        raise EnvironmentFault(f'the observation {_one_line(array)} is outside of {_one_line(space)}')


def _part(ob, key):
    try:
        return ob[key]
    except (TypeError, LookupError):
        raise EnvironmentFault(f'an observation has no part {key!r}') from None


def _one_line(thing):
    return ' '.join(str(thing).split())


# ================================================================
# What a VecEnv hands over
# ================================================================

def end_of_episode(info: dict, ob: Any, terminated: bool, truncated: bool) -> dict:
    """`info` of an episode's last step with the entries that VecEnv.step_wait promises."""
    # reset() may overwrite the arrays of the last observation, hence the copy
    return {**info, 'terminal_observation': copy.deepcopy(ob),
            'TimeLimit.truncated': bool(truncated) and not terminated}


def map_terminal_observation(fn: Callable[[int, Any], Obs], infos: list[dict]) -> list[dict]:
    """`infos` with fn(i, observation) as the terminal observation of environment i, where it has one."""
    return [{**info, 'terminal_observation': fn(i, info['terminal_observation'])}
            if 'terminal_observation' in info else info for i, info in enumerate(infos)]


def process_terminal_observations(process: Callable[[Obs], Obs], infos: list[dict]) -> list[dict]:
    """`infos` with terminal observations that went through `process`, which is for batches."""
    def process_one(i, ob):
        batch = process({k: v[None] for k, v in ob.items()} if isinstance(ob, dict) else np.asarray(ob)[None])
        return {k: v[0] for k, v in batch.items()} if isinstance(batch, dict) else batch[0]
    return map_terminal_observation(process_one, infos)
