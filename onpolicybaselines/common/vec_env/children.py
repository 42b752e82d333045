"""Environments in processes of their own, as a process has them."""
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space

from onpolicybaselines.common.env_state import env_state, set_env_state
from onpolicybaselines.common.errors import EnvironmentFault, UsageError
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.vec_env import VecEnv

OF_ONE_LINE = (UsageError, EnvironmentFault, FloatingPointError, gymnasium.error.DependencyNotInstalled)  # no traceback


class Actions(gymnasium.Space):
    """Actions of any kind: gymnasium takes those of a space it does not know as they are."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Actions)


class ChildEnvs(gymnasium.Env):
    """The `n` environments of a child process, as one that never ends: they reset themselves.

    AsyncVectorEnv merges infos into typed arrays, so types, fractions and ragged arrays are lost; and an exception
    ends the child, or hangs the parent if it cannot be pickled. So what a step gives beside observations travels in a
    tuple, which gymnasium does not look into, and a traceback as text.

    venv: None where they are not made here, or could not be made: then `error` says why, see `_report`.
    """

    awaited_states: Sequence[State] = ()

    def __init__(self, venv: VecEnv | None, observation_space: gymnasium.Space, n: int,
                 error: Exception | str | None = None) -> None:
        self.venv, self.error = venv, error
        self.observation_space, self.action_space = batch_space(observation_space, n), Actions()
        if venv is not None:
            self.spec, self.render_mode, self.metadata = venv.spec, venv.render_mode, venv.metadata

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Reset them all; seeds are their makers'."""
        try:
            if self.venv is None:
                return self.observation_space.sample(), {'error': self.error}
            return self._batch(self.venv.reset()), {}
        except Exception as error:
            return self.observation_space.sample(), {'error': _report(error)}

    def step(self, actions: Sequence | np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        """Step them all."""
        try:
            obs, *rest = self.venv.step(actions)
            return self._batch(obs), 0., False, False, {'step': tuple(rest)}
        except Exception as error:
            return self.observation_space.sample(), 0., False, False, {'error': _report(error)}

    def _batch(self, obs):
        return tuple(obs.values()) if isinstance(self.observation_space, gymnasium.spaces.Tuple) else obs

    def state(self) -> list[State] | Exception:
        """The environments', or what is raised in asking for them."""
        try:
            return [env_state(env) for env in self.venv.envs]
        except Exception as error:
            return error

    def take_states(self) -> Exception | None:
        """Go back to `awaited_states`; returns what is raised in doing so."""
        try:
            for env, state in zip(self.venv.envs, self.awaited_states, strict=True):
                set_env_state(env, state)
            return None
        except Exception as error:
            return error

    def render(self) -> Any:
        """The rendered frames, or a `_report`."""
        try:
            return self.venv.get_images()
        except Exception as error:
            return _report(error)

    def close(self) -> None:
        """Close them all."""
        if self.venv is not None:
            self.venv.close()


def _report(error):
    """What the parent is told of an exception that is being handled: one that can be pickled, or the traceback."""
    return next((kind(str(error)) for kind in OF_ONE_LINE if isinstance(error, kind)), traceback.format_exc())


class ChildEnvsFn:
    """Makes ChildEnvs. AsyncVectorEnv calls the first one in the parent as well, for the spaces: that makes one
    environment and fills `spaces` for all, or none if they are there already."""

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], spaces: dict[str, gymnasium.Space]) -> None:
        self.env_fns, self.spaces, self.spec, self.parent_pid = env_fns, spaces, None, os.getpid()

    def __call__(self) -> ChildEnvs:
        in_child = os.getpid() != self.parent_pid
        if in_child:  # Ctrl-C goes to all processes, and is for the parent to handle
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            threading.Thread(target=_end_with_parent, daemon=True).start()
        venv, error = None, None
        try:
            if in_child or not self.spaces:
                venv = DummyVecEnv(self.env_fns if in_child else self.env_fns[:1])
                self.spaces.update(observation_space=venv.observation_space, action_space=venv.action_space)
                self.spec = venv.spec
        except Exception as e:
            if not in_child:
                raise
            error = _report(e)
        return ChildEnvs(venv, self.spaces['observation_space'], len(self.env_fns), error)

    def __getstate__(self) -> dict:
        return dict(self.__dict__, spec=None)  # not every spec can be pickled


def shared_out(items: Sequence | np.ndarray, in_series: int) -> list[Any]:
    """What there is of each environment, by process.

    >>> shared_out('abcd', 2)
    ['ab', 'cd']
    """
    return [items[i:i + in_series] for i in range(0, len(items), in_series)]


def _end_with_parent():
    """A parent that is killed does not end its children, and one that hangs in a step would not notice."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def in_children(function: Callable[..., None] | None) -> Callable[..., None] | None:
    """`function`, which does nothing in this process."""
    if function is None:
        return None
    parent_pid = os.getpid()
    return lambda **kwargs: function(**kwargs) if os.getpid() != parent_pid else None
