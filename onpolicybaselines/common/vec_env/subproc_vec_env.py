"""Environments that take their steps in processes of their own."""
import contextlib
import multiprocessing.connection
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from onpolicybaselines.common.env_state import NoStateError
from onpolicybaselines.common.errors import EnvironmentFault
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env.children import OF_ONE_LINE, ChildEnvsFn, shared_out
from onpolicybaselines.common.vec_env.steps import Obs, Step
from onpolicybaselines.common.vec_env.util import dict_to_obs, obs_to_dict
from onpolicybaselines.common.vec_env.vec_env import AlreadySteppingError, NotSteppingError, VecEnv, clear_mpi_env_vars


class SubprocVecEnv(VecEnv):
    """VecEnv with a process for each environment, or each `in_series` of them; worth it when a step takes longer than
    the talk with a process.

    env_fns make the environments and must be cloud-pickleable; the first one is also called in this process, to learn
    the spaces, unless they are given, (observation_space, action_space); then there is no `spec`. context is how
    processes start, see multiprocessing.get_context. ValueError unless in_series divides the number of environments.
    An exception in an environment is raised here as RuntimeError with the traceback, or as what it is if one line says
    what is wrong (`children.OF_ONE_LINE`).
    Source: openai/baselines `common/vec_env/subproc_vec_env.py`.
    """

    shared_memory = False
    close_timeout = 5.  # seconds that close() grants a pending step

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]],
                 spaces: tuple[gymnasium.Space, gymnasium.Space] | None = None, context: str = 'spawn',
                 in_series: int = 1) -> None:
        self.waiting = False
        self.in_series = in_series
        nenvs = len(env_fns)
        if nenvs % in_series:
            raise ValueError(f'{nenvs} environments cannot be shared out evenly, {in_series} in a process')
        self.nremotes = nenvs // in_series
        known = dict(zip(('observation_space', 'action_space'), spaces or (), strict=False))
        child_fns = [ChildEnvsFn(fns, known) for fns in shared_out(list(env_fns), in_series)]
        try:
            with clear_mpi_env_vars():
                self.venv = AsyncVectorEnv(child_fns, shared_memory=self.shared_memory, copy=False, context=context,
                                           autoreset_mode=AutoresetMode.SAME_STEP)
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("an environment's process died at its start, see its message above; a script that "
                               "uses %s must start its work under `if __name__ == '__main__':`"
                               % type(self).__name__) from error
        VecEnv.__init__(self, nenvs, **known)
        self.spec = child_fns[0].spec
        with self._watch():
            self.render_mode, self.metadata = (self.venv.get_attr(name)[0] for name in ('render_mode', 'metadata'))

    def step_async(self, actions: Sequence | np.ndarray) -> None:
        """See VecEnv.step_async."""
        if self.waiting:
            raise AlreadySteppingError()
        if len(actions) != self.num_envs:
            raise ValueError('%d environments need as many actions, got %r' % (self.num_envs, actions))
        with self._watch():
            self.venv.step_async(shared_out(actions, self.in_series))
        self.waiting = True

    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""
        if not self.waiting:
            raise NotSteppingError()
        self.waiting = False
        with self._watch():
            obs, _, _, _, infos = self.venv.step_wait()
        self._raise_first_error(infos.get('error', ()))
        rews, dones, infos = zip(*infos['step'], strict=True)
        return _flatten_obs(obs), np.concatenate(rews), np.concatenate(dones), _flatten_list(infos)

    def reset(self) -> Obs:
        """See VecEnv.reset."""
        if self.waiting:
            self.step_wait()
        with self._watch():
            obs, infos = self.venv.reset()
        self._raise_first_error(infos.get('error', ()))
        return _flatten_obs(obs)

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
        self._raise_first_error([img if isinstance(img, (str, *OF_ONE_LINE)) else None for img in imgs])
        return _flatten_list(imgs)

    def state(self) -> State:
        """See VecEnv.state; NoStateError while a step is under way, too."""
        if self.waiting:
            raise NoStateError('a step is under way: call step_wait() before state()')
        return {'envs': {str(i): state for i, state in enumerate(_flatten_list(self._ask('state')))}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See VecEnv.set_state; how many processes there were is no matter."""
        states = [part for _, part in sorted(state['envs'].items(), key=lambda item: int(item[0]))]
        if len(states) != self.num_envs:
            raise ValueError(f'the state is of {len(states)} environments, these are {self.num_envs}')
        with self._watch():
            self.venv.set_attr('awaited_states', shared_out(states, self.in_series))
        self._ask('take_states')
        self.waiting = False

    def _ask(self, what: str) -> list:
        """The answers of all processes; what one of them raised is raised here."""
        with self._watch():
            answers = list(self.venv.call(what))
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _raise_first_error(self, errors: Sequence[str | Exception | None]) -> None:
        for i, error in enumerate(errors):
            which = f'environment {i}' if self.in_series == 1 else \
                f'one of environments {i * self.in_series} to {(i + 1) * self.in_series - 1}'
            if isinstance(error, OF_ONE_LINE):
                raise type(error)(f'{which}: {error}')
            if error is not None:
                raise RuntimeError(f'{which} failed in its process:\n{error}')

    @contextlib.contextmanager
    def _watch(self) -> Iterator[None]:
        """Ends the processes if talking to them fails, as by Ctrl-C: later answers would be taken for others.

        EnvironmentFault when one died without a word, as by a signal.
        """
        try:
            yield
        except (EOFError, ConnectionError) as error:
            traceback.clear_frames(error.__traceback__)  # of buffers to be sent, at whose end Python 3.12 crashes
            ended = multiprocessing.connection.wait([p.sentinel for p in self.venv.processes], timeout=5)
            codes = {}
            for i, process in enumerate(self.venv.processes):
                if process.sentinel in ended:
                    process.join()
                    codes[i] = process.exitcode
            self._kill()
            raise EnvironmentFault(f'processes of environments died (environment: exit code): {codes}') from error
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


def _flatten_obs(obs):
    """[processes, in_series, ...] as new arrays [N, ...]: gymnasium overwrites its own in the next step."""
    return dict_to_obs({k: np.array(v).reshape(-1, *v.shape[2:]) for k, v in obs_to_dict(obs).items()})


def _flatten_list(lists):
    return [item for of in lists for item in of]
