"""The filter of observations on several MPI ranks."""
import copy
from collections.abc import Mapping

import numpy as np

from onpolicybaselines.common.filters import ZFilter
from onpolicybaselines.common.math_util import flatten_arrays, unflatten_vector
from onpolicybaselines.common.mpi_world import allgather_arrays, size
from onpolicybaselines.common.running_stat import RunningStat


class MpiZFilter(ZFilter):
    """A `ZFilter` that learns at each `sync` what the other ranks have seen; its state is that after a `sync`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._begin()

    def _begin(self):
        """What all ranks know, and what this one has seen since."""
        self._alone = size() == 1
        self._known, self._new = copy.deepcopy(self.rs), RunningStat(self.rs.shape)

    def __call__(self, x: np.ndarray, update: bool = True) -> np.ndarray:
        """As `ZFilter`."""
        if update and not self._alone:
            self._new.push(x)
        return super().__call__(x, update)

    def sync(self) -> None:
        """Tell all ranks, which must all call this, what each has seen since the last time."""
        if self._alone:
            return
        self.rs = self._known
        new = self._new.state()
        for vector, in allgather_arrays([flatten_arrays(list(new.values()))]):
            seen = unflatten_vector(vector, [value.shape for value in new.values()])
            self.rs.set_state(joined(self.rs.state(), dict(zip(new, seen, strict=True))))
        self._begin()

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """As `ZFilter`."""
        super().set_state(state)
        self._begin()


def joined(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state of a `RunningStat` that has seen what two have seen, from theirs (Chan et al. 1979)."""
    n = one['n'] + other['n']
    if n == 0:
        return dict(one)
    deviation = other['M'] - one['M']
    return {'n': n, 'M': one['M'] + deviation * (other['n'] / n),
            'S': one['S'] + other['S'] + np.square(deviation) * (one['n'] * other['n'] / n)}
