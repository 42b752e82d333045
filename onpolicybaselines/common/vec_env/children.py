"""Environments in processes of their own, as the process has them."""
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any

import gymnasium

from onpolicybaselines.common.env_state import env_state, set_env_state
from onpolicybaselines.common.errors import EnvironmentFault
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env.rendering import render_env
from onpolicybaselines.common.vec_env.steps import end_of_episode, reset_of, step_of


class ChildError(str):
    """The traceback of an exception in a child process."""


class ChildEnv(gymnasium.Wrapper):
    """An environment in a child process: its infos and exceptions reach the parent unharmed.

    AsyncVectorEnv merges infos into typed arrays, so types, fractions and ragged arrays are lost; and an exception
    ends the child, or hangs the parent if it cannot be pickled. So an info travels in a tuple, which gymnasium does
    not look into, and a traceback as text.
    """

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        """Reset the environment."""
        try:
            ob, info = reset_of(self.env, **kwargs)
            return ob, {'info': (info,)}
        except EnvironmentFault as fault:
            return self.observation_space.sample(), {'error': fault}
        except Exception:
            return self.observation_space.sample(), {'error': traceback.format_exc()}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """Step the environment."""
        try:
            ob, rew, terminated, truncated, info = step_of(self.env, action)
            if terminated or truncated:
                info = end_of_episode(info, ob, terminated, truncated)
            return ob, rew, terminated, truncated, {'info': (info,)}
        except EnvironmentFault as fault:
            return self.observation_space.sample(), 0., False, False, {'error': fault}
        except Exception:
            return self.observation_space.sample(), 0., False, False, {'error': traceback.format_exc()}

    awaited_state = None

    def state(self) -> State | Exception:
        """The environment's, or what is raised in asking for it."""
        try:
            return env_state(self.env)
        except Exception as error:
            return error

    def take_state(self) -> Exception | None:
        """Go back to `awaited_state`; returns what is raised in doing so."""
        try:
            set_env_state(self.env, self.awaited_state)
        except Exception as error:
            return error

    def render(self) -> Any:
        """The rendered frame, or a ChildError."""
        try:
            return render_env(self.env)
        except Exception:
            return ChildError(traceback.format_exc())


class UnbuiltEnv(gymnasium.Env):
    """Stands for an environment that could not be made; says so at its first reset."""

    def __init__(self, error: str, observation_space: gymnasium.Space, action_space: gymnasium.Space) -> None:
        self.error, self.observation_space, self.action_space = error, observation_space, action_space

    def reset(self, **kwargs: Any) -> tuple[Any, dict]:
        """RuntimeError."""
        raise RuntimeError('the environment could not be made:\n' + self.error)


class ChildEnvFn:
    """Makes a ChildEnv. AsyncVectorEnv calls the first one in the parent as well: that fills `spaces` for all."""

    def __init__(self, env_fn: Callable[[], gymnasium.Env], spaces: dict[str, gymnasium.Space]) -> None:
        self.env_fn, self.spaces, self.spec, self.parent_pid = env_fn, spaces, None, os.getpid()

    def __call__(self) -> ChildEnv:
        in_child = os.getpid() != self.parent_pid
        if in_child:  # Ctrl-C goes to all processes, and is for the parent to handle
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            env = self.env_fn()
        except Exception:
            if not in_child:
                raise
            return ChildEnv(UnbuiltEnv(traceback.format_exc(), **self.spaces))
        self.spaces.update(observation_space=env.observation_space, action_space=env.action_space)
        self.spec = env.spec
        return ChildEnv(env)

    def __getstate__(self) -> dict:
        return dict(self.__dict__, spec=None)  # not every spec can be pickled


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
