"""Advantages, discounted sums, explained variance, observation filters, Adam, conjugate gradients."""
from collections.abc import Callable, Iterable

import numpy as np

from exact.arithmetic import dot, mean, total


def gae(rew, new, vpred, nextvpred, *, gamma: float, lam: float) -> dict:
    """Generalised advantage estimation; new: 1 at the FIRST step of an episode; nextvpred is 0 if one ended."""
    adv, last = np.empty_like(rew), 0 * rew[0]
    for t in reversed(range(len(rew))):
        goes_on = 1 - (new[t + 1] if t + 1 < len(rew) else 0)
        following = vpred[t + 1] if t + 1 < len(rew) else np.reshape(nextvpred, ())
        delta = rew[t] + gamma * following * goes_on - vpred[t]
        adv[t] = last = delta + gamma * lam * goes_on * last
    return {'adv': adv, 'tdlamret': adv + vpred, 'standardised': (adv - mean(adv)) / deviation(adv)}


def deviation(x: np.ndarray) -> np.ndarray:
    """Standard deviation of the population."""
    return np.sqrt(mean((x - mean(x)) ** 2))


def discount(x: np.ndarray, gamma: float) -> np.ndarray:
    y = np.array(x)
    for t in reversed(range(len(x) - 1)):
        y[t] = x[t] + gamma * y[t + 1]
    return y


def explained_variance(ypred: np.ndarray, y: np.ndarray) -> np.ndarray:
    left, whole = ((z - mean(z)) ** 2 for z in (y - ypred, y))
    return np.asarray(1 - mean(left) / mean(whole) if total(whole) else np.nan)


# ---------------------------------------------------------------- filters

def sums(batch: np.ndarray, before: tuple) -> tuple:
    """(sum, sum of squares, count) with another batch."""
    return tuple(old + new for old, new in zip(before, (total(batch), total(batch * batch), len(batch)), strict=True))


def mean_and_std(total_: np.ndarray, sumsq: np.ndarray, count: np.ndarray) -> tuple:
    """By TRPO's filter: the variance is at least 0.01."""
    centre = total_ / count
    return centre, np.sqrt(np.maximum(sumsq / count - centre * centre, sumsq.dtype.type(1e-2)))


def moments(batches: Iterable[np.ndarray], count: float) -> tuple:
    """(mean, variance, count) of the batches and of `count` earlier samples of mean 0 and variance 1."""
    rows = np.concatenate(list(batches))
    n = len(rows) + count
    centre = total(rows) / n
    return centre, (count * (1 + centre * centre) + total((rows - centre) ** 2)) / n, n


def zfilter(seen: np.ndarray) -> np.ndarray:
    """Each row by mean and standard deviation (n - 1) of all rows up to it; of one row the variance is its square."""
    n = np.arange(1, len(seen) + 1)[:, np.newaxis].astype(seen.dtype)
    shift = seen - seen[0]  # sums of squares of what varies, not of large means
    centre = np.cumsum(shift, axis=0) / n
    spread = np.maximum(np.cumsum(shift * shift, axis=0) - n * centre * centre, 0)
    var = np.where(n == 1, seen * seen, spread / np.maximum(n - 1, 1))
    return {'ob': np.clip((shift - centre) / (np.sqrt(var) + 1e-8), -10, 10), 'mean': seen[0] + centre,
            'std': np.sqrt(var)}


# ---------------------------------------------------------------- optimisation

def adam(theta, m, v, t: int, grad, stepsize: float, beta1=0.9, beta2=0.999, epsilon=1e-8) -> tuple:
    """(theta, m, v) after update number t, from 1; epsilon is added to the root of the uncorrected v."""
    m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad * grad
    corrected = stepsize * float(np.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t)
    return theta - corrected * m / (np.sqrt(v) + epsilon), m, v


def conjugate_gradients(product: Callable, b: np.ndarray, iterations: int, tolerance: float = 1e-10) -> dict:
    """product(p, number of the iteration) -> A p; stops once r.r is below the tolerance."""
    x, r, p, rr = np.zeros_like(b), b, b, dot(b, b)
    iterates, directions = [x], []
    for i in range(iterations):
        directions.append(p)
        z = product(p, i)
        alpha = rr / dot(p, z)
        x, r = x + alpha * p, r - alpha * z
        iterates.append(x)
        rr, before = dot(r, r), rr
        if rr < tolerance:
            break
        p = r + rr / before * p
    return {'x': x, 'iterates': np.array(iterates), 'directions': np.array(directions)}
