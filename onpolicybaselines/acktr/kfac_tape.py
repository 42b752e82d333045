"""How K-FAC sees its losses: on a tape, with the layers on record, compiled, as means over MPI ranks."""
import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.compiled import to_numpy
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.layers import Layer, recording_layers
from onpolicybaselines.common.mpi_world import allsum, size

_tape: contextvars.ContextVar = contextvars.ContextVar('the tape of the losses, and their layers')


@contextlib.contextmanager
def taped(losses: Callable, *args: tf.Tensor) -> Iterator[tuple]:
    """Evaluate losses(*args); within, `gradients` and `layers` are of that evaluation."""
    with tf.GradientTape(persistent=True) as tape, recording_layers() as found:
        values = losses(*args)
    token = _tape.set((tape, found))
    try:
        yield tuple(values)
    finally:
        _tape.reset(token)


def gradients(loss: tf.Tensor, sources: Sequence) -> list[tf.Tensor | None]:
    """Of a loss on the tape by variables or tensors."""
    return _tape.get()[0].gradient(loss, sources)


def layers() -> list[Layer]:
    """Those that the losses on the tape applied, in order."""
    return _tape.get()[1]


def compiled(evaluate: Callable, inputs: Sequence[tf.TensorSpec]) -> Callable:
    """`evaluate`, which gives nested tensors, as a function of arrays like `inputs` that gives their means over ranks.

    They are weighted by batch size, the length of the first input. Raises UsageError for a batch of one sample.
    """
    run = tf.function(evaluate, input_signature=inputs, autograph=False)
    run.get_concrete_function()

    def call(*args):
        args = [tf.constant(arg, spec.dtype) for (arg, spec) in zip(args, inputs, strict=True)]
        return _mean_over_ranks(len(args[0]), run(*args))
    return call


def _mean_over_ranks(batch: int, values: Any) -> Any:
    total = float(allsum(batch))
    if total < 2:
        raise UsageError('K-FAC needs a batch of at least two samples')
    if size() == 1:
        return values
    arrays = to_numpy(tf.nest.flatten(values))
    flat = allsum(np.concatenate([np.ravel(array) for array in arrays]) * (float(batch) / total))
    pieces = np.split(flat, np.cumsum([np.size(array) for array in arrays])[:-1])
    means = [tf.constant(piece.reshape(np.shape(array)), array.dtype)
             for piece, array in zip(pieces, arrays, strict=True)]
    return tf.nest.pack_sequence_as(values, means)
