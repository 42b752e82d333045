"""Many updates of `MpiAdam` in one call, for all MPI ranks."""
from collections.abc import Callable

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.mpi_adam import MpiAdam


def minimize(adam: MpiAdam, gradient: Callable, *inputs: tf.TensorSpec, xla: bool = False) -> Callable:
    """Many updates in one call: fit(arrays, minibatches, stepsize), with arrays like `inputs` and a list of vectors
    of row numbers, all of one length, makes the update of each minibatch in turn.

    gradient(theta, *rows of the arrays) -> [n] of tensors, that of a mean over the rows: so rank 0 makes the
    updates of all ranks from their rows together, and hands out the result: one wait for the ranks instead of one
    per update, but work on rank 0 in proportion to their number. Compiled by XLA if `xla` says so.
    fit raises FloatingPointError, on all ranks and with nothing changed, where parameters or gradients are not
    finite.
    """
    def updates(theta, m, v, stepsizes, minibatches, *arrays):
        def update(i, theta, m, v):
            g = gradient(theta, *(tf.gather(array, minibatches[i]) for array in arrays))
            if adam.comm is not None and not adam.scale_grad_by_procs:
                g *= adam.comm.Get_size()
            m = adam.beta1 * m + (1 - adam.beta1) * g
            v = adam.beta2 * v + (1 - adam.beta2) * (g * g)
            return i + 1, theta - stepsizes[i] * m / (tf.sqrt(v) + adam.epsilon), m, v

        n = tf.shape(minibatches)[0]
        return tf.while_loop(lambda i, *_: i < n, update, (0, theta, m, v), maximum_iterations=n)[1:]

    theta = tf.TensorSpec(adam.m.shape, adam.m.dtype)
    run = U.function(updates, theta, theta, theta, tf.TensorSpec([None]), tf.TensorSpec([None, None], tf.int32),
                     *inputs, xla=xla)

    def fit(arrays, minibatches, stepsize):
        if not minibatches:
            return
        state = np.stack([adam.getflat(), adam.m, adam.v])
        data = _gather(adam.comm, arrays, minibatches)
        if data is not None:
            arrays, minibatches = data
            stepsizes = [stepsize * np.sqrt(1 - adam.beta2**t)/(1 - adam.beta1**t)
                         for t in range(adam.t + 1, adam.t + 1 + len(minibatches))]
            state[:] = run(*state, stepsizes, minibatches, *arrays)
        if adam.comm is not None:
            adam.comm.Bcast(state, root=0)
        if not np.isfinite(state).all():
            raise FloatingPointError(f'MpiAdam: a gradient of updates {adam.t + 1} to {adam.t + len(minibatches)} '
                                     'is not finite; parameters unchanged')
        theta, adam.m, adam.v = state
        adam.t += len(minibatches)
        adam.setfromflat(theta)
    return fit


def _gather(comm, arrays, minibatches):
    """On rank 0 the arrays of all ranks one after the other, and the rows of all in each minibatch; else None."""
    if comm is None:
        return arrays, minibatches
    data = comm.gather((arrays, minibatches), root=0)
    if data is None:
        return None
    arrays, minibatches = zip(*data, strict=True)
    starts = np.cumsum([0, *(len(first) for (first, *_) in arrays[:-1])])
    minibatches = [start + np.array(rows) for start, rows in zip(starts, minibatches, strict=True)]
    return [np.concatenate(parts) for parts in zip(*arrays, strict=True)], np.concatenate(minibatches, axis=1)
