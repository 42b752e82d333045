"""Minibatches from arrays in memory (upstream: baselines/common/dataset.py)."""
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from onpolicybaselines.common.checks import check_positive


class Dataset(object):
    """Named arrays with a common first axis, handed out in minibatches.

    Args:
        data_map: name -> array [n, ...]. Neither the mapping nor the arrays are changed.
        deterministic: keep the given order for ever, whatever `shuffle` says.
        shuffle: permute the rows now, before every `iterate_once`, and whenever `next_batch` has run through.
        np_random: generator of the permutations; None is numpy's global one.

    Raises:
        ValueError: no arrays, or arrays of different lengths.
    """

    def __init__(self, data_map: Mapping[str, np.ndarray], deterministic: bool = False, shuffle: bool = True,
                 np_random: np.random.Generator | None = None):
        lengths = {key: len(array) for key, array in data_map.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f'a Dataset needs arrays of one length, got {lengths}')
        self.data_map = dict(data_map)
        self.deterministic = deterministic
        self.enable_shuffle = shuffle
        self.np_random = np_random
        self.n = next(iter(lengths.values()))
        self._next_id = 0
        if self.enable_shuffle: self.shuffle()

    def shuffle(self) -> None:
        """Permute the rows of all arrays alike (unless deterministic) and start at the first row again."""
        self._next_id = 0
        if self.deterministic:
            return
        perm = np.arange(self.n)
        (self.np_random or np.random).shuffle(perm)

        for key in self.data_map:
            self.data_map[key] = self.data_map[key][perm]

    def next_batch(self, batch_size: int) -> dict[str, np.ndarray]:
        """Return the next `batch_size` rows, or those left before the end; after the end it starts over."""
        check_positive('batch_size', batch_size)
        if self._next_id >= self.n:
            self._next_id = 0
            if self.enable_shuffle: self.shuffle()

        cur_id = self._next_id
        cur_batch_size = min(batch_size, self.n - self._next_id)
        self._next_id += cur_batch_size

        data_map = dict()
        for key in self.data_map:
            data_map[key] = self.data_map[key][cur_id:cur_id+cur_batch_size]
        return data_map

    def iterate_once(self, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield the full batches of one pass; a final batch smaller than `batch_size` is left out."""
        self._next_id = 0
        if self.enable_shuffle: self.shuffle()

        while self._next_id <= self.n - batch_size:
            yield self.next_batch(batch_size)
        self._next_id = 0

    def subset(self, num_elements: int, deterministic: bool = True) -> 'Dataset':
        """Return a Dataset of the first `num_elements` rows in their present order."""
        data_map = dict()
        for key in self.data_map:
            data_map[key] = self.data_map[key][:num_elements]
        return Dataset(data_map, deterministic, np_random=self.np_random)


def iterbatches(arrays: Sequence[np.ndarray], *, num_batches: int | None = None,
                batch_size: int | None = None, shuffle: bool = True, include_final_partial_batch: bool = True,
                np_random: np.random.Generator | None = None) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield minibatches of several arrays that share their first axis.

    Args:
        arrays: each [n, ...].
        num_batches: number of batches, their sizes differing by at most one; or
        batch_size: rows of every batch but the last. Exactly one of the two.
        shuffle: visit the rows in a random order.
        include_final_partial_batch: with `batch_size`, also yield the smaller batch that may come last.
        np_random: generator of the order; None is numpy's global one.

    Raises:
        ValueError: both or neither of num_batches and batch_size, one that is not positive, unequal lengths.
    """
    if (num_batches is None) == (batch_size is None):
        raise ValueError('Provide num_batches or batch_size, but not both')
    if num_batches is not None: check_positive('num_batches', num_batches)
    if batch_size is not None: check_positive('batch_size', batch_size)
    arrays = tuple(map(np.asarray, arrays))
    n = arrays[0].shape[0]
    if any(a.shape[0] != n for a in arrays[1:]):
        raise ValueError(f'arrays need one length, got {[len(a) for a in arrays]}')
    inds = np.arange(n)
    if shuffle: (np_random or np.random).shuffle(inds)
    sections = np.arange(0, n, batch_size)[1:] if num_batches is None else num_batches
    for batch_inds in np.array_split(inds, sections):
        if include_final_partial_batch or len(batch_inds) == (batch_size or len(batch_inds)):
            yield tuple(a[batch_inds] for a in arrays)
