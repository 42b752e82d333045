"""RMSProp of flat gradients, as TensorFlow 1 has it."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.checks import check_values
from onpolicybaselines.common.gradients import check_finite_parts, clip_by_global_norm
from onpolicybaselines.common.math_util import unflatten_vector
from onpolicybaselines.common.mpi_world import check_synced
from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.variables import split_like


class RMSPropOptimizer:
    """RMSProp (Tieleman & Hinton 2012) as TensorFlow 1 has it: the mean square begins at 1, and has epsilon added below
    the root.

    max_grad_norm: of the whole gradient; a longer one is scaled down. None is no bound.
    """

    def __init__(self, var_list: Sequence[tf.Variable], decay: float = 0.9, epsilon: float = 1e-10,
                 max_grad_norm: float | None = None):
        self.max_grad_norm = max_grad_norm
        self.updates = 0
        self._var_list = list(var_list)
        self._get_flat = U.GetFlat(var_list)
        dtype = var_list[0].dtype
        self.ms = tf.Variable(tf.ones([sum(map(U.numel, var_list))], dtype), trainable=False)

        def apply(grads, learning_rate):
            ms = decay * self.ms + (1 - decay) * tf.square(grads)
            step = learning_rate * grads * tf.math.rsqrt(ms + epsilon)
            good = tf.reduce_all(tf.math.is_finite(ms + step))
            self.ms.assign(tf.where(good, ms, self.ms))
            for v, piece in zip(self._var_list, split_like(self._var_list, tf.where(good, step, 0)), strict=True):
                v.assign_sub(piece)
            return good

        self._apply = U.function(apply, tf.TensorSpec(self.ms.shape, dtype), tf.TensorSpec([], dtype))

    def apply_gradients(self, grads: np.ndarray, learning_rate: float, **losses: float) -> None:
        """One update along the flat gradient [n]. Raises FloatingPointError, with nothing changed, if that, the step or
        one of the losses is not finite, and every 100 updates RuntimeError if the parameters of MPI ranks differ."""
        pieces = unflatten_vector(grads, [v.shape for v in self._var_list])
        check_finite_parts(f'update {self.updates + 1}: the gradient of {{!r}} is',
                           zip(self._var_list, pieces, strict=True))
        check_values(f'update {self.updates + 1}', **losses)
        if self.updates % 100 == 0:
            check_synced(self._get_flat(), f'update {self.updates + 1}')
        if not self._apply(clip_by_global_norm(grads, self.max_grad_norm), learning_rate):
            raise FloatingPointError(f'update {self.updates + 1}: the step is not finite; parameters unchanged')
        self.updates += 1

    def state(self) -> State:
        """The number of updates and the mean square [n]."""
        return {'updates': self.updates, 'ms': self.ms.numpy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of other variables."""
        check_shapes('RMSProp', state, self.state())
        self.updates = state['updates']
        self.ms.assign(state['ms'])
