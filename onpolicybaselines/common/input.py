"""Observations as network input (upstream common/input.py)."""
import numpy as np
import tensorflow as tf
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

from onpolicybaselines.common.checks import check_size
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.variables import to_float


def observation_placeholder(ob_space: Space, batch_size: int | None = None, name: str = 'Ob') -> tf.TensorSpec:
    """The TensorSpec [batch_size, *ob_space.shape] under which observations enter compiled functions.

    Floating-point observations enter as float32. Raises UsageError for spaces other than Box, Discrete, MultiDiscrete.
    """
    if (not isinstance(ob_space, (Discrete, Box, MultiDiscrete))
            or isinstance(ob_space, MultiDiscrete) and len(ob_space.shape) != 1):
        raise UsageError(f'observation space {" ".join(str(ob_space).split())} is not supported: use Box, Discrete or '
                         'one-dimensional MultiDiscrete (gymnasium.wrappers.FlattenObservation turns others into Box)')

    check_size('observations', ob_space.shape)
    dtype = ob_space.dtype
    if np.issubdtype(dtype, np.floating):
        dtype = np.float32

    return tf.TensorSpec(shape=(batch_size,) + ob_space.shape, dtype=dtype, name=name)


def encode_observation(ob_space: Space, placeholder: tf.Tensor) -> tf.Tensor:
    """[B, *ob_space.shape] as floats: one-hot for Discrete and (concatenated) MultiDiscrete, a cast for Box."""
    if isinstance(ob_space, Discrete):
        return to_float(tf.one_hot(tf.cast(placeholder, tf.int32) - int(ob_space.start), int(ob_space.n)))
    elif isinstance(ob_space, Box):
        return to_float(placeholder)
    else:
        placeholder = tf.cast(placeholder, tf.int32) - tf.cast(ob_space.start, tf.int32)
        one_hots = [to_float(tf.one_hot(placeholder[..., i], ob_space.nvec[i])) for i in range(placeholder.shape[-1])]
        return tf.concat(one_hots, axis=-1)
