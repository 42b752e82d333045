"""Steps of MuJoCo's tasks without the interpreter: the same numbers as gymnasium's, to the bit, in less time.

`native_vec_env` and `native_or_dummy` decide, `NativeVecEnv` steps. `known` says what can be native; `tasks` and
`rllab` are tables of tasks, in which each observation and reward is a few lines; `stepping` compiles one of them;
`arithmetic` is NumPy's and `physics` MuJoCo for numba.
"""
from .vec_env import NativeVecEnv, native_or_dummy, native_vec_env

__all__ = ['NativeVecEnv', 'native_or_dummy', 'native_vec_env']
