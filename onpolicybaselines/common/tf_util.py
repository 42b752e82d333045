"""TensorFlow helpers: flat parameter vectors, compiled functions, files of arrays (upstream common/tf_util.py)."""
import contextlib
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.compiled import Compiled, compiled
from onpolicybaselines.common.files import read_arrays, write_arrays
from onpolicybaselines.common.variables import name_of, split_like

# ================================================================
# Extras
# ================================================================

def lrelu(x: tf.Tensor, leak: float = 0.2) -> tf.Tensor:
    """Leaky rectifier: x where positive, leak * x elsewhere."""
    return tf.nn.leaky_relu(x, leak)

# ================================================================
# Mathematical utils
# ================================================================

def huber_loss(x: tf.Tensor, delta: float = 1.0) -> tf.Tensor:
    """x^2 / 2 for |x| < delta, linear with slope delta outside."""
    return tf.where(
        tf.abs(x) < delta,
        tf.square(x) * 0.5,
        delta * (tf.abs(x) - 0.5 * delta)
    )

# ================================================================
# Global session
# ================================================================

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
        out *= std / np.sqrt(np.square(out).sum(axis=axis, keepdims=True))
        return out
    return _initializer

# ================================================================
# Theano-like Function
# ================================================================

def function(f: Callable, *inputs: tf.TensorSpec, xla: bool = False, probe: Callable | None = None) -> Compiled:
    """A compiled function of arrays, see `common/compiled.py`."""
    return compiled(f, *inputs, xla=xla, probe=probe)

# ================================================================
# Flat vectors
# ================================================================

def var_shape(x: tf.Variable) -> list[int]:
    """The static shape as a list."""
    return x.get_shape().as_list()

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
    if clip_norm is not None:
        grads = [grad if grad is None else tf.clip_by_norm(grad, clip_norm=clip_norm) for grad in grads]
    return tf.concat(axis=0, values=[
        tf.reshape(grad if grad is not None else tf.zeros_like(v), [numel(v)])
        for (v, grad) in zip(var_list, grads, strict=True)
    ])

class SetFromFlat(object):
    """Callable: write the flat vector `theta` into `var_list`."""

    def __init__(self, var_list: Sequence[tf.Variable]):
        def assign(theta):
            for (v, piece) in zip(var_list, split_like(var_list, theta), strict=True):
                v.assign(piece)

        self.op = function(assign, tf.TensorSpec([sum(map(numel, var_list))], var_list[0].dtype))

    def __call__(self, theta: np.ndarray) -> None:
        self.op(theta)

class GetFlat(object):
    """Callable: the values of `var_list` as one ndarray."""

    def __init__(self, var_list: Sequence[tf.Variable]):
        self.op = function(lambda: tf.concat(axis=0, values=[tf.reshape(v, [numel(v)]) for v in var_list]))

    def __call__(self) -> np.ndarray:
        return self.op()

def flattenallbut0(x: tf.Tensor) -> tf.Tensor:
    """[B, ...] as [B, everything else]."""
    return tf.reshape(x, [-1, intprod(x.get_shape().as_list()[1:])])

# ================================================================
# Diagnostics
# ================================================================

def display_var_info(vars: Sequence[tf.Variable]) -> None:
    """Log name, size and shape of each weight, and the total number of parameters."""
    from onpolicybaselines import logger
    count_params = 0
    for v in vars:
        v_params = numel(v)
        count_params += v_params
        if name_of(v).endswith(('/b', '/bias')): continue
        logger.info("   %-55s %i params %s" % (v.name, v_params, var_shape(v)))

    logger.info("Total model parameters: %0.2f million" % (count_params*1e-6))

def get_available_gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    return [x.name for x in tf.config.list_physical_devices('GPU')]

# ================================================================
# Saving variables
# ================================================================

def save_variables(save_path: str | os.PathLike, variables: dict[str, np.ndarray], meta: dict | None = None) -> None:
    """Write named arrays of numbers (and `meta`, JSON) to `save_path` as npz; see `files.write_arrays`."""
    write_arrays(save_path, variables, meta)

def load_variables(load_path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
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
