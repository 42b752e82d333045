"""Linear algebra of stacks of Kronecker factors. k: matrices side by side, n: their size."""
import numpy as np
import tensorflow as tf

from onpolicybaselines.acktr.kfac_utils import clipoutNeg

LARGE = 256  # rows from which on LAPACK is faster than TensorFlow, on busy machines, too (4 times at 700)

Eigen = tuple[tf.Tensor, tf.Tensor]  # eigenvalues [k, n] in ascending order, eigenvectors [k, n, n] as columns


def second_moment(rows: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
    """Sum of the outer products of `rows` [k, R, n] over the number of samples, [k, n, n]."""
    return tf.matmul(rows, rows, transpose_a=True) / tf.cast(batch, rows.dtype)


def eigh(matrix: tf.Tensor) -> Eigen:
    """Eigen-decomposition of symmetric matrices [k, n, n], computed in float64.

    TensorFlow's, since the threads of numpy's wait for each other on busy machines: 100 times slower for n = 65. For
    LARGE ones numpy's: TensorFlow's algorithm goes through memory for each row. (Humanoid-v5, two observations: 697.)
    """
    matrix64 = tf.cast(matrix, tf.float64)
    if matrix.shape[-1] < LARGE:
        values, vectors = tf.linalg.eigh(matrix64)
    else:
        values, vectors = tf.numpy_function(np.linalg.eigh, [matrix64], [tf.float64, tf.float64])
        values, vectors = tf.ensure_shape(values, matrix.shape[:-1]), tf.ensure_shape(vectors, matrix.shape)
    return tf.cast(values, matrix.dtype), tf.cast(vectors, matrix.dtype)


def solve_damped(v: tf.Tensor, left: Eigen | None, right: Eigen, damping: float, factored: bool = False) -> tf.Tensor:
    """(L kron R + damping I)^-1 applied to v [k, rows, columns], L acting on rows and R on columns.

    left: None stands for 1, rows being 1 then. Eigenvalues up to 1e-6 count as 0. factored: damp each factor by its
    part of the root of `damping`, (L + pi sqrt(damping) I) kron (R + sqrt(damping) / pi I), with pi^2 the ratio of
    their mean eigenvalues (Martens & Grosse 2015, section 6.3); no effect on a single factor.
    """
    columns, q_right = clipoutNeg(right[0])[:, tf.newaxis, :], right[1]
    v = tf.matmul(v, q_right)
    if left is None:
        return tf.matmul(v / (columns + damping), q_right, transpose_b=True)
    rows, q_left = clipoutNeg(left[0])[:, :, tf.newaxis], left[1]
    if factored:
        pi = _balance(rows, columns)
        coefficients = (rows + pi * damping**0.5) * (columns + damping**0.5 / pi)
    else:
        coefficients = rows * columns + damping
    v = tf.matmul(q_left, v, transpose_a=True) / coefficients
    return tf.matmul(q_left, tf.matmul(v, q_right, transpose_b=True))


def _balance(rows, columns):
    """Root of the ratio of mean eigenvalues; 1 where one of the two is 0."""
    left, right = (tf.reduce_mean(e, axis=[1, 2], keepdims=True) for e in (rows, columns))
    return tf.sqrt(tf.where((left > 0) & (right > 0), tf.math.divide_no_nan(left, right), 1.))
