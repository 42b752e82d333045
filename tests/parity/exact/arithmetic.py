"""Sums whose order can be chosen, and flat vectors as named arrays."""
import contextlib
from collections.abc import Iterable, Iterator

import numpy as np

_sequential = False
_kept = None  # (precision, sign) of what `kept` is off by


@contextlib.contextmanager
def one_by_one() -> Iterator[None]:
    """Within, sums and dot products add from the first number to the last; otherwise as NumPy and BLAS do."""
    global _sequential
    _sequential = True
    try:
        yield
    finally:
        _sequential = False
_kept = None  # (precision, sign) of what `kept` is off by


@contextlib.contextmanager
def off_by_one(precision: str) -> Iterator[None]:
    """Within, all of what is `kept` is off by one unit in the last place of `precision`, up and down in turn."""
    global _kept
    _kept = precision, 1
    try:
        yield
    finally:
        _kept = None


def kept(x: np.ndarray) -> np.ndarray:
    """An intermediate result that every program keeps, so that it is rounded; its rounding need not be random, and that
    of elementary functions is up to one unit in the last place."""
    global _kept
    if _kept is None or np.iscomplexobj(x):
        return x
    precision, sign = _kept
    _kept = precision, -sign
    return x + sign * np.spacing(np.abs(x).astype(precision))


def total(x: np.ndarray) -> np.ndarray:
    """Sum over the first axis."""
    return np.add.accumulate(x, axis=0)[-1] if _sequential else x.sum(axis=0)


def mean(x: np.ndarray) -> np.ndarray:
    """Mean over the first axis."""
    return total(x) / len(x)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of two vectors."""
    return total(a * b) if _sequential else a @ b


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a' b of rows [n, j] and [n, k]; one by one: ten rows at a time if they are long."""
    if not _sequential:
        return a.T @ b
    if a.shape[1] * b.shape[1] < 100:
        return total(a[:, :, np.newaxis] * b[:, np.newaxis])
    return total(np.stack([a[i:i + 10].T @ b[i:i + 10] for i in range(0, len(a), 10)]))


def named(flat: np.ndarray, names: Iterable[str], shapes: np.ndarray) -> dict[str, np.ndarray]:
    """The pieces of a flat vector; shapes are padded by -1."""
    out, start = {}, 0
    for name, shape in zip(names, shapes, strict=True):
        shape = shape[shape >= 0]
        size = int(np.prod(shape))
        out[str(name)] = flat[start:start + size].reshape(shape)
        start += size
    assert start == len(flat)
    return out


def flat(pieces: dict[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
    """The inverse of `named`."""
    return np.concatenate([np.ravel(pieces[str(name)]) for name in names])


def real(x: np.ndarray) -> np.ndarray:
    """x without its complex step: no derivative goes through it."""
    return x.real if np.iscomplexobj(x) else x


def directional(gradient, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """d gradient(x + h v) / dh at h = 0, by a complex step, exact to rounding."""
    h = x.dtype.type(1e-15)
    complex_type = np.result_type(x.dtype, np.complex64)
    return (gradient(x.astype(complex_type) + complex_type.type(1j * h) * v).imag / h).astype(x.dtype)
