"""Observations as network input (upstream common/input.py)."""
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.variables import to_float


def observation_placeholder(ob_space: spaces.Space, batch_size: int | None = None, name: str = 'Ob') -> tf.TensorSpec:
    """The TensorSpec [batch_size, *ob_space.shape] under which observations enter compiled functions.

    Floating-point observations enter as float32. Raises UsageError for spaces other than Box, Discrete, MultiDiscrete.
    """
    if (not isinstance(ob_space, (spaces.Discrete, spaces.Box, spaces.MultiDiscrete))
            or isinstance(ob_space, spaces.MultiDiscrete) and len(ob_space.shape) != 1):
        raise UsageError(f'observation space {" ".join(str(ob_space).split())} is not supported: use Box, Discrete or '
                         'one-dimensional MultiDiscrete (gymnasium.wrappers.FlattenObservation turns others into Box)')
    dtype = np.float32 if np.issubdtype(ob_space.dtype, np.floating) else ob_space.dtype
    return tf.TensorSpec((batch_size, *ob_space.shape), dtype, name)


def encode_observation(ob_space: spaces.Space, placeholder: tf.Tensor) -> tf.Tensor:
    """[B, *ob_space.shape] as floats: one-hot for Discrete and (concatenated) MultiDiscrete, a cast for Box."""
    if isinstance(ob_space, spaces.Box):
        return to_float(placeholder)
    start = tf.cast(ob_space.start, tf.int32)
    index = tf.cast(placeholder, tf.int32) - start
    if isinstance(ob_space, spaces.Discrete):
        return to_float(tf.one_hot(index, int(ob_space.n)))
    return tf.concat([to_float(tf.one_hot(index[..., i], int(n))) for i, n in enumerate(ob_space.nvec)], axis=-1)
