"""Layers on record, for K-FAC, and layer normalisation with right second derivatives."""
import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from onpolicybaselines.common.variables import constant_initializer, get_variable, variable_scope


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
