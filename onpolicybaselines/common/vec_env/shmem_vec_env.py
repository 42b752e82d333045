"""Environments in processes of their own, with observations in shared memory."""
from onpolicybaselines.common.vec_env.subproc_vec_env import SubprocVecEnv


class ShmemVecEnv(SubprocVecEnv):
    """SubprocVecEnv that passes observations through shared memory: faster for large ones, such as images.

    Source: openai/baselines `common/vec_env/shmem_vec_env.py`.
    """

    shared_memory = True
