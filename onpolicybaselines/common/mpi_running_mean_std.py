"""Observation statistics over all MPI ranks, for use in graphs (upstream: common/mpi_running_mean_std.py)."""
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.mpi_world import allsum
from onpolicybaselines.common.state import State, check_shapes


class RunningMeanStd(object):
    """Running mean and standard deviation of all data that any rank has seen.

    The sums live in numpy as float64. `mean` and `std` are float32 variables, not trainable, that graphs read
    and every `update` sets. The variance is floored at 1e-2, so std >= 0.1.

    Args:
        epsilon: initial count and sum of squares, like that many earlier samples of mean 0 and mean square 1.
        shape: of one observation.
    """

    def __init__(self, epsilon: float = 1e-2, shape: tuple[int, ...] = ()):
        self._sum = np.zeros(shape)
        self._sumsq = np.full(shape, epsilon, 'float64')
        self._count = np.array(epsilon, 'float64')
        self.shape = tuple(shape)

        self.mean = tf.Variable(tf.zeros(shape), trainable=False, name='mean')
        self.std = tf.Variable(tf.ones(shape), trainable=False, name='std')
        self.incfiltparams(0, 0, 0)

    def incfiltparams(self, newsum: np.ndarray, newsumsq: np.ndarray, newcount: float) -> None:
        """Add to the sum, the sum of squares and the count, and set `mean` and `std` from them."""
        self._sum += newsum
        self._sumsq += newsumsq
        self._count += newcount
        count = max(self._count, np.finfo('float64').tiny)  # epsilon may be 0
        mean = np.asarray(self._sum / count, 'float32')
        meansq = np.asarray(self._sumsq / count, 'float32')
        self.mean.assign(mean)
        self.std.assign(np.sqrt(np.maximum(meansq - np.square(mean), np.float32(1e-2))))

    def update(self, x: np.ndarray) -> None:
        """Take in this rank's observations x [batch, *shape] and the other ranks', which must call this too.

        The ranks' batch sizes may differ and may be 0. Raises ValueError for another shape, and
        FloatingPointError if any rank's data is not finite: on all ranks, with nothing changed.
        """
        x = np.asarray(x, 'float64')
        if x.ndim == 0 or x.shape[1:] != self.shape:
            raise ValueError(f'RunningMeanStd needs x of shape [batch, *{self.shape}], got {x.shape}')
        n = int(np.prod(self.shape))
        with np.errstate(over='ignore', invalid='ignore'):  # reported below, by all ranks together
            addvec = np.concatenate([x.sum(axis=0).ravel(), np.square(x).sum(axis=0).ravel(), [len(x)]])
            totalvec = allsum(addvec)
        if not np.isfinite(totalvec).all():
            bad = sorted({int(i) % n for i in np.flatnonzero(~np.isfinite(totalvec))})
            raise FloatingPointError(f'RunningMeanStd: observation element(s) {bad}, or their squares, are '
                                     'not finite on some rank; statistics unchanged')
        self.incfiltparams(totalvec[0:n].reshape(self.shape), totalvec[n:2*n].reshape(self.shape), totalvec[2*n])

    def state(self) -> State:
        """The sums, as model files have them: float64 'sum' and 'sumsq' of `shape`, 'count' 0-d."""
        return {'sum': np.array(self._sum), 'sumsq': np.array(self._sumsq), 'count': np.array(self._count)}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        check_shapes('RunningMeanStd', state, self.state())
        self._sum, self._sumsq, self._count = (np.array(state[key], 'float64') for key in ('sum', 'sumsq', 'count'))
        self.incfiltparams(0, 0, 0)
