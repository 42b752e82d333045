"""Environments that take their steps in processes of their own."""
import contextlib
import multiprocessing.connection
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from onpolicybaselines.common.vec_env.gym_vec_env import GymVecEnv
from onpolicybaselines.common.vec_env.util import end_of_episode, render_env
from onpolicybaselines.common.vec_env.vec_env import clear_mpi_env_vars


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
            ob, info = self.env.reset(**kwargs)
            return ob, {'info': (info,)}
        except Exception:
            return self.observation_space.sample(), {'error': traceback.format_exc()}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """Step the environment."""
        try:
            ob, rew, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                info = end_of_episode(info, ob, terminated, truncated)
            return ob, rew, terminated, truncated, {'info': (info,)}
        except Exception:
            return self.observation_space.sample(), 0., False, False, {'error': traceback.format_exc()}

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


class SubprocVecEnv(GymVecEnv):
    """VecEnv with a process for each environment; worth it when a step takes longer than the talk with a process.

    env_fns make the environments and must be cloud-pickleable; the first one is also called in this process, to learn
    the spaces. context is how processes start, see multiprocessing.get_context. An exception in an environment is
    raised here as RuntimeError with the traceback. Source: openai/baselines `common/vec_env/subproc_vec_env.py`.
    """

    shared_memory = False
    close_timeout = 5.  # seconds that close() grants a pending step

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], context: str = 'spawn') -> None:
        spaces = {}
        try:
            with clear_mpi_env_vars():
                venv = AsyncVectorEnv([ChildEnvFn(fn, spaces) for fn in env_fns], shared_memory=self.shared_memory,
                                      copy=False, context=context, autoreset_mode=AutoresetMode.SAME_STEP)
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("an environment's process died at its start, see its message above; a script that "
                               "uses %s must start its work under `if __name__ == '__main__':`"
                               % type(self).__name__) from error
        GymVecEnv.__init__(self, venv, clip_actions=False)  # env_fns wrap as they like, as in DummyVecEnv
        self.spec = venv.env_fns[0].spec

    def close_extras(self) -> None:
        """Close the environments and end their processes, by force if they do not answer."""
        try:
            if self.waiting:
                self.venv.step_wait(timeout=self.close_timeout)
            self.venv.close()
        except Exception:
            self._kill()

    def get_images(self) -> list[np.ndarray]:
        """See VecEnv.get_images."""
        with self._watch():
            imgs = list(self.venv.render())
        self._raise_first_error([img if isinstance(img, ChildError) else None for img in imgs])
        return imgs

    def _reset(self) -> tuple[Any, Any]:
        with self._watch():
            obs, infos = self.venv.reset()
        self._raise_first_error(infos.get('error', ()))
        return obs, infos

    def _send(self, actions: np.ndarray) -> None:
        with self._watch():
            self.venv.step_async(actions)

    def _receive(self) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        with self._watch():
            obs, rews, terminated, truncated, infos = self.venv.step_wait()
        self._raise_first_error(infos.get('error', ()))
        infos, final_infos = infos['info'], infos.get('final_info', {}).get('info')
        dones = np.logical_or(terminated, truncated)
        return obs, rews, terminated, truncated, [(final_infos if done else infos)[i][0]
                                                  for i, done in enumerate(dones)]

    def _raise_first_error(self, errors: Sequence[str | None]) -> None:
        for i, error in enumerate(errors):
            if error is not None:
                raise RuntimeError('environment %d failed in its process:\n%s' % (i, error))

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        """Ends the processes if talking to them fails, as by Ctrl-C: later answers would be taken for others.

        RuntimeError when one died without a word, as by a signal.
        """
        try:
            yield
        except (EOFError, ConnectionError) as error:
            ended = multiprocessing.connection.wait([p.sentinel for p in self.venv.processes], timeout=5)
            codes = {}
            for i, process in enumerate(self.venv.processes):
                if process.sentinel in ended:
                    process.join()
                    codes[i] = process.exitcode
            self._kill()
            raise RuntimeError('processes of environments died (environment: exit code): %s' % codes) from error
        except BaseException:
            self._kill()
            raise

    def _kill(self) -> None:
        self.closed = self.venv.closed = True  # else the destructor of venv would wait for answers
        for process in self.venv.processes:
            process.kill()
            process.join()
        for pipe in self.venv.parent_pipes:
            if pipe is not None:
                pipe.close()
