"""Linear algebra of K-FAC (upstream acktr/kfac_utils.py)."""
import tensorflow as tf


def clipoutNeg(vec: tf.Tensor, threshold: float = 1e-6) -> tf.Tensor:
    """`vec` with 0 wherever it is not above the threshold."""
    mask = vec > threshold
    return tf.where(mask, vec, tf.zeros_like(vec))
