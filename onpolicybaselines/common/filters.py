"""Filters of observations (upstream common/filters.py of its branch old_acktr_cont)."""
import copy
from collections.abc import Mapping

import numpy as np

from onpolicybaselines.common.mpi_util import allgather, size
from onpolicybaselines.common.running_stat import RunningStat


class ZFilter(object):
    """y = (x - mean) / std by the running mean and standard deviation of all x seen, this one included.

    shape: of one observation; demean, destd: whether to subtract the mean, and to divide by the standard deviation;
    clip: bound on |y|, None or 0 for no bound.
    """

    def __init__(self, shape: tuple[int, ...], demean: bool = True, destd: bool = True, clip: float | None = 10.0):
        self.demean = demean
        self.destd = destd
        self.clip = clip

        self.rs = RunningStat(shape)
        self._begin()

    def _begin(self):
        """What all ranks know, and what this one has seen since."""
        self._alone = size() == 1
        self._known, self._new = copy.deepcopy(self.rs), RunningStat(self.rs.shape)

    def __call__(self, x: np.ndarray, update: bool = True) -> np.ndarray:
        """Filter x, one observation; without `update`, a batch of them as well."""
        if update:
            self.rs.push(x)
            if not self._alone:
                self._new.push(x)
        if self.demean:
            x = x - self.rs.mean
        if self.destd:
            x = x / (self.rs.std + 1e-8)
        if self.clip:
            x = np.minimum(np.maximum(x, -self.clip), self.clip)
        return x

    def sync(self) -> None:
        """Tell all MPI ranks, which must all call this, what each has seen since the last time."""
        if self._alone:
            return
        self.rs = self._known
        for seen in allgather(self._new):
            self.rs.merge(seen)
        self._begin()

    def state(self) -> dict[str, np.ndarray]:
        """The statistics, see `RunningStat.state`."""
        return self.rs.state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave."""
        self.rs.set_state(state)
        self._begin()
