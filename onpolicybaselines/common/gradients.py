"""What optimizers do to a flat gradient before they use it."""
import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.variables import name_of


def check_finite_parts(message: str, parts: Iterable[tuple[tf.Variable, np.ndarray]]) -> None:
    """Raise FloatingPointError for the first of the (variable, array) pairs that is not finite.

    message: with {!r} for the variable's name.
    """
    for variable, array in parts:
        if not np.isfinite(array).all():
            raise FloatingPointError(f'{message.format(name_of(variable))} not finite; parameters unchanged')


def clip_by_global_norm(grads: np.ndarray, clip_norm: float | None) -> np.ndarray:
    """The gradient scaled down to that norm if it is longer; None is no bound.

    >>> clip_by_global_norm(np.array([3., 4.]), 1.)
    array([0.6, 0.8])
    """
    if clip_norm is None:
        return grads
    norm = math.sqrt(np.sum(np.square(grads, dtype='float64')))
    return grads * (clip_norm / max(norm, clip_norm))
