"""TensorFlow helpers: named variables in creation order, flat parameter vectors, checkpoints of arrays.

Upstream's networks are plain functions that create their variables by scope and name (TF1's `get_variable`). They stay
plain functions here: a `VariableStore` creates a variable the first time a name is asked for and returns it ever after,
in creation order, which is upstream's order of the flat parameter vector.
"""
import contextlib
import contextvars
import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.xla import checked

# ================================================================
# Variables by scope
# ================================================================

_scope: contextvars.ContextVar = contextvars.ContextVar('variable scope')


class VariableStore:
    """Trainable variables by path ('pi/mlp_fc0/w'), in creation order.

    dtype: of every variable; np_random: the numpy Generator that initialisers draw from.
    """

    def __init__(self, dtype: str = 'float32', np_random: np.random.Generator | None = None):
        self.dtype = tf.as_dtype(dtype)
        self.np_random = np.random.default_rng() if np_random is None else np_random
        self.variables: dict[str, tf.Variable] = {}
        self.frozen = False
        self._substitutes: dict[str, tf.Tensor] = {}

    @contextlib.contextmanager
    def as_default(self) -> Iterator['VariableStore']:
        """Make `get_variable` and `variable_scope` act on this store."""
        token = _scope.set((self, ''))
        try:
            yield self
        finally:
            _scope.reset(token)

    def get(self, name: str, shape: Sequence[int], initializer: Callable) -> tf.Tensor | tf.Variable:
        """The variable `name`, created by `initializer(shape, np_random)` on first use."""
        if name in self._substitutes:
            return self._substitutes[name]
        if name not in self.variables:
            if self.frozen:
                raise RuntimeError(f'variable {name!r} was asked for after the model was built')
            with tf.init_scope():
                value = np.broadcast_to(initializer(tuple(shape), self.np_random), shape)
                self.variables[name] = tf.Variable(value, dtype=self.dtype, name=name)
        variable = self.variables[name]
        if tuple(variable.shape) != tuple(shape):
            raise ValueError(f'variable {name!r} has shape {tuple(variable.shape)}, not {tuple(shape)}')
        return variable

    def in_scope(self, scope: str) -> list[tf.Variable]:
        """The variables whose path starts with `scope`, in creation order."""
        return [v for name, v in self.variables.items() if name.startswith(scope + '/')]

    @contextlib.contextmanager
    def substitute(self, var_list: Sequence[tf.Variable], theta: tf.Tensor) -> Iterator[None]:
        """Within, networks read `var_list` from the flat vector `theta`: a loss becomes a function of theta."""
        names = {id(v): name for name, v in self.variables.items()}
        pieces = tf.split(theta, [numel(v) for v in var_list])
        before = self._substitutes
        self._substitutes = before | {names[id(v)]: tf.reshape(piece, v.shape)
                                      for (v, piece) in zip(var_list, pieces, strict=True)}
        try:
            yield
        finally:
            self._substitutes = before


@contextlib.contextmanager
def variable_scope(name: str) -> Iterator[None]:
    """Prefix the names of variables made within by `name/`."""
    store, prefix = _scope.get()
    token = _scope.set((store, prefix + name + '/'))
    try:
        yield
    finally:
        _scope.reset(token)


def get_variable(name: str, shape: Sequence[int], initializer: Callable) -> tf.Tensor | tf.Variable:
    """The variable `name` of the current scope; `initializer(shape, np_random)` gives its first value."""
    store, prefix = _scope.get()
    return store.get(prefix + name, shape, initializer)


def to_float(x: tf.Tensor) -> tf.Tensor:
    """Cast to the dtype of the current store's variables."""
    return tf.cast(x, _scope.get()[0].dtype)


# ================================================================
# Layers on record
# ================================================================

@dataclasses.dataclass
class Layer:
    """One application of a layer: its variables, its input x and its output h before any activation.

    kind: 'dense', 'conv2d', 'scale_and_shift', or 'free' for a vector that depends on no input, h being the vector once
    per sample; attributes: what else its curvature depends on (strides, padding).
    """

    kind: str
    variables: tuple[tf.Variable, ...]
    x: tf.Tensor
    h: tf.Tensor
    attributes: dict[str, Any]


_record: contextvars.ContextVar = contextvars.ContextVar('layers on record', default=None)


@contextlib.contextmanager
def recording_layers() -> Iterator[list[Layer]]:
    """Within, networks leave a `Layer` for each layer they apply, in order: what K-FAC needs to know of them."""
    layers: list[Layer] = []
    token = _record.set(layers)
    try:
        yield layers
    finally:
        _record.reset(token)


def record_layer(kind: str, variables: Sequence[tf.Variable], x: tf.Tensor, h: tf.Tensor, **attributes) -> tf.Tensor:
    """Leave a `Layer` if anyone is recording; returns h."""
    if _record.get() is not None:
        _record.get().append(Layer(kind, tuple(variables), x, h, attributes))
    return h


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


def constant_initializer(value: float = 0.0) -> Callable:
    """Every element `value`."""
    return lambda shape, np_random: np.full(shape, value)


def uniform_initializer(limit: float) -> Callable:
    """Uniform on [-limit, limit]."""
    return lambda shape, np_random: np_random.uniform(-limit, limit, shape)


_released = contextvars.ContextVar('moments as in the released code', default=False)


@contextlib.contextmanager
def released_moments() -> Iterator[None]:
    """Within, `standardize` has the (wrong) second derivatives of `tf.nn.moments`, as the released code."""
    token = _released.set(True)
    try:
        yield
    finally:
        _released.reset(token)


def standardize(x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """x with mean 0 and variance 1 along its last axis; epsilon is added to the variance.

    The variance is written out because `tf.nn.moments` stops the gradient of the mean inside it: values and first
    derivatives are right, second ones are not.
    """
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    centre = tf.stop_gradient(mean) if _released.get() else mean
    variance = tf.reduce_mean(tf.square(x - centre), axis=-1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + epsilon)


def layer_norm(x: tf.Tensor, epsilon: float = 1e-12) -> tf.Tensor:
    """Layer normalisation (Ba et al. 2016) of [B, features] with scale gamma and shift beta.

    epsilon: tf.contrib's, which upstream uses.
    """
    with variable_scope('LayerNorm'):
        beta = get_variable('beta', [x.shape[-1]], constant_initializer(0.0))
        gamma = get_variable('gamma', [x.shape[-1]], constant_initializer(1.0))
    normed = standardize(x, epsilon)
    return record_layer('scale_and_shift', (beta, gamma), normed, normed * gamma + beta)


# ================================================================
# Compiled functions of arrays
# ================================================================

def function(f: Callable, *inputs: tf.TensorSpec, xla: bool = False) -> Callable:
    """`f` compiled once for arguments like `inputs`; takes arrays of any dtype that fits, gives numpy arrays.

    xla: by XLA, which takes longer, once for each shape of arguments, and makes many small operations a few fast ones;
    what it compiles is checked (see common/xla.py).
    """
    run = _compiled(f, inputs)
    if xla:
        run = checked(_compiled(f, inputs, jit_compile=True), f, instead=run)

    def call(*args):
        args = [_fitting(arg, spec) for (arg, spec) in zip(args, inputs, strict=True)]
        return to_numpy((f if tf.config.functions_run_eagerly() else run)(*args))
    return call


def _compiled(f, inputs, **kwargs):
    compiled = tf.function(lambda *args: f(*args), input_signature=inputs, autograph=False, **kwargs)
    concrete = functools.cache(compiled.get_concrete_function)  # calling `compiled` costs twice as much
    return lambda *args: concrete()(*args)


def _fitting(array, spec):
    """The array as a tensor like `spec`, which `ConcreteFunction` does not check."""
    tensor = tf.constant(array, spec.dtype)
    if not spec.shape.is_compatible_with(tensor.shape):
        raise ValueError(f'an array of shape {tensor.shape} does not fit {spec}')
    return tensor


def to_numpy(tensors: Any) -> Any:
    """A structure of tensors as the same structure of arrays."""
    return tf.nest.map_structure(lambda t: t.numpy() if tf.is_tensor(t) else t, tensors)


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

_META = '__meta__'


def save_variables(save_path: str, variables: dict[str, np.ndarray], meta: dict | None = None) -> None:
    """Write named arrays of numbers (and `meta`, JSON) to `save_path` as npz; an existing file survives a failure.

    Raises ValueError or TypeError for what are no numbers and no JSON.
    """
    save_path = os.path.abspath(os.path.expanduser(save_path))
    os.makedirs(os.path.dirname(save_path), exist_ok=True)
    arrays = {name: np.asarray(value) for name, value in variables.items()}
    for name, value in arrays.items():
        if not _is_numeric(value) or name == _META:
            raise ValueError(f'{name!r} cannot be saved: {value.dtype} is no array of numbers')
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(save_path), suffix='.tmp', delete=False) as fh:
        try:
            np.savez(fh, **arrays, **{_META: np.array(json.dumps(meta or {}))})
            fh.flush()
            os.fsync(fh.fileno())
            os.chmod(fh.name, 0o644)
            os.replace(fh.name, save_path)
        except BaseException:
            os.unlink(fh.name)
            raise


def load_variables(load_path: str) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays by name, meta) of a file written by `save_variables`. Nothing in the file is ever executed.

    Raises UsageError, one line, for a file that is not there or is not such a file.
    """
    path = os.path.expanduser(load_path)
    if not os.path.isfile(path):
        raise UsageError(f'no model file at {load_path!r}')
    try:
        with open(path, 'rb') as fh, np.load(fh, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        meta = json.loads(arrays.pop(_META).item())
        if not isinstance(meta, dict) or not all(map(_is_numeric, arrays.values())):
            raise ValueError('it holds more than arrays of numbers')
    except Exception as e:  # whatever a foreign or damaged file makes numpy, zipfile and json raise
        reason = ' '.join(f'{type(e).__name__}: {e}'.split())
        raise UsageError(f'{load_path!r} is not a model file written by --save_path ({reason})') from e
    return arrays, meta


def check_fits(path: str, meta: dict, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError, naming the first fault, if the arrays `found` in a file have not the names and shapes of those
    `expected`."""
    here, there = ({name: np.shape(value) for name, value in arrays.items()} for arrays in (expected, found))
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            raise UsageError(f'{path!r} does not fit this policy: {name} is {there.get(name, "missing")} in the file '
                             f'and {here.get(name, "missing")} here; it was saved with {meta.get("spec")}')


def _is_numeric(array):
    return isinstance(array, np.ndarray) and array.dtype.kind in 'biufc'


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
