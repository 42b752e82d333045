"""Linear algebra of K-FAC (upstream acktr/kfac_utils.py). k: matrices side by side, n: their size."""
import numpy as np
import tensorflow as tf

Eigen = tuple[np.ndarray, np.ndarray]  # eigenvalues [k, n] in ascending order, eigenvectors [k, n, n] as columns


def second_moment(rows: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Sum of the outer products of `rows` [k, R, n] over `batch` samples, [k, n, n]."""
    return tf.matmul(rows, rows, transpose_a=True) / tf.cast(batch, rows.dtype)


def clipout_neg(vec: np.ndarray, threshold: float = 1e-6) -> np.ndarray:
    """`vec` with 0 wherever it is not above the threshold."""
    return np.where(vec > threshold, vec, 0)


def eigh(matrix: np.ndarray) -> Eigen:
    """Eigen-decomposition of symmetric matrices [k, n, n], computed in float64."""
    values, vectors = np.linalg.eigh(matrix.astype('float64'))
    return values.astype(matrix.dtype), vectors.astype(matrix.dtype)


def solve_damped(v: np.ndarray, left: Eigen | None, right: Eigen, damping: float,
                 factored: bool = False) -> np.ndarray:
    """(L kron R + damping I)^-1 applied to v [k, rows, columns], L acting on rows and R on columns.

    left: None stands for 1, rows being 1 then. Eigenvalues up to 1e-6 count as 0. factored: damp each factor by its
    part of the root of `damping`, (L + pi sqrt(damping) I) kron (R + sqrt(damping) / pi I), with pi^2 the ratio of
    their mean eigenvalues (Martens & Grosse 2015, section 6.3); no effect on a single factor.
    """
    columns, q_right = clipout_neg(right[0])[:, np.newaxis, :], right[1]
    if left is None:
        return v @ q_right / (columns + damping) @ _transposed(q_right)
    rows, q_left = clipout_neg(left[0])[:, :, np.newaxis], left[1]
    if factored:
        pi = _balance(rows, columns)
        coefficients = (rows + pi * damping**0.5) * (columns + damping**0.5 / pi)
    else:
        coefficients = rows * columns + damping
    return q_left @ (_transposed(q_left) @ v @ q_right / coefficients) @ _transposed(q_right)


def _balance(rows, columns):
    """Root of the ratio of mean eigenvalues; 1 where one of the two is 0."""
    left, right = (e.mean(axis=(1, 2), keepdims=True) for e in (rows, columns))
    usable = (left > 0) & (right > 0)
    return np.sqrt(np.where(usable, left, 1) / np.where(usable, right, 1))


def _transposed(matrix):
    return np.swapaxes(matrix, -1, -2)
