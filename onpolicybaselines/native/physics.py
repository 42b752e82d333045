"""MuJoCo for numba: functions of the libmujoco that Python's `mujoco` has loaded, on simulators that it has made;
and the dot product of NumPy's BLAS.

Python's bindings turn an error of MuJoCo into an exception by leaving the C function with `longjmp`; called without
them it would end the process. `guarded` does the same for machine code.
"""
import ctypes
import functools
import glob
import os
from typing import Any, NamedTuple

import mujoco
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from onpolicybaselines.common.machine_code import array_at, call_ddot


@functools.cache
def _library():
    """libmujoco; Python has loaded it already. RuntimeError if it is not found."""
    files = glob.glob(os.path.join(os.path.dirname(mujoco.__file__), 'libmujoco*'))
    if len(files) != 1:
        raise RuntimeError(f'no single libmujoco in {os.path.dirname(mujoco.__file__)}')
    return ctypes.CDLL(files[0])


def address_of(function: str) -> int:
    """Where libmujoco has `function`. RuntimeError if it has none."""
    try:
        return ctypes.cast(getattr(_library(), function), ctypes.c_void_p).value
    except AttributeError:
        raise RuntimeError(f'MuJoCo {mujoco.__version__} has no {function}') from None


@functools.cache
def error_handler() -> np.ndarray:
    """What `guarded` needs, int64 [2]: addresses of MuJoCo's error handler and of room for the text of an error."""
    try:
        handler = ctypes.addressof(ctypes.c_void_p.in_dll(_library(), 'mju_user_error'))
    except ValueError:
        raise RuntimeError(f'MuJoCo {mujoco.__version__} has no mju_user_error') from None
    return np.array([handler, ctypes.addressof(_text)])


_text = ctypes.create_string_buffer(1024)


def error() -> mujoco.FatalError:
    """The last error of a `guarded` call, as the exception that Python's bindings raise."""
    return mujoco.FatalError(_text.value.decode(errors='replace'))


def place(array: np.ndarray) -> np.ndarray:
    """What `view` takes. ValueError for another layout than C's float64."""
    if array.dtype != np.float64 or not array.flags.c_contiguous:
        raise ValueError('not a contiguous array of float64')
    return np.array([array.ctypes.data, array.size])


class Simulator(NamedTuple):
    """Arrays of an mjData, and body_mass of its mjModel."""

    qpos: np.ndarray
    qvel: np.ndarray
    ctrl: np.ndarray
    qfrc_actuator: np.ndarray
    qfrc_constraint: np.ndarray
    cinert: np.ndarray
    cvel: np.ndarray
    cfrc_ext: np.ndarray
    xpos: np.ndarray
    xipos: np.ndarray
    site_xpos: np.ndarray
    xmat: np.ndarray
    subtree_com: np.ndarray
    subtree_linvel: np.ndarray
    body_mass: np.ndarray


@njit
def view(place: np.ndarray) -> np.ndarray:
    """The array that is place[1] numbers long, from address place[0] on."""
    return array_at(place[0], (place[1],), np.float64)


@functools.cache
def ddot() -> int:
    """Where the BLAS is that NumPy takes dot products from, which add in an order of their own; 0 if it is not found.
    """
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)
    for name in ('scipy_cblas_ddot64_', 'cblas_ddot64_', 'cblas_ddot'):
        if hasattr(library, name):
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    return 0


@njit
def dot(address: int, x: np.ndarray) -> float:
    """x.dot(x) of a contiguous x, by the function at `address` of `ddot`."""
    if address:
        return call_ddot(address, len(x), x.ctypes.data)
    total = 0.
    for i in range(len(x)):
        total += x[i] * x[i]
    return total


@intrinsic
def guarded(typingctx: Any, function: int, model: int, data: int, times: int, handler: int, text: int) -> bool:
    """guarded(function, model, data, times, *error_handler()) calls function(model, data) so often, all addresses.

    Returns False after an error of MuJoCo: the data is of no use then, and the error's text is at `text`. While it runs
    no other thread may call it, or MuJoCo but by Python's bindings: the caller holds the interpreter's lock.
    """
    def generate(context, builder, signature, args):
        return builder.call(_guard(builder.module), args)
    return types.boolean(*[types.int64] * 6), generate


def _guard(module):
    """The function of `guarded`, in LLVM's words:

    bool guard(function, model, data, times, handler, text):
        room = 512 bytes, where = room, message = text, before = *handler, *handler = on_error
        if setjmp(room) == 0:
            for _ in range(times): function(model, data)
        *handler = before
        return whether setjmp gave 0

    void on_error(what):
        strncpy(message, what, 1023)
        longjmp(where)
    """
    name = 'onpolicybaselines.guard'
    if name in module.globals:
        return module.globals[name]
    pointer, i64, i32, void = cgutils.voidptr_t, ir.IntType(64), ir.IntType(32), ir.VoidType()
    where, message = (cgutils.add_global_variable(module, pointer, f'{name}.{part}') for part in ('where', 'message'))
    for variable in (where, message):
        variable.linkage, variable.initializer = 'internal', ir.Constant(pointer, None)

    def external(symbol, result, *arguments):
        return cgutils.get_or_insert_function(module, ir.FunctionType(result, arguments), symbol)

    on_error = ir.Function(module, ir.FunctionType(void, [pointer]), f'{name}.on_error')
    on_error.linkage = 'internal'
    b = ir.IRBuilder(on_error.append_basic_block())
    b.call(external('strncpy', pointer, pointer, pointer, i64), [b.load(message), on_error.args[0], i64(1023)])
    b.call(external('longjmp', void, pointer, i32), [b.load(where), i32(1)])
    b.unreachable()

    guard = ir.Function(module, ir.FunctionType(ir.IntType(1), [i64] * 6), name)
    guard.linkage = 'internal'
    guard.attributes.add('noinline')
    b = ir.IRBuilder(guard.append_basic_block())
    function, model, data, times, handler, text = guard.args
    function = b.inttoptr(function, ir.FunctionType(void, [pointer, pointer]).as_pointer())
    model, data, text = (b.inttoptr(address, pointer) for address in (model, data, text))
    handler = b.inttoptr(handler, on_error.type.as_pointer())
    room = b.alloca(ir.ArrayType(ir.IntType(8), 512))
    room.align = 16
    room = b.bitcast(room, pointer)
    b.store(room, where)
    b.store(text, message)
    before = b.load(handler)
    b.store(on_error, handler)
    setjmp = external('_setjmp', i32, pointer)
    setjmp.attributes.add('returns_twice')
    fine = b.icmp_signed('==', b.call(setjmp, [room]), i32(0))
    with b.if_then(fine), cgutils.for_range(b, times):
        b.call(function, [model, data])
    b.store(before, handler)
    b.ret(fine)
    return guard
