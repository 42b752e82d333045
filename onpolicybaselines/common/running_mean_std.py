"""Running mean and variance in numpy (upstream: baselines/common/running_mean_std.py)."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from onpolicybaselines.common.moments import prior_mean
from onpolicybaselines.common.state import State, check_shapes


class RunningMeanStd(object):
    """Mean and population variance of all batches seen, merged in a way that large offsets do not harm.

    Args:
        epsilon: weight of the initial mean 0 (see `prior_mean`) and variance 1, as a number of samples.
        shape: of one sample.
    """

    def __init__(self, epsilon: float = 1e-4, shape: tuple[int, ...] = ()):
        self.mean = np.zeros(shape, 'float64')
        self.var = np.ones(shape, 'float64')
        self.count = self.epsilon = epsilon

    def update(self, x: np.ndarray) -> None:
        """Take in x [batch, *shape]; an empty batch changes nothing. Raises ValueError for another shape."""
        x = np.asarray(x, 'float64')
        if x.ndim == 0 or x.shape[1:] != self.mean.shape:
            raise ValueError(f'RunningMeanStd needs x of shape [batch, *{self.mean.shape}], got {x.shape}')
        if len(x) == 0:
            return
        batch_mean, batch_var = (x[0], 0.) if len(x) == 1 else (np.mean(x, axis=0), np.var(x, axis=0))
        batch_count = x.shape[0]
        self.update_from_moments(batch_mean, batch_var, batch_count)

    def update_from_moments(self, batch_mean: np.ndarray, batch_var: np.ndarray | float, batch_count: float) -> None:
        """Take in a batch of which only mean, population variance and size are known."""
        if self.count == self.epsilon:
            self.mean = prior_mean(self.mean, batch_mean, batch_var)
        self.mean, self.var, self.count = update_mean_var_count_from_moments(
            self.mean, self.var, self.count, batch_mean, batch_var, batch_count)

    def state(self) -> State:
        """mean and var, float64 of `shape`, and count."""
        return {'mean': np.array(self.mean), 'var': np.array(self.var), 'count': float(self.count)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        check_shapes('RunningMeanStd', state, self.state())
        self.mean, self.var, self.count = np.array(state['mean']), np.array(state['var']), float(state['count'])


def update_mean_var_count_from_moments(
        mean: np.ndarray, var: np.ndarray, count: float, batch_mean: np.ndarray, batch_var: np.ndarray | float,
        batch_count: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, population variance and size of two samples joined, from those of each.

    Source: T. Chan, G. Golub, R. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979).
    """
    delta = batch_mean - mean
    tot_count = count + batch_count

    new_mean = mean + delta * batch_count / tot_count
    m_a = var * count
    m_b = batch_var * batch_count
    M2 = m_a + m_b + np.square(delta) * count * batch_count / tot_count
    new_var = M2 / tot_count
    new_count = tot_count

    return new_mean, new_var, new_count
