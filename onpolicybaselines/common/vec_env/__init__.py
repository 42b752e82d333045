"""Vectorized environments: the interface, its implementations and wrappers."""
from .dummy_vec_env import DummyVecEnv
from .gym_vec_env import GymVecEnv, as_vec_env
from .shmem_vec_env import ShmemVecEnv
from .subproc_vec_env import SubprocVecEnv
from .vec_env import AlreadySteppingError, NotSteppingError, VecEnv, VecEnvObservationWrapper, VecEnvWrapper
from .vec_frame_stack import VecFrameStack
from .vec_monitor import VecMonitor
from .vec_normalize import VecNormalize
from .vec_remove_dict_obs import VecExtractDictObs
from .vec_video_recorder import VecVideoRecorder

__all__ = ['AlreadySteppingError', 'NotSteppingError', 'VecEnv', 'VecEnvWrapper', 'VecEnvObservationWrapper',
           'DummyVecEnv', 'ShmemVecEnv', 'SubprocVecEnv', 'GymVecEnv', 'as_vec_env', 'VecFrameStack', 'VecMonitor',
           'VecNormalize', 'VecExtractDictObs', 'VecVideoRecorder']
