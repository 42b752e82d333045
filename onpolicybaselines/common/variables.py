"""Named variables in creation order (what TF1's `get_variable` and `variable_scope` gave upstream), and initialisers.

Upstream's networks are plain functions that create their variables by scope and name. They stay plain functions here:
a `VariableStore` creates a variable the first time a name is asked for and returns it ever after, in creation order,
which is upstream's order of the flat parameter vector.
"""
import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

_scope: contextvars.ContextVar = contextvars.ContextVar('variable scope')
_changes = 0  # of variables, so far


def changes() -> int:
    """How often variables of policies, any of them, may have changed: what was made of their values is good while this
    number stays. Compiled functions that write (`common/compiled.py`) and `assign` count; a `tf.function` of one's own
    does not, unless it is followed by `note_change`."""
    return _changes


def note_change() -> None:
    """Say that variables have changed."""
    global _changes
    _changes += 1


def watched(variable: tf.Variable) -> tf.Variable:
    """`variable`, whose `assign`, `assign_add` and `assign_sub` are noted."""
    def noting(write):
        @functools.wraps(write)
        def wrapped(*args, **kwargs):
            note_change()
            return write(*args, **kwargs)
        return wrapped
    for name in ('assign', 'assign_add', 'assign_sub'):
        setattr(variable, name, noting(getattr(variable, name)))
    return variable


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
                self.variables[name] = watched(tf.Variable(value, dtype=self.dtype, name=name))
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
        before = self._substitutes
        self._substitutes = before | {names[id(v)]: piece
                                      for (v, piece) in zip(var_list, split_like(var_list, theta), strict=True)}
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


def name_of(variable: tf.Variable) -> str:
    """The path that a variable was made by; TensorFlow adds the number of an output to it."""
    return variable.name.split(':')[0]


def split_like(var_list: Sequence[tf.Variable], theta: tf.Tensor) -> list[tf.Tensor]:
    """The flat vector `theta` cut into tensors of the shapes of `var_list` (arrays: `math_util.unflatten_vector`)."""
    pieces = tf.split(theta, [v.shape.num_elements() for v in var_list])
    return [tf.reshape(piece, v.shape) for (v, piece) in zip(var_list, pieces, strict=True)]


def to_float(x: tf.Tensor) -> tf.Tensor:
    """Cast to the dtype of the current store's variables."""
    return tf.cast(x, _scope.get()[0].dtype)


def constant_initializer(value: float = 0.0) -> Callable:
    """Every element `value`."""
    return lambda shape, np_random: np.full(shape, value)


def uniform_initializer(limit: float) -> Callable:
    """Uniform on [-limit, limit]."""
    return lambda shape, np_random: np_random.uniform(-limit, limit, shape)
