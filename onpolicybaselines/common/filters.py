"""Filters of observations (upstream common/filters.py of its branch old_acktr_cont)."""
from collections.abc import Mapping

import numpy as np

from onpolicybaselines.common.running_stat import RunningStat
from onpolicybaselines.common.state import State


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

    def __call__(self, x: np.ndarray, update: bool = True) -> np.ndarray:
        """Filter x, one observation; without `update`, a batch of them as well."""
        if update: self.rs.push(x)
        if self.demean:
            x = x - self.rs.mean
        if self.destd:
            x = x / (self.rs.std+1e-8)
        if self.clip:
            x = np.minimum(np.maximum(x, -self.clip), self.clip) # np.clip takes three times as long
        return x

    def state(self) -> State:
        """The statistics, see `RunningStat.state`."""
        return self.rs.state()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        self.rs.set_state(state)
