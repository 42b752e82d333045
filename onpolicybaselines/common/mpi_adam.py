"""Adam on a flat parameter vector that MPI ranks share (upstream: baselines/common/mpi_adam.py)."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.mpi_util import allsum, check_synced, get_comm

if TYPE_CHECKING:
    from mpi4py import MPI


class MpiAdam(object):
    """Adam (Kingma & Ba 2015) in numpy, with gradients summed or averaged over ranks.

    epsilon is added to sqrt(v) and the bias correction sits in the step size, as in TF1 and at the end of the
    paper's section 2.

    Args:
        var_list: variables to train; their concatenation is the parameter vector [n].
        beta1, beta2: decay of the first and second moment.
        epsilon: added to sqrt(v).
        scale_grad_by_procs: average the gradients over ranks; False sums them.
        comm: MPI communicator; None is COMM_WORLD, or this process alone without MPI.

    Attributes m, v (float32 [n]) and t (updates so far) are the state to checkpoint.
    """

    def __init__(self, var_list: Sequence[tf.Variable], *, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-08, scale_grad_by_procs: bool = True, comm: MPI.Intracomm | None = None):
        self.var_list = var_list
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.scale_grad_by_procs = scale_grad_by_procs
        size = sum(U.numel(v) for v in var_list)
        self.m = np.zeros(size, 'float32')
        self.v = np.zeros(size, 'float32')
        self.t = 0
        self.setfromflat = U.SetFromFlat(var_list)
        self.getflat = U.GetFlat(var_list)
        self.comm = get_comm() if comm is None else comm

    def update(self, localg: np.ndarray, stepsize: float) -> None:
        """Descend along this rank's gradient `localg` [n] combined with the others'.

        Every 100th time it checks first that the ranks have the same parameters. Raises ValueError for a
        gradient of the wrong shape, and FloatingPointError if the combined one is not finite: on all ranks,
        with nothing changed.
        """
        if self.t % 100 == 0:
            self.check_synced()
        localg = np.asarray(localg, 'float32')
        if localg.shape != self.m.shape:
            raise ValueError(f'MpiAdam needs a gradient of shape {self.m.shape}, got {localg.shape}')
        globalg = allsum(localg, self.comm)
        if self.comm is not None and self.scale_grad_by_procs:
            globalg /= self.comm.Get_size()
        if not np.isfinite(globalg).all():
            raise FloatingPointError(f'MpiAdam: the gradient of update {self.t + 1} is not finite; '
                                     'parameters unchanged')

        self.t += 1
        # a Python float: numpy's float64 scalars would turn the float32 arrays below into float64
        a = self._corrected(stepsize, self.t)
        self.m, self.v = self._moments(self.m, self.v, globalg)
        step = (- a) * self.m / (np.sqrt(self.v) + self.epsilon)
        self.setfromflat(self.getflat() + step)

    def minimize(self, gradient: Callable, *inputs: tf.TensorSpec, xla: bool = False) -> Callable:
        """Many updates in one call: fit(arrays, minibatches, stepsize), with arrays like `inputs` and a list of vectors
        of row numbers, all of one length, makes the update of each minibatch in turn.

        gradient(theta, *rows of the arrays) -> [n] of tensors, that of a mean over the rows: so rank 0 makes the
        updates of all ranks from their rows together, and hands out the result: one wait for the ranks instead of one
        per update, but work on rank 0 in proportion to their number. Compiled by XLA if `xla` says so.
        fit raises FloatingPointError, on all ranks and with nothing changed, where parameters or gradients are not
        finite.
        """
        def updates(*args):
            return self._updates(gradient, *args)

        theta = tf.TensorSpec(self.m.shape, self.m.dtype)
        run = U.function(updates, theta, theta, theta, tf.TensorSpec([None]), tf.TensorSpec([None, None], tf.int32),
                         *inputs, xla=xla)

        def fit(arrays, minibatches, stepsize):
            if not minibatches:
                return
            state = np.stack([self.getflat(), self.m, self.v])
            data = self._gather(arrays, minibatches)
            if data is not None:
                arrays, minibatches = data
                stepsizes = [self._corrected(stepsize, self.t + 1 + i) for i in range(len(minibatches))]
                state[:] = run(*state, stepsizes, minibatches, *arrays)
            if self.comm is not None:
                self.comm.Bcast(state, root=0)
            if not np.isfinite(state).all():
                raise FloatingPointError(f'MpiAdam: a gradient of updates {self.t + 1} to {self.t + len(minibatches)} '
                                         'is not finite; parameters unchanged')
            theta, self.m, self.v = state
            self.t += len(minibatches)
            self.setfromflat(theta)
        return fit

    def _gather(self, arrays, minibatches):
        """On rank 0 the arrays of all ranks one after the other, and the rows of all in each minibatch; else None."""
        if self.comm is None:
            return arrays, minibatches
        data = self.comm.gather((arrays, minibatches), root=0)
        if data is None:
            return None
        arrays, minibatches = zip(*data, strict=True)
        starts = np.cumsum([0, *(len(first) for (first, *_) in arrays[:-1])])
        minibatches = [start + np.array(rows) for start, rows in zip(starts, minibatches, strict=True)]
        return [np.concatenate(parts) for parts in zip(*arrays, strict=True)], np.concatenate(minibatches, axis=1)

    def _updates(self, gradient, theta, m, v, stepsizes, minibatches, *arrays):
        def update(i, theta, m, v):
            g = gradient(theta, *(tf.gather(array, minibatches[i]) for array in arrays))
            if self.comm is not None and not self.scale_grad_by_procs:
                g *= self.comm.Get_size()
            m, v = self._moments(m, v, g)
            return i + 1, theta - stepsizes[i] * m / (tf.sqrt(v) + self.epsilon), m, v

        n = tf.shape(minibatches)[0]
        return tf.while_loop(lambda i, *_: i < n, update, (0, theta, m, v), maximum_iterations=n)[1:]

    def _corrected(self, stepsize, t):
        """The step size of update t with the correction of the moments' bias."""
        return float(stepsize) * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)

    def _moments(self, m, v, g):
        return self.beta1 * m + (1 - self.beta1) * g, self.beta2 * v + (1 - self.beta2) * (g * g)

    def sync(self) -> None:
        """Overwrite the parameters of all ranks with those of rank 0."""
        if self.comm is None:
            return
        theta = self.getflat()
        self.comm.Bcast(theta, root=0)
        self.setfromflat(theta)

    def check_synced(self) -> None:
        """Raise RuntimeError, on all ranks, if the parameters of any rank differ from those of rank 0."""
        check_synced(self.getflat(), f'MpiAdam, update {self.t + 1}', self.comm)
