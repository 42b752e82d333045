"""What the builders of common/models.py say about a network besides its function, and what they refuse."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf

from onpolicybaselines.a2c.utils import conv
from onpolicybaselines.common import actors
from onpolicybaselines.common.keywords import check_choice, split_keywords

# the functions of tf.nn that take a layer alone and give one
Activation = Literal['tanh', 'relu', 'elu', 'selu', 'gelu', 'silu', 'swish', 'sigmoid', 'softplus', 'softsign', 'relu6',
                     'leaky_relu', 'crelu', 'softmax', 'log_softmax', 'l2_normalize']


def get_activation(name: str | Callable) -> Callable:
    """The function of that name in tf.nn; a function is returned as it is. Raises UsageError for another name."""
    if callable(name):
        return name
    check_choice('activation', name, get_args(Activation))
    return getattr(tf.nn, name)


def check_conv_keywords(conv_kwargs: Mapping[str, Any], *own: str) -> None:
    """Raise UsageError for keywords that `conv` does not take, or that networks choose themselves, this one `own`."""
    split_keywords(conv_kwargs, conv, skip=('x', 'scope', 'nf', 'rf', 'stride', 'init_scale', *own))


def with_layers(network_fn: Callable, scopes: Sequence[str], activation: Callable, layer_norm: bool) -> Callable:
    """`network_fn`, saying to common/actors that it is dense layers in `scopes`, if those know the activation."""
    name = next((name for name in actors.ACTIVATIONS if getattr(tf.nn, name, None) is activation), None)
    if name is not None:
        network_fn.layers = lambda arrays: [actors.dense(arrays, scope, name, layer_norm) for scope in scopes]
    return network_fn


def with_state(network_fn: Callable, size: int) -> Callable:
    """`network_fn`, saying that it is recurrent, with a state of `size` numbers, zeros to begin with."""
    network_fn.recurrent = True
    network_fn.initial_state = lambda nenv: np.zeros((nenv, size), 'float32')
    return network_fn
