"""Mean and standard deviation of data spread over MPI ranks (upstream: baselines/common/mpi_moments.py)."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onpolicybaselines.common.mpi_world import allsum

if TYPE_CHECKING:
    from mpi4py import MPI


def mpi_mean(x: np.ndarray, axis: int = 0, comm: MPI.Intracomm | None = None,
             keepdims: bool = False) -> tuple[np.ndarray, int]:
    """Mean along one axis of the ranks' arrays joined along that axis.

    Args:
        x: this rank's array, at least 1-d; ranks may differ in the length of `axis` (which may be 0) only.
        axis: the axis to average over.
        comm: communicator; None is COMM_WORLD, or this process alone without MPI.
        keepdims: keep the averaged axis with length 1.

    Returns:
        (mean, count): float64, and the length of the joined axis.

    Raises:
        ValueError: x is 0-d, or no rank has any data.
    """
    x = np.asarray(x)
    if x.ndim == 0:
        raise ValueError('mpi_mean needs an array of at least one dimension, got a scalar')
    xsum = x.sum(axis=axis, keepdims=keepdims, dtype='float64')
    n = xsum.size
    localsum = np.zeros(n+1)
    localsum[:n] = xsum.ravel()
    localsum[n] = x.shape[axis]
    globalsum = allsum(localsum, comm)
    if globalsum[n] == 0:
        raise ValueError('mpi_mean of no data: the array is empty on every rank')
    return globalsum[:n].reshape(xsum.shape) / globalsum[n], int(globalsum[n])


def mpi_moments(x: np.ndarray, axis: int = 0, comm: MPI.Intracomm | None = None,
                keepdims: bool = False) -> tuple[np.ndarray, np.ndarray, int]:
    """As `mpi_mean`, returning (mean, population standard deviation, count).

    It takes two passes over the data, so a large offset costs no precision.
    """
    x = np.asarray(x)
    mean, count = mpi_mean(x, axis=axis, comm=comm, keepdims=True)
    sqdiffs = np.square(x - mean)
    meansqdiff, _ = mpi_mean(sqdiffs, axis=axis, comm=comm, keepdims=True)
    std = np.sqrt(meansqdiff)
    if not keepdims:
        mean, std = mean.squeeze(axis), std.squeeze(axis)
    return mean, std, count
