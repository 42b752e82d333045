"""Machine code by numba: functions at addresses, which are compiled once and called from anywhere.

A function that is compiled twice, or into another one, may round differently; the same code does not.
"""
import contextlib
import hashlib
import pathlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray
from numba.core import cgutils, event
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.types import float64, int64, voidptr
from numba.extending import intrinsic, register_jitable

from onpolicybaselines import logger
from onpolicybaselines.common.files import wait_for_first


@intrinsic
def _pointer(typingctx, address):
    return voidptr(int64), lambda context, builder, signature, args: builder.inttoptr(
        args[0], context.get_value_type(voidptr))


@register_jitable
def array_at(address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The array of this shape at an address."""
    return carray(_pointer(address), shape, dtype)


@intrinsic
def call(typingctx: Any, function: int, argument: int) -> int:
    """The answer of the C function int64(int64) at an address."""
    def generate(context, builder, signature, args):
        i64 = ir.IntType(64)
        address, argument = args
        return builder.call(builder.inttoptr(address, ir.FunctionType(i64, [i64]).as_pointer()), [argument])
    return int64(int64, int64), generate


@intrinsic
def call_ddot(typingctx: Any, function: int, size: int, x: int) -> float:
    """cblas_ddot(size, x, 1, x, 1) by its address, x an address, too."""
    def generate(context, builder, signature, args):
        i64, pointer = ir.IntType(64), cgutils.voidptr_t
        kind = ir.FunctionType(ir.DoubleType(), [i64, pointer, i64, pointer, i64])
        x = builder.inttoptr(args[2], pointer)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], x, i64(1), x, i64(1)])
    return float64(int64, int64, int64), generate


def c_function(python: Callable[[int], int], **options: Any) -> CFunc:
    """`python` as the C function int64(int64) at its `address`; see `function`."""
    return _cached(numba.cfunc, 'int64(int64)', python, options)


def function(python: Callable, signature: str, **options: Any) -> Callable:
    """`python` as machine code, compiled once on a machine if numba finds a folder for its cache.

    options: of numba.njit.
    """
    return _cached(numba.njit, signature, python, options)


def renamed(python: Callable, label: str, names: Mapping[str, Any]) -> Callable:
    """A copy of a function under a name with a label, which finds `names` in place of what its module has.

    All that numba's cache knows of what a function uses is its name; so the label is to change with that.
    """
    copy = types.FunctionType(python.__code__, {**python.__globals__, **names})
    copy.__qualname__ = f'{python.__name__}_{label}'
    return copy


def digest(*contents: bytes) -> str:
    """A label for functions that are made of these, and of this file."""
    return hashlib.sha256(b''.join([*contents, pathlib.Path(__file__).read_bytes()])).hexdigest()[:16]


def _cached(compile, signature, python, options):
    options = {'error_model': 'numpy', **options}
    with _compiling(python.__name__):
        return cached(python, lambda **cache: compile(signature, **cache, **options)(python))


def cached(python: Callable, compile: Callable) -> Any:
    """compile(cache=True), what numba makes of `python`; where its cache is damaged, compiled anew, and where there is
    no folder or the disk is full without a cache, with a line in the log."""
    try:
        return compile(cache=True)
    except Exception as e:  # of the cache; of the compiler, it comes again
        fault = ' '.join(f'{type(e).__name__}: {e}'.split())
    try:
        FunctionCache(python).flush()
        compiled = compile(cache=True)
    except Exception:
        compiled = compile()
    if not _said:
        _said.append(fault)
        logger.log(f"numba's cache cannot be used ({fault}): compiling anew; NUMBA_CACHE_DIR moves it")
    return compiled


_said: list[str] = []


@contextlib.contextmanager
def _compiling(name: str) -> Iterator[None]:
    """Around what numba compiles or has in its cache: a line in the log before it compiles. Of processes of a
    machine that start together the first compiles, and the others find its result.
    """
    with open(__file__, encoding='utf-8') as file, event.install_listener('numba:compile', _Announcement(name)):
        with contextlib.suppress(OSError):  # a file system without locks
            wait_for_first(file)
        yield


class _Announcement(event.Listener):
    """The line before the first of the functions, each with its event, that `name` is made of."""

    def __init__(self, name):
        self.name, self.made = name, False

    def on_start(self, event):
        if not self.made:
            self.made = True
            logger.log(f'Compiling {self.name}: takes seconds, once on this machine')

    def on_end(self, event):
        pass
