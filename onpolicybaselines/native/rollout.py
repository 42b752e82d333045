"""Steps of a policy and its environments with no Python between them."""
import functools
import pathlib

import numba
import numpy as np

from onpolicybaselines.common.actors import Programs
from onpolicybaselines.common.actors.calls import CALL, set_call
from onpolicybaselines.common.machine_code import call, digest, function, renamed
from onpolicybaselines.native.stepping import Stepper


def rollout(run_at: int, calls: np.ndarray, step: int, step_call: int, actions: np.ndarray, ob: np.ndarray,
            rew: np.ndarray, over: np.ndarray, noise: np.ndarray, obs: np.ndarray, acs: np.ndarray, rews: np.ndarray
            ) -> int:
    """Up to T steps of N environments, the last where an episode is over in one of them; how many, 0 after an error.

    run_at, calls [K]: the policy, of each component of a mixture. step, step_call, actions, ob, rew, over: the
    Stepper's, which keep what the last step gave. noise [T, N, n] and the first of obs become acs [T, N, A], obs and
    rews after the other steps. Copies are loops, as numba takes eight times as long to compile array[:] = other.
    """
    for t in range(len(rews)):
        for e in range(len(rew)):
            # as in heads.component
            k = min(int(noise[t, e, -1] * np.float32(len(calls))), len(calls) - 1) if len(calls) > 1 else 0
            for j in range(acs.shape[2]):
                acs[t, e, j] = noise[t, e, j]
            calls[k]['ob'], calls[k]['y'] = obs[t, e].ctypes.data, acs[t, e].ctypes.data
            call(run_at, calls[k:].ctypes.data)
            for j in range(acs.shape[2]):
                actions[e, j] = acs[t, e, j]
        if call(step, step_call) < len(rew):
            return 0
        for e in range(len(rew)):
            if over[e]:
                return t + 1
        if t + 1 < len(rews):
            for e in range(len(rew)):
                rews[t, e] = rew[e]
                for i in range(obs.shape[2]):
                    obs[t + 1, e, i] = ob[e, i]
    return len(rews)


class Rollout:
    """`rollout` of one policy, at its present parameters, in the environments of a Stepper."""

    def __init__(self, programs: Programs, stepper: Stepper) -> None:
        self.programs, self.stepper = programs, stepper
        self.calls = np.empty(len(programs.programs), CALL)
        for p, program in zip(self.calls, programs.programs, strict=True):
            set_call(p, stepper.obs[:1], stepper.actions[:1], *program)
        self.run = functools.partial(
            compiled(), programs.run_at, self.calls, stepper.function.address, stepper.call.ctypes.data,
            stepper.actions, stepper.obs, stepper.rews, stepper.over)


@functools.cache
def compiled() -> numba.core.dispatcher.Dispatcher:
    """`rollout` as machine code; what it calls is compiled already, and the same for whoever calls it."""
    i8, f4, f8 = numba.int64, numba.float32, numba.float64
    types = (i8, numba.from_dtype(CALL)[::1], i8, i8, f4[:, ::1], f8[:, ::1], f8[::1], f8[::1],
             f4[:, :, ::1], f8[:, :, ::1], f4[:, :, ::1], f8[:, ::1])
    return function(renamed(rollout, digest(pathlib.Path(__file__).read_bytes()), {}), i8(*types))
