"""What the algorithms have in common around their updates."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from onpolicybaselines.common import set_global_seeds
from onpolicybaselines.common.cores import sees_images, use_threads
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.common.seeds import environment_seed
from onpolicybaselines.common.vec_env import VecEnv
from onpolicybaselines.common.vec_env.gym_vec_env import as_vec_env
from onpolicybaselines.native import native_or_dummy


def begin(env: Any, seed: int | None) -> tuple[VecEnv, np.random.Generator]:
    """What every `learn` begins with: (`env` as VecEnv, the rank's generator), all seeded, apart for each rank.

    seed: of the run; a plain gymnasium environment gets `environment_seed(seed, rank)`. None: no two runs alike.
    Raises TypeError for what is no environment.
    """
    env = as_vec_env(env, seed=environment_seed(seed, rank()), make=native_or_dummy)
    use_threads(images=sees_images(env.observation_space))
    set_global_seeds(seed)
    return env, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(rank(),)))


def sf01(arr: Sequence) -> np.ndarray:
    """[T, N, ...] as [N * T, ...], one environment after the other. Upstream: ppo2/runner.py."""
    arr = np.asarray(arr).swapaxes(0, 1)
    return arr.reshape(-1, *arr.shape[2:])
