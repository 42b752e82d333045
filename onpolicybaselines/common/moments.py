"""What both `RunningMeanStd`s have in common: where their prior lies, and how files of earlier revisions kept them."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from onpolicybaselines.common.state import State

FAR = 100  # standard deviations, of at least FLOOR
FLOOR = 1e-2  # of a variance


def prior_mean(mean: np.ndarray, batch_mean: np.ndarray, batch_var: np.ndarray | float) -> np.ndarray:
    """Where the samples that a filter begins with lie: at `mean`, or with the first batch, element by element, where
    that is `FAR` off.

    A hundredth of a sample 10,000 standard deviations away would have a thousand samples look 32 times as wide.

    >>> prior_mean(np.zeros(2), np.array([3., 1e4]), np.ones(2))
    array([    0., 10000.])
    """
    far = np.square(batch_mean - mean) > FAR**2 * np.maximum(batch_var, FLOOR)
    return np.where(far, batch_mean, mean)


def moments_of_sums(state: Mapping[str, Any], prefix: str = '') -> State:
    """A state with `prefix` + 'sum', 'sumsq' and 'count', as files of earlier revisions have it, with 'mean', 'var' and
    'count' in their place; any other as it is."""
    names = [prefix + name for name in ('sum', 'sumsq', 'count')]
    if not state.keys() >= set(names) or np.shape(state[names[0]]) != np.shape(state[names[1]]):
        return dict(state)
    mean, meansq = (state[name] / np.maximum(state[names[2]], np.finfo('float64').tiny) for name in names[:2])
    var = np.where(meansq < 0, meansq, np.maximum(meansq - np.square(mean), 0))  # damage is not to look like rounding
    others = {name: value for name, value in state.items() if name not in names[:2]}
    return {**others, prefix + 'mean': mean, prefix + 'var': var}
