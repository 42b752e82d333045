"""Compiled functions of arrays; for XLA a concatenation that it compiles right, and a check of what it compiled."""
import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from onpolicybaselines import logger
from onpolicybaselines.common import caches
from onpolicybaselines.common.files import wait_for_first
from onpolicybaselines.common.variables import note_change

ROUNDING = 10  # an error of this many times what one unit in the last place of the arguments changes is rounding,
ULPS = 100     # and so is one of this many units in the last place of the value


def compiled(f: Callable, *inputs: tf.TensorSpec, xla: bool = False, probe: Callable | None = None) -> 'Compiled':
    """`f` compiled once for arguments like `inputs`; takes arrays of any dtype that fits, gives numpy arrays.

    xla: by XLA, which takes longer, once for each shape of arguments, and makes many small operations a few fast ones;
    probe: see `checked`.
    """
    run = _traced(f, inputs)
    if xla:
        by_xla = functools.partial(_traced, f, inputs, jit_compile=True)
        run = checked(by_xla(), f, instead=run, again=by_xla, probe=probe)

    return Compiled(f, run, inputs)


class Compiled:
    """A function of arrays, which are made tensors like `inputs`: `run`, or where functions run eagerly `f`."""

    def __init__(self, f: Callable, run: Callable, inputs: Sequence[tf.TensorSpec]):
        self.f, self.run, self.inputs = f, run, inputs

    def __call__(self, *args: Any) -> Any:
        """Its value, in arrays."""
        tensors = [_fitting(arg, spec) for (arg, spec) in zip(args, self.inputs, strict=True)]
        return to_numpy((self.f if tf.config.functions_run_eagerly() else self.run)(*tensors))

    def given(self, *last: Any) -> Callable:
        """The function of the first arguments where these are the last, which are made tensors once."""
        last = [_fitting(arg, spec) for (arg, spec) in zip(last, self.inputs[-len(last):], strict=True)]
        return lambda *first: self(*first, *last)


def _traced(f, inputs, **kwargs):
    compiled = tf.function(lambda *args: f(*args), input_signature=inputs, autograph=False, **kwargs)
    concrete = functools.cache(compiled.get_concrete_function)  # calling `compiled` costs twice as much
    writes = functools.cache(lambda: _writes(concrete().graph))

    def run(*args):
        with _in_order():
            if writes():
                note_change()
            return concrete()(*args)
    return run


def _in_order():
    """Around calls and tracing: operations one after the other, where TensorFlow has several threads for them. Which of
    them ends first would decide which sum of a loop's gradients is added up in place, and so its last bit."""
    if _several_threads():
        return tf.experimental.function_executor_type('SINGLE_THREADED_EXECUTOR')
    return contextlib.nullcontext()


@functools.cache  # TensorFlow keeps the number that it starts with, and asking takes 14 us
def _several_threads():
    return tf.config.threading.get_inter_op_parallelism_threads() != 1


def _writes(graph):
    """Whether variables may change when this graph runs: what branches and loops do is not looked into."""
    return any(op.type.startswith(('Assign', 'ResourceApply', 'ResourceScatter', 'If', 'While', 'Case', 'StatefulP',
                                   'PartitionedCall')) for op in graph.get_operations())


def _fitting(array, spec):
    """The array as a tensor like `spec`, which `ConcreteFunction` does not check; a tensor is one already."""
    if tf.is_tensor(array):
        return array
    tensor = tf.constant(array, spec.dtype)
    if not spec.shape.is_compatible_with(tensor.shape):
        raise ValueError(f'an array of shape {tensor.shape} does not fit {spec}')
    return tensor


def to_numpy(tensors: Any) -> Any:
    """A structure of tensors as the same structure of arrays."""
    return tf.nest.map_structure(lambda t: t.numpy() if tf.is_tensor(t) else t, tensors)


def concat(values: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """`tf.concat`, for what is differentiated twice; the sizes along `axis` are static.

    The gradient of `tf.concat` takes slices, and that of a slice updates zeros in place. For processors with AVX2 and
    without AVX-512, XLA of TensorFlow 2.21 compiles such an update inside another wrongly, where a row has six float64
    (tests/common/test_compiled.py has it in a few lines). Here the gradient splits, and that of a split concatenates.
    """
    sizes = [value.shape[axis] for value in values]

    @tf.custom_gradient
    def concatenated(*values):
        return tf.concat(values, axis), lambda dy: tf.split(dy, sizes, axis)

    return concatenated(*values)


def checked(compiled: Callable, f: Callable, instead: Callable,
            again: Callable[[], Callable] | None = None, probe: Callable | None = None) -> Callable:
    """`compiled`, what XLA made of `f`, or where that is seen to err, with one line in the log, `instead`.

    again: makes it anew, where its first call fails, as by a damaged cache. probe: makes of the arguments those of the
    check, of the same shapes, for a function that would take long one operation at a time.

    All three are the same function of tensors. The check is made once for each shape of the arguments, for which XLA
    compiles anew: `f` is evaluated by TensorFlow's own operations, one by one, at a point near the first arguments (at
    themselves a divergence may be 0, a ratio 1). It is passed if the Euclidean error of each output, numbers together,
    is at most ULPS units in the last place of its value, or else at most ROUNDING times what changing the arguments by
    such a unit does to it. Where values are not finite the next call is checked.
    """
    seen, run = set(), compiled

    def call(*args):
        nonlocal run, compiled
        shapes = tuple(tuple(arg.shape) for arg in args)
        if run is compiled and shapes not in seen:
            logger.log(f'Compiling {f.__name__} by XLA: takes up to a minute, once on this machine')
            with compiling(f.__name__):
                made = _surely(compiled, again or (lambda: compiled), args)
            if made is None:
                run = instead
                return run(*args)
            compiled = run = made
            error, rounding = _compare(compiled, f, _near(probe(*args) if probe else args))
            if error > rounding:
                logger.warn(f'XLA compiles {f.__name__} wrongly on this processor: off by {error:.0e} of its value, '
                            f'where rounding explains {rounding:.0e}. Going on without XLA')
                run = instead
            elif np.isfinite(error):
                seen.add(shapes)
        return run(*args)
    return call


@contextlib.contextmanager
def compiling(name: str) -> Iterator[None]:
    """Around a compilation of the function `name` by XLA: of several processes, such as the ranks of a run, the first
    compiles, and the others wait until its result is in the cache. Without a cache they go on at once.

    The lock is the operating system's, which frees it if its owner dies. Those that wait go on together; where they
    have other shapes than the first they compile, too.
    """
    folder = caches.folder_in_use()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no folder, or one on a file system without locks
            if folder:
                wait_for_first(stack.enter_context(open(os.path.join(folder, f'{name}{caches.LOCK}'), 'a+')))
                caches.check(folder)
        yield
        with contextlib.suppress(OSError):
            if folder:
                caches.note(folder)


def _surely(compiled, again, args):
    """`compiled`, which has been called once; made anew, without what is in the cache, where that fails; or None, where
    it fails again, as on a full disk."""
    try:
        compiled(*args)
        return compiled
    except tf.errors.OpError as e:
        logger.log(f'XLA fails ({" ".join(str(e).split())[:200]}): compiling anew')
    try:
        with contextlib.suppress(OSError):
            if folder := caches.folder_in_use():
                caches.clear(folder)
        compiled = again()
        compiled(*args)
        return compiled
    except tf.errors.OpError:
        logger.warn('XLA fails again: going on without it')
        return None


def _compare(compiled, f, args):
    """The relative error of the output of `compiled` that is worst, and what of it is explained by rounding."""
    outputs = _outputs(compiled(*args)), _outputs(f(*args))
    errors = _distances(*outputs)
    ulp = max(np.finfo(x.dtype.as_numpy_dtype).eps for x in args if x.dtype.is_floating)
    rounding = np.full(len(errors), ULPS * ulp)
    if (errors > rounding).any():
        moved = _moved(args, lambda x, np_random: ulp * x * np_random.choice([-1, 1], x.shape))
        rounding = np.maximum(rounding, ROUNDING * _distances(_outputs(f(*moved)), outputs[1]))
    worst = np.argmax(errors / rounding)
    return errors[worst], rounding[worst]


def _outputs(tensors):
    """The arrays of a structure of tensors, single numbers together as the first."""
    arrays = [np.asarray(tensor, 'float64') for tensor in tf.nest.flatten(tensors)]
    return [np.array([array for array in arrays if array.ndim == 0]), *(array for array in arrays if array.ndim)]


def _distances(outputs, expected):
    norms = [(np.linalg.norm(a - b), np.linalg.norm(b)) for a, b in zip(outputs, expected, strict=True)]
    return np.array([distance and distance / norm for distance, norm in norms])


def _near(args):
    """A tenth of their size away, and upwards: what is positive stays so."""
    return _moved(args, lambda x, np_random: 0.1 * np.sqrt(np.mean(np.square(x))) * np_random.random(x.shape))


def _moved(args, step):
    """The arguments, those of floating-point numbers moved by `step(argument, generator)`, the same each time."""
    np_random = np.random.default_rng(0)
    return [x + tf.constant(step(x.numpy(), np_random), x.dtype) if x.dtype.is_floating and tf.size(x) else x
            for x in args]
