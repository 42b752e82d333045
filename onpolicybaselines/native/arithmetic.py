"""NumPy's arithmetic for numba, its order of additions and its types included: results are the same to the last bit.

Sums of what an action costs are in the action's own type, float32 as a rule.
"""
import numpy as np
from numba import njit

from onpolicybaselines.native.physics import dot


@njit
def clip(x: float, low: float, high: float) -> float:
    """np.clip of a number; NaN stays NaN."""
    return low if x < low else high if x > high else x


@njit
def put(ob: np.ndarray, n: int, x: np.ndarray, low: float = -np.inf, high: float = np.inf) -> int:
    """Write x, clipped, into ob from n on as far as there is room; returns where it would end."""
    for i in range(min(len(x), len(ob) - n)):
        ob[n + i] = clip(x[i], low, high)
    return n + len(x)


@njit
def clipped_square(x: float, low: float, high: float) -> float:
    """np.square(np.clip(x, low, high)) of a number."""
    y = clip(x, low, high)
    return y * y


@njit
def sum_of_squares(x: np.ndarray, low: float, high: float) -> float:
    """np.sum(np.square(np.clip(x, low, high))): NumPy adds eight sums, those of the rest, of two halves beyond 128."""
    n = len(x)
    if n > 128:
        half = n // 2 - n // 2 % 8
        return sum_of_squares(x[:half], low, high) + sum_of_squares(x[half:], low, high)
    a = b = c = d = e = f = g = h = x.dtype.type(0)
    for i in range(0, n - 7, 8):
        a += clipped_square(x[i], low, high)
        b += clipped_square(x[i + 1], low, high)
        c += clipped_square(x[i + 2], low, high)
        d += clipped_square(x[i + 3], low, high)
        e += clipped_square(x[i + 4], low, high)
        f += clipped_square(x[i + 5], low, high)
        g += clipped_square(x[i + 6], low, high)
        h += clipped_square(x[i + 7], low, high)
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(n - n % 8, n):
        total += clipped_square(x[i], low, high)
    return total


@njit
def control_cost(weight: float, action: np.ndarray) -> float:
    """weight * np.sum(np.square(action)): Python's numbers take on the type of NumPy's."""
    kind = action.dtype.type
    return kind(weight) * sum_of_squares(action, kind(-np.inf), kind(np.inf))


@njit
def distance(x: np.ndarray, y: np.ndarray, ddot: int) -> float:
    """np.linalg.norm(x - y)."""
    return np.sqrt(dot(ddot, x - y))


@njit
def within(x: float, limits: np.ndarray) -> bool:
    """limits[0] < x < limits[1]."""
    return limits[0] < x < limits[1]


@njit
def all_within(x: np.ndarray, limits: np.ndarray) -> bool:
    """np.logical_and(limits[0] < x, x < limits[1]).all()."""
    for i in range(len(x)):
        if not limits[0] < x[i] < limits[1]:
            return False
    return True


@njit
def finite(x: np.ndarray) -> bool:
    """np.isfinite(x).all()."""
    for i in range(len(x)):
        if not np.isfinite(x[i]):
            return False
    return True
