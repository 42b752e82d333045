"""Adam of flat vectors, as TensorFlow 1 has it, inside a compiled function."""
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.state import State, check_shapes

NOT_FINITE = 'the gradient is not finite'


class Flat(NamedTuple):
    """What an update changes, flat [n]: parameters, and the means of gradients and of their squares."""

    theta: Any
    m: Any
    v: Any


def step_of_adam(flat: Flat, grads: tf.Tensor, step: tf.Tensor, beta1: float, beta2: float, epsilon: float) -> Flat:
    """Tensors after one update along the flat gradient [n]; step: the step size with the correction of the bias."""
    m = beta1 * flat.m + (1 - beta1) * grads
    v = beta2 * flat.v + (1 - beta2) * (grads * grads)
    return Flat(flat.theta - step * m / (tf.sqrt(v) + epsilon), m, v)


def steps_of_adam(learning_rate: float, t: int, n: int, beta1: float, beta2: float) -> list[float]:
    """The step sizes, the bias corrected, of the n updates after t."""
    return [learning_rate * math.sqrt(1 - beta2**i) / (1 - beta1**i) for i in range(t + 1, t + n + 1)]


class AdamOptimizer:
    """Adam (Kingma & Ba 2015) as TensorFlow 1 has it: epsilon is added to sqrt(v), and the bias correction sits in the
    step size.

    compute_gradients and apply_gradients are of tensors, for a compiled function that makes one update or many;
    `update` calls that.
    """

    def __init__(self, var_list: Sequence[tf.Variable], beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8):
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.getflat, self.setfromflat = U.GetFlat(var_list), U.SetFromFlat(var_list)
        theta = self.getflat()
        self.m, self.v = np.zeros_like(theta), np.zeros_like(theta)
        self.t = 0  # updates so far
        self.flat = Flat(*[tf.TensorSpec(theta.shape, theta.dtype)] * 3)  # of the first argument of what `update` calls

    def compute_gradients(self, tape: tf.GradientTape, loss: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """The gradient [n] of a loss that the tape has seen."""
        return tape.gradient(loss, theta)

    def apply_gradients(self, grads: tf.Tensor, flat: Flat, step: tf.Tensor, clip_norm: float | None = None) -> Flat:
        """Descend along the flat gradient [n], scaled down to that norm if it is longer; step: one of those that
        `update` gives."""
        if clip_norm is not None:
            norm = tf.norm(grads)
            grads = grads * tf.where(tf.math.is_finite(norm), clip_norm / tf.maximum(norm, clip_norm), np.nan)
        return step_of_adam(flat, grads, step, self.beta1, self.beta2, self.epsilon)

    def update(self, function: Callable, learning_rate: float, *args: Any, n: int = 1) -> Any:
        """What the compiled function(theta, m, v, steps [n], *args) gives as its second value; the first is what n
        calls of `apply_gradients` have made of theta, m and v.

        Raises FloatingPointError, with nothing changed, if a gradient, its square, norm or a parameter is not finite.
        """
        steps = steps_of_adam(learning_rate, self.t, n, self.beta1, self.beta2)
        (theta, m, v), result = function(self.getflat(), self.m, self.v, steps, *args)
        if not (np.isfinite(theta).all() and np.isfinite(m).all() and np.isfinite(v).all()):
            which = f'update {self.t + 1}' if n == 1 else f'updates {self.t + 1} to {self.t + n}'
            raise FloatingPointError(f'{which}: {NOT_FINITE}; parameters unchanged')
        self.setfromflat(theta)
        self.m, self.v = m, v
        self.t += n
        return result

    def state(self) -> State:
        """Moments m and v, flat [n], and the number t of updates."""
        return {'m': self.m.copy(), 'v': self.v.copy(), 't': self.t}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of other variables."""
        check_shapes('Adam', state, self.state())
        self.m, self.v = (np.array(state[name], self.m.dtype) for name in 'mv')
        self.t = int(state['t'])
