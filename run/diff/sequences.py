"""Best pairs of two sequences: of statements, lines and names."""
from collections.abc import Sequence

import numpy as np


def best_pairs(gain: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), both rising, with the largest sum of gain[i, j] (dynamic programming)."""
    best = np.zeros(np.add(gain.shape, 1))  # of the first i and j
    for i, row in enumerate(gain):
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], best[i, :-1] + row))
    pairs = []
    i, j = gain.shape
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def equal_pairs(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of equal texts, in order; as many letters as possible."""
    if list(left) == list(right):
        return [(k, k) for k in range(len(left))]
    codes = {text: code for code, text in enumerate(dict.fromkeys([*left, *right]))}
    rows, columns = (np.array([codes[text] for text in texts], int) for texts in (left, right))
    weights = np.array([1 + len(text) for text in left], float)
    return best_pairs((rows[:, None] == columns) * weights[:, None])


def in_order(names: Sequence[str], reference: Sequence[str]) -> list[str]:
    """The most of `names` that come in the order of `reference`, where all of them are; the others are out of it."""
    place = {name: k for k, name in enumerate(reference)}
    best = []  # for each name the longest chain that ends with it
    for name in names:
        chain = max((c for c in best if place[c[-1]] < place[name]), key=len, default=[])
        best.append([*chain, name])
    return max(best, key=len, default=[])
