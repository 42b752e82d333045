"""Paths, the episodes that `acktr_cont.rollout` returns."""
from collections.abc import Sequence

import numpy as np


def split_paths(rows: np.ndarray, paths: Sequence[dict]) -> list[np.ndarray]:
    """Rows of all paths, one after the other, as one array per path.

    >>> split_paths(np.arange(3), [{'reward': np.zeros(2)}, {'reward': np.zeros(1)}])
    [array([0, 1]), array([2])]
    """
    return np.split(rows, np.cumsum([len(path["reward"]) for path in paths])[:-1])
