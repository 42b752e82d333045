"""Layers of the ACKTR networks (upstream acktr/utils.py)."""
from collections.abc import Callable, Sequence

import tensorflow as tf

from onpolicybaselines.common.layers import record_layer
from onpolicybaselines.common.variables import constant_initializer, get_variable, name_of, variable_scope


def dense(x: tf.Tensor, size: int, name: str, weight_init: Callable, bias_init: float = 0) -> tf.Tensor:
    """Fully connected layer: x @ w + b, [B, in] -> [B, size]."""
    with variable_scope(name):
        w = get_variable("w", [x.shape[1], size], weight_init)
        b = get_variable("b", [size], constant_initializer(bias_init))
        return record_layer('dense', (w, b), x, tf.matmul(x, w) + b)

def weight_decay_dict(var_list: Sequence[tf.Variable], weight_decay_fc: float = 3e-4) -> dict[str, float]:
    """Coefficients of weight decay by the name of the variable: `weight_decay_fc` for the weights of dense layers."""
    names = map(name_of, var_list)
    return {name: weight_decay_fc for name in names if name.endswith('/w')}
