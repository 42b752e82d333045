"""Adam of flat gradients, as TensorFlow 1 has it, inside a compiled function."""
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.math_util import unflatten_vector
from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.variables import split_like

NOT_FINITE = 'the gradient is not finite'


class AdamOptimizer:
    """Adam (Kingma & Ba 2015) as TensorFlow 1 has it: epsilon is added to sqrt(v), and the bias correction sits in the
    step size.

    compute_gradients and apply_gradients are of tensors, for a function that is compiled; `update` calls that.
    """

    def __init__(self, var_list: Sequence[tf.Variable], beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8):
        self.var_list = list(var_list)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.m, self.v = ([tf.Variable(tf.zeros_like(v), trainable=False) for v in var_list] for _ in range(2))
        self.t = 0  # updates so far
        self._get_m, self._get_v = map(U.GetFlat, (self.m, self.v))

    def compute_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> tf.Tensor:
        """The flat gradient [n] of a loss that the tape has seen."""
        return U.flatgrad(tape.gradient(loss, self.var_list), self.var_list)

    def apply_gradients(self, grads: tf.Tensor, step: tf.Tensor, clip_norm: float | None = None) -> None:
        """Descend along the flat gradient [n], scaled down to that norm if it is longer; step: as `update` gives it.

        Where the gradient is not finite nothing is changed, and `update` raises an error.
        """
        norm = tf.debugging.check_numerics(tf.norm(grads), NOT_FINITE)
        scale = 1. if clip_norm is None else clip_norm / tf.maximum(norm, clip_norm)
        with tf.control_dependencies([norm]):
            pieces = split_like(self.var_list, grads * scale)
        dtype = self.var_list[0].dtype
        zero, beta1, beta2, epsilon = (tf.constant(x, dtype) for x in (0, self.beta1, self.beta2, self.epsilon))
        for var, m, v, grad in zip(self.var_list, self.m, self.v, pieces, strict=True):
            tf.raw_ops.ResourceApplyAdam(  # powers of beta that are 0: the bias is corrected in the step
                var=var.handle, m=m.handle, v=v.handle, beta1_power=zero, beta2_power=zero, lr=step, beta1=beta1,
                beta2=beta2, epsilon=epsilon, grad=grad)

    def update(self, function: Callable, learning_rate: float, *args: Any) -> Any:
        """What the compiled function(step, *args) gives, which calls `apply_gradients` once.

        Raises FloatingPointError, with nothing changed, if the gradient is not finite.
        """
        t = self.t + 1
        try:
            result = function(learning_rate * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t), *args)
        except tf.errors.InvalidArgumentError as e:
            if NOT_FINITE not in str(e):
                raise
            raise FloatingPointError(f'update {t}: {NOT_FINITE}; parameters unchanged') from None
        self.t = t
        return result

    def state(self) -> State:
        """Moments m and v, flat [n], and the number t of updates."""
        return {'m': self._get_m(), 'v': self._get_v(), 't': self.t}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of other variables."""
        check_shapes('Adam', state, self.state())
        for moments, flat in ((self.m, state['m']), (self.v, state['v'])):
            for variable, value in zip(moments, unflatten_vector(np.asarray(flat), [v.shape for v in moments]),
                                       strict=True):
                variable.assign(value)
        self.t = int(state['t'])
