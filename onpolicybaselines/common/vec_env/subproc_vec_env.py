"""Environments that take their steps in processes of their own."""
import contextlib
import multiprocessing.connection
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from onpolicybaselines.common.env_state import NoStateError
from onpolicybaselines.common.errors import EnvironmentFault
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env.children import ChildEnvFn, ChildError
from onpolicybaselines.common.vec_env.gym_vec_env import GymVecEnv
from onpolicybaselines.common.vec_env.vec_env import clear_mpi_env_vars


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

    def state(self) -> State:
        """See VecEnv.state; NoStateError while a step is under way, too."""
        if self.waiting:
            raise NoStateError('a step is under way: call step_wait() before state()')
        return {'envs': {str(i): state for i, state in enumerate(self._ask('state'))}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See VecEnv.set_state."""
        states = [part for _, part in sorted(state['envs'].items(), key=lambda item: int(item[0]))]
        if len(states) != self.num_envs:
            raise ValueError(f'the state is of {len(states)} environments, these are {self.num_envs}')
        with self._watch():
            self.venv.set_attr('awaited_state', states)
        self._ask('take_state')
        self.waiting = False

    def _ask(self, what: str) -> list:
        """The answers of all processes; what one of them raised is raised here."""
        with self._watch():
            answers = list(self.venv.call(what))
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

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

    def _raise_first_error(self, errors: Sequence[str | EnvironmentFault | None]) -> None:
        for i, error in enumerate(errors):
            if isinstance(error, EnvironmentFault):
                raise EnvironmentFault(f'environment {i}: {error}')
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
