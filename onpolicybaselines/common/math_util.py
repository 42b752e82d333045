"""Small numerical helpers (upstream: baselines/common/math_util.py)."""
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from onpolicybaselines.common.checks import check_same_shape


def discount(x: np.ndarray, gamma: float) -> np.ndarray:
    """Discounted sums along axis 0: y[t] = x[t] + gamma x[t+1] + ... + gamma^k x[t+k], where k = T - t - 1.

    Args:
        x: [T, ...], at least one axis.
        gamma: discount factor.

    Returns:
        float64, the shape of x.
    """
    x = np.asarray(x, 'float64')
    return discount_with_boundaries(x, np.zeros(len(x), bool), gamma)


def explained_variance(ypred: np.ndarray, y: np.ndarray) -> float:
    """Fraction of the variance of y that ypred explains: 1 - Var[y - ypred] / Var[y].

    1 is a perfect prediction, 0 is as good as a constant, below 0 is worse than that; NaN if y is constant.
    Both are vectors [n]; raises ValueError otherwise.
    """
    check_same_shape(1, ypred=ypred, y=y)
    vary = np.var(y)
    return np.nan if vary==0 else 1 - np.var(y-ypred)/vary


def explained_variance_2d(ypred: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`explained_variance` of each column of [n, k] arrays, as [k]; 0 where Var[y] < 1e-10."""
    check_same_shape(2, ypred=ypred, y=y)
    vary = np.var(y, axis=0)
    out = 1 - np.var(y-ypred, axis=0)/np.maximum(vary, 1e-10)
    out[vary < 1e-10] = 0
    return out

def ncc(ypred: np.ndarray, y: np.ndarray) -> float:
    """Normalised cross-correlation (Pearson's r) of two vectors."""
    return np.corrcoef(ypred, y)[1,0]


def flatten_arrays(arrs: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate arrays, each in row-major order, into one vector."""
    return np.concatenate([arr.flat for arr in arrs])


def unflatten_vector(vec: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Cut a vector into arrays of the given shapes, the inverse of `flatten_arrays`.

    Raises ValueError if the shapes do not use up the vector exactly.
    """
    total = sum(math.prod(shape) for shape in shapes)
    if vec.shape != (total,):
        raise ValueError(f'shapes hold {total} numbers in all, the vector has shape {vec.shape}')
    i=0
    arrs = []
    for shape in shapes:
        size = math.prod(shape)
        arr = vec[i:i+size].reshape(shape)
        arrs.append(arr)
        i += size
    return arrs


def discount_with_boundaries(X: ArrayLike, New: ArrayLike, gamma: float) -> np.ndarray:
    """Discounted sums along axis 0 that do not reach across the start of an episode.

    Args:
        X: floats [T, ...].
        New: bools [T] or the shape of X, True where a step is the FIRST one of an episode.
        gamma: discount factor.

    Returns:
        the shape of X, and its dtype if that is a float.
    """
    X = np.asarray(X)
    Y = np.empty(X.shape, np.result_type(X, np.float32))
    if len(X) < 2:
        Y[...] = X
        return Y
    New = np.reshape(New, np.shape(New) + (1,) * (X.ndim - np.ndim(New)))
    decay = np.broadcast_to(gamma * np.logical_not(New), X.shape)
    for y, x, k in zip(*(array.reshape(len(X), -1).T for array in (Y, X, decay)), strict=True):
        x, k = x.tolist(), k.tolist()  # Python's numbers are faster than numpy's, one at a time
        sums = x[-1:]
        for t in range(len(x)-2, -1, -1):
            sums.append(x[t] + k[t+1] * sums[-1])
        y[:] = sums[::-1]
    return Y

def safemean(xs: Sequence[float]) -> float | np.floating:
    """Mean; NaN of nothing. Upstream: ppo2/ppo2.py."""
    return np.mean(xs) if len(xs) else np.nan
