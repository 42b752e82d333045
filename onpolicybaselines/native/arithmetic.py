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
def every_eighth(x: np.ndarray, start: int, end: int, low: float, high: float) -> float:
    """The sum of the squares of the clipped x[start:end:8], one after the other."""
    total = x.dtype.type(0)
    for i in range(start, end, 8):
        y = clip(x[i], low, high)
        total += y * y
    return total


@njit
def sum_of_squares(x: np.ndarray, low: float, high: float) -> float:
    """np.sum(np.square(np.clip(x, low, high))): NumPy adds eight sums, those of the rest, of two halves beyond 128."""
    n = len(x)
    if n > 128:
        half = n // 2 - n // 2 % 8
        return sum_of_squares(x[:half], low, high) + sum_of_squares(x[half:], low, high)
    end = n - n % 8
    a, b, c, d = (every_eighth(x, 0, end, low, high), every_eighth(x, 1, end, low, high),
                  every_eighth(x, 2, end, low, high), every_eighth(x, 3, end, low, high))
    e, f, g, h = (every_eighth(x, 4, end, low, high), every_eighth(x, 5, end, low, high),
                  every_eighth(x, 6, end, low, high), every_eighth(x, 7, end, low, high))
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(end, n):
        y = clip(x[i], low, high)
        total += y * y
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
