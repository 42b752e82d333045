"""Adam whose gradients are averaged over MPI ranks (upstream: baselines/common/mpi_adam_optimizer.py)."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.adam import AdamOptimizer
from onpolicybaselines.common.mpi_world import allsum, check_synced

if TYPE_CHECKING:
    from mpi4py import MPI


class MpiAdamOptimizer(AdamOptimizer):
    """`AdamOptimizer` of the weighted mean of the gradients of all ranks.

    mpi_rank_weight: of this rank's gradient; kwargs: of AdamOptimizer. Raises ValueError if all weights are 0.
    """

    def __init__(self, comm: MPI.Intracomm, var_list: Sequence[tf.Variable], mpi_rank_weight: float = 1, **kwargs):
        self.comm = comm
        self.mpi_rank_weight = mpi_rank_weight
        self.total_weight = float(allsum(np.float64(mpi_rank_weight), comm))
        if not self.total_weight:
            raise ValueError('mpi_rank_weight is 0 on all ranks')
        AdamOptimizer.__init__(self, var_list, **kwargs)

    def compute_gradients(self, tape: tf.GradientTape, loss: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """The flat gradient [n], averaged over the ranks."""
        flat_grad = AdamOptimizer.compute_gradients(self, tape, loss, theta)

        def _collect_grads(flat_grad):
            return allsum(flat_grad, self.comm)

        avg_flat_grad = tf.numpy_function(_collect_grads, [flat_grad * (self.mpi_rank_weight / self.total_weight)],
                                          flat_grad.dtype)
        return tf.ensure_shape(avg_flat_grad, flat_grad.shape)

    def update(self, function: Callable, learning_rate: float, *args: Any, n: int = 1) -> Any:
        """See AdamOptimizer.update. Raises RuntimeError, every 100 updates, if the parameters of the ranks differ."""
        if -self.t % 100 < n:
            check_synced(self.getflat(), f'MpiAdamOptimizer, update {self.t + 1}', self.comm)
        return AdamOptimizer.update(self, function, learning_rate, *args, n=n)
