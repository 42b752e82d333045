"""TensorFlow helpers: flat parameter vectors, compiled functions, files of arrays (upstream common/tf_util.py)."""
import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.compiled import compiled
from onpolicybaselines.common.files import read_arrays, write_arrays

# ================================================================
# Extras and mathematical utils
# ================================================================

def lrelu(x: tf.Tensor, leak: float = 0.2) -> tf.Tensor:
    """Leaky rectifier: x where positive, leak * x elsewhere."""
    return tf.nn.leaky_relu(x, leak)


def huber_loss(x: tf.Tensor, delta: float = 1.0) -> tf.Tensor:
    """x^2 / 2 for |x| < delta, linear with slope delta outside."""
    size = tf.abs(x)
    return tf.where(size < delta, 0.5 * tf.square(x), delta * (size - 0.5 * delta))


def single_threaded_session() -> None:
    """One TensorFlow thread per process, as upstream's session of that name; no effect once TensorFlow has started."""
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(1)


# ================================================================
# Model components
# ================================================================

def normc_initializer(std: float = 1.0, axis: int = 0) -> Callable:
    """Gaussian columns scaled to Euclidean norm `std`."""
    def _initializer(shape, np_random):
        out = np_random.standard_normal(shape)
        return out * (std / np.sqrt(np.square(out).sum(axis=axis, keepdims=True)))
    return _initializer


# ================================================================
# Compiled functions of arrays
# ================================================================

def function(f: Callable, *inputs: tf.TensorSpec, xla: bool = False) -> Callable:
    """A compiled function of arrays, see `common/compiled.py`."""
    return compiled(f, *inputs, xla=xla)


# ================================================================
# Flat vectors
# ================================================================

def var_shape(x: tf.Variable) -> list[int]:
    """The static shape as a list."""
    return x.shape.as_list()


def numel(x: tf.Variable) -> int:
    """Number of elements."""
    return intprod(var_shape(x))


def intprod(x: Sequence[int]) -> int:
    """Product of integers; 1 for none."""
    return int(np.prod(x))


def flatgrad(grads: Sequence[tf.Tensor | None], var_list: Sequence[tf.Variable],
             clip_norm: float | None = None) -> tf.Tensor:
    """Gradients (as a tape returns them) as one vector; zeros for variables the loss does not touch.

    clip_norm: largest Euclidean norm of each gradient.
    """
    grads = [tf.zeros_like(v) if g is None else g for (v, g) in zip(var_list, grads, strict=True)]
    if clip_norm is not None:
        grads = [tf.clip_by_norm(g, clip_norm) for g in grads]
    return tf.concat([tf.reshape(g, [-1]) for g in grads], axis=0)


class SetFromFlat(object):
    """Callable: write the flat vector `theta` into `var_list`."""

    def __init__(self, var_list: Sequence[tf.Variable]):
        sizes = [numel(v) for v in var_list]

        def assign(theta):
            for (v, piece) in zip(var_list, tf.split(theta, sizes), strict=True):
                v.assign(tf.reshape(piece, v.shape))

        self._assign = function(assign, tf.TensorSpec([sum(sizes)], var_list[0].dtype))

    def __call__(self, theta: np.ndarray) -> None:
        self._assign(theta)


class GetFlat(object):
    """Callable: the values of `var_list` as one ndarray."""

    def __init__(self, var_list: Sequence[tf.Variable]):
        self._read = function(lambda: tf.concat([tf.reshape(v, [-1]) for v in var_list], axis=0))

    def __call__(self) -> np.ndarray:
        return self._read()


def flattenallbut0(x: tf.Tensor) -> tf.Tensor:
    """[B, ...] as [B, everything else]."""
    return tf.reshape(x, [-1, intprod(x.shape[1:])])


# ================================================================
# Diagnostics
# ================================================================

def display_var_info(variables: Sequence[tf.Variable]) -> None:
    """Log name, size and shape of each weight, and the total number of parameters."""
    from onpolicybaselines import logger
    for v in variables:
        if not v.name.split(':')[0].endswith(('/b', '/bias')):
            logger.info(f'   {v.name:<55} {numel(v)} params {var_shape(v)}')
    logger.info(f'Total model parameters: {1e-6 * sum(map(numel, variables)):0.2f} million')


def get_available_gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    return [gpu.name for gpu in tf.config.list_physical_devices('GPU')]


# ================================================================
# Saving variables
# ================================================================

def save_variables(save_path: str, variables: dict[str, np.ndarray], meta: dict | None = None) -> None:
    """Write named arrays of numbers (and `meta`, JSON) to `save_path` as npz; see `files.write_arrays`."""
    write_arrays(save_path, variables, meta)


def load_variables(load_path: str) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays by name, meta) of a file written by `save_variables`; see `files.read_arrays`."""
    return read_arrays(load_path)


# ================================================================
# Shape adjustment
# ================================================================

def adjust_shape(shape: Sequence[int], data: np.ndarray) -> np.ndarray:
    """`data`, one item or a batch of items of `shape`, as a batch [B, *shape].

    Raises ValueError where the sizes do not fit.
    """
    data = np.asarray(data)
    if data.ndim == len(shape) + 1 and data.shape[1:] == shape:
        return data
    if data.shape[data.ndim - len(shape):] != tuple(shape):
        raise ValueError(f'shape {data.shape} is not that of one or several items of shape {tuple(shape)}')
    return data.reshape(-1, *shape)
