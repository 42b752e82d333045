"""Observation statistics over all MPI ranks, for use in graphs (upstream: common/mpi_running_mean_std.py)."""
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from onpolicybaselines.common import running_mean_std
from onpolicybaselines.common.moments import FLOOR, moments_of_sums
from onpolicybaselines.common.mpi_world import allsum
from onpolicybaselines.common.state import State
from onpolicybaselines.common.variables import watched


class RunningMeanStd(object):
    """Running mean and standard deviation of all data that any rank has seen.

    Mean, variance and count are numpy's, in float64, and merged as `running_mean_std` does (Chan et al. 1979), so that
    large offsets do no harm. `mean` and `std` are float32 variables, not trainable, that graphs read and every `update`
    sets. The variance is floored at 1e-2, so std >= 0.1.

    Args:
        epsilon: weight of the initial mean 0 (see `moments.prior_mean`) and variance 1, as a number of samples.
        shape: of one observation.
    """

    def __init__(self, epsilon: float = 1e-2, shape: tuple[int, ...] = ()):
        self._moments = running_mean_std.RunningMeanStd(epsilon, shape)
        if epsilon == 0:
            self._moments.var[...] = 0  # no sample, no variance
        self.shape = tuple(shape)

        self.mean = watched(tf.Variable(tf.zeros(shape), trainable=False, name='mean'))
        self.std = watched(tf.Variable(tf.ones(shape), trainable=False, name='std'))
        self._assign()

    def _assign(self):
        self.mean.assign(self._moments.mean)
        self.std.assign(np.sqrt(np.maximum(self._moments.var, FLOOR)))

    def update(self, x: np.ndarray) -> None:
        """Take in this rank's observations x [batch, *shape] and the other ranks', which must call this too.

        The ranks' batch sizes may differ and may be 0. Raises ValueError for another shape, and
        FloatingPointError if any rank's data is not finite: on all ranks, with nothing changed.
        """
        x = np.asarray(x, 'float64')
        if x.ndim == 0 or x.shape[1:] != self.shape:
            raise ValueError(f'RunningMeanStd needs x of shape [batch, *{self.shape}], got {x.shape}')
        with np.errstate(over='ignore', invalid='ignore'):  # reported below, by all ranks together
            *totalvec, count = allsum(np.append(x.sum(axis=0), len(x)))
            mean = np.reshape(totalvec, self.shape) / (count or 1)
            var = allsum(np.square(x - mean).sum(axis=0)) / (count or 1)
        bad = np.flatnonzero(~np.isfinite(var)).tolist()
        if bad:
            raise FloatingPointError(f'RunningMeanStd: observation element(s) {bad}, or their squares, are '
                                     'not finite on some rank; statistics unchanged')
        if count:
            self._moments.update_from_moments(mean, var, count)
            self._assign()

    def state(self) -> State:
        """float64 'mean' and 'var' of `shape`, 'count' 0-d: as model files have them."""
        return {name: np.array(value) for name, value in self._moments.state().items()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave, in this revision or an earlier one. Raises ValueError if it does not fit."""
        self._moments.set_state(moments_of_sums(state))
        self._assign()
