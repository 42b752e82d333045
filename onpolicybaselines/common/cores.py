"""The processor's cores, and how many of them TensorFlow gets."""
import contextlib
import os

import gymnasium as gym

from onpolicybaselines.common.mpi_world import size


def cores() -> int:
    """The cores that a rank may use, at least 1: all ranks are taken to be on one machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, usable // size())


def sees_images(space: gym.Space) -> bool:
    """Whether observations are images [height, width, channels]: their convolutions are worth several threads."""
    return len(space.shape or ()) == 3


def use_threads(images: bool) -> None:
    """Let TensorFlow use one thread, or with `images` all `cores`; no effect once TensorFlow has started.

    Where networks are small the threads of one process would be in each other's way, and in that of other ranks.
    """
    import tensorflow as tf
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(cores() if images else 1)
