"""Many updates of `MpiAdam` in one call, for all MPI ranks."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.adam import Flat, step_of_adam, steps_of_adam
from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_world import allsum

if TYPE_CHECKING:
    from mpi4py import MPI

GROUP = 8  # ranks, at most


def minimize(adam: MpiAdam, gradient: Callable, *inputs: tf.TensorSpec, xla: bool = False,
             group: int = GROUP) -> Callable:
    """Many updates in one call: fit(arrays, minibatches, stepsize), with arrays like `inputs` and a list of vectors
    of row numbers, all of one length, makes the update of each minibatch in turn.

    gradient(theta, *rows of the arrays) -> [n] of tensors, that of a mean over the rows; all ranks give arrays and
    minibatches of the same shapes. Compiled by XLA if `xla` says so.
    Ranks are in groups of at most `group`. The first rank of each makes the updates from the rows of its group, and
    hands out the result; the first ranks of several groups average every gradient. So there is one wait for the other
    ranks where one group has them all, one per update (which XLA cannot compile) where there are more, and work and
    memory of no rank grow with their number. Groups of one rank: upstream's way. All begin with the parameters and
    moments of rank 0.
    fit raises FloatingPointError, on all ranks and with nothing changed, where parameters or gradients are not
    finite.
    """
    ranks, firsts = _groups(adam.comm, group)
    weight = _weight(adam, ranks)

    def updates(theta, m, v, stepsizes, minibatches, *arrays):
        def update(i, theta, m, v):
            g = gradient(theta, *(tf.gather(array, minibatches[i]) for array in arrays)) * weight
            if firsts is not None:
                g = tf.ensure_shape(tf.numpy_function(lambda g: allsum(g, firsts), [g], g.dtype), theta.shape)
            return i + 1, *step_of_adam(Flat(theta, m, v), g, stepsizes[i], adam.beta1, adam.beta2, adam.epsilon)

        n = tf.shape(minibatches)[0]
        return tf.while_loop(lambda i, *_: i < n, update, (0, theta, m, v), maximum_iterations=n)[1:]

    theta = tf.TensorSpec(adam.m.shape, adam.m.dtype)
    run = U.function(updates, theta, theta, theta, tf.TensorSpec([None]), tf.TensorSpec([None, None], tf.int32),
                     *inputs, xla=xla and firsts is None)

    def fit(arrays, minibatches, stepsize):
        if not minibatches:
            return
        state = np.stack([adam.getflat(), adam.m, adam.v])
        data = _gather(ranks, [np.asarray(array, spec.dtype.as_numpy_dtype) for array, spec in
                               zip(arrays, inputs, strict=True)], np.array(minibatches, 'int32'))
        if data is not None:
            if firsts is not None:
                firsts.Bcast(state, root=0)
            state[:] = run(*state, steps_of_adam(stepsize, adam.t, len(minibatches), adam.beta1, adam.beta2), *data)
        if ranks is not None:
            ranks.Bcast(state, root=0)
        if not np.isfinite(state).all():
            largest = max(np.abs(array).max() for array in arrays)
            raise FloatingPointError(f'MpiAdam: a gradient of updates {adam.t + 1} to {adam.t + len(minibatches)} '
                                     f'is not finite, of numbers up to {largest:.0e}; parameters unchanged')
        theta, adam.m, adam.v = state
        adam.t += len(minibatches)
        adam.setfromflat(theta)
    return fit


def _groups(comm: MPI.Intracomm | None, largest: int) -> tuple[MPI.Comm | None, MPI.Comm | None]:
    """The group of this rank, neighbours in number, and the first ranks of all groups; None where there is but one."""
    if comm is None or comm.Get_size() <= largest:
        return comm, None
    rank, size = comm.Get_rank(), comm.Get_size()
    ranks = comm.Split(rank * -(-size // largest) // size, rank)
    return ranks, comm.Split(ranks.Get_rank(), rank)


def _weight(adam, ranks):
    """What the gradient of a group's mean counts for in that of all ranks."""
    if ranks is None:
        return 1.
    return ranks.Get_size() / (adam.comm.Get_size() if adam.scale_grad_by_procs else 1)


def _gather(ranks: MPI.Intracomm | None, arrays: Sequence[np.ndarray], minibatches: np.ndarray) -> tuple | None:
    """On the first rank (minibatches, *arrays), in each the rows of all ranks; else None."""
    if ranks is None:
        return minibatches, *arrays
    gathered = [_gathered(ranks, array) for array in (minibatches, *arrays)]
    if ranks.Get_rank() > 0:
        return None
    minibatches, *arrays = gathered
    starts = len(arrays[0][0]) * np.arange(ranks.Get_size(), dtype='int32')
    minibatches = np.concatenate(minibatches + starts[:, np.newaxis, np.newaxis], axis=1)
    return minibatches, *(np.concatenate(array) for array in arrays)


def _gathered(ranks, x):
    """[ranks, *x.shape] on the first rank, else None."""
    out = np.empty((ranks.Get_size(), *x.shape), x.dtype) if ranks.Get_rank() == 0 else None
    ranks.Gather(np.ascontiguousarray(x), out, root=0)
    return out
