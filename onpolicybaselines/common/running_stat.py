"""Running mean and variance of single samples (upstream common/running_stat.py of its branch old_acktr_cont)."""
from collections.abc import Mapping

import numpy as np

from onpolicybaselines.common.state import State, check_shapes


class RunningStat(object):
    """Mean and sample variance of all arrays of `shape` seen, float64 (Welford 1962)."""

    def __init__(self, shape: tuple[int, ...]):
        self._n = 0
        self._M = np.zeros(shape)
        self._S = np.zeros(shape)

    def push(self, x: np.ndarray) -> None:
        """Take in one sample. Raises ValueError for another shape."""
        x = np.asarray(x)
        if x.shape != self._M.shape:
            raise ValueError(f'RunningStat needs a sample of shape {self._M.shape}, got {x.shape}')
        self._n += 1
        if self._n == 1:
            self._M[...] = x
        else:
            oldM = self._M.copy()
            self._M[...] = oldM + (x - oldM)/self._n
            self._S[...] = self._S + (x - oldM)*(x - self._M)

    @property
    def n(self) -> int:
        """Number of samples."""
        return self._n

    @property
    def mean(self) -> np.ndarray:
        """Mean, 0 before the first sample."""
        return self._M

    @property
    def var(self) -> np.ndarray:
        """Sample variance (divisor n - 1); of a single sample its square, upstream's guess."""
        return self._S/(self._n - 1) if self._n > 1 else np.square(self._M)

    @property
    def std(self) -> np.ndarray:
        """Root of the variance."""
        return np.sqrt(self.var)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._M.shape

    def state(self) -> State:
        """As model files have it: 'n', and 'M' (mean) and 'S' (sum of squared deviations) of `shape`."""
        return {'n': np.array(self._n), 'M': self._M.copy(), 'S': self._S.copy()}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        check_shapes('RunningStat', state, self.state())
        self._n, self._M, self._S = int(state['n']), np.array(state['M'], float), np.array(state['S'], float)
