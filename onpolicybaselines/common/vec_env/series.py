"""Many environments in a few processes."""
from collections.abc import Callable, Sequence

import gymnasium

from onpolicybaselines.common.cores import cores
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.subproc_vec_env import SubprocVecEnv
from onpolicybaselines.common.vec_env.vec_env import VecEnv


def in_series(env_fns: Sequence[Callable[[], gymnasium.Env]]) -> VecEnv:
    """As many processes as there are cores for this rank, or the next number that divides that of environments.

    One process is this one. For environments that keep a core busy, as games do: more processes than cores only wait
    for each other.
    """
    processes = max(n for n in range(1, len(env_fns) + 1) if len(env_fns) % n == 0 and n <= cores())
    return DummyVecEnv(env_fns) if processes == 1 else SubprocVecEnv(env_fns, in_series=len(env_fns) // processes)
