"""`machine.run` as machine code, for Python and for other machine code: the same, as two might round differently."""
import functools
import pathlib
from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from onpolicybaselines.common.actors import machine
from onpolicybaselines.common.machine_code import array_at, c_function, call, digest, function, renamed

OB, NUMBER = None, None
"""types that `compiled` puts in: of observations, of all else"""
CALL = np.dtype([(name, np.int64) for name in ('ob', 'y', 'rows', 'size_in', 'size_out', 'numbers', 'n_numbers', 'code',
                                               'n_code', 'room', 'width')])
"""the arguments of `machine.run`: addresses of arrays, and sizes"""
run = register_jitable(machine.run)
for part in (machine.layers_at, machine.normalize, machine.activate, machine.sigmoid):
    register_jitable(part)


@register_jitable
def set_call(p: np.void, ob: np.ndarray, y: np.ndarray, numbers: np.ndarray, code: np.ndarray, room: np.ndarray
             ) -> None:
    """Make p, a CALL, that of these arrays."""
    p['ob'], p['rows'], p['size_in'] = ob.ctypes.data, ob.shape[0], ob.shape[1]
    p['y'], p['size_out'] = y.ctypes.data, y.shape[1]
    p['numbers'], p['n_numbers'] = numbers.ctypes.data, len(numbers)
    p['code'], p['n_code'] = code.ctypes.data, len(code)
    p['room'], p['width'] = room.ctypes.data, room.shape[1]


def run_at(address: int) -> int:
    """`machine.run` of the CALL at an address."""
    p = array_at(address, (1,), CALL)[0]
    run(array_at(p['ob'], (p['rows'], p['size_in']), OB), array_at(p['y'], (p['rows'], p['size_out']), NUMBER),
        array_at(p['numbers'], (p['n_numbers'],), NUMBER), array_at(p['code'], (p['n_code'],), np.int64),
        array_at(p['room'], (3, p['width']), NUMBER))
    return 0


def run_by(run_at: int, ob: np.ndarray, y: np.ndarray, numbers: np.ndarray, code: np.ndarray, room: np.ndarray) -> None:
    """`machine.run` by the `run_at` at an address."""
    p = np.empty(1, CALL)
    set_call(p[0], ob, y, numbers, code, room)
    call(run_at, p.ctypes.data)


@functools.cache
def compiled(ob_dtype: np.dtype, dtype: np.dtype) -> tuple[Callable, int]:
    """`machine.run` for observations and numbers of these types, and where its `run_at` is."""
    sources = [pathlib.Path(path).read_bytes() for path in (machine.__file__, __file__)]
    label = digest(*sources, f'{ob_dtype} {dtype}'.encode())
    # sums in the order that is fastest
    address = c_function(renamed(run_at, label, {'OB': ob_dtype.type, 'NUMBER': dtype.type}),
                         fastmath={'contract', 'reassoc'}).address
    arrays = f'{ob_dtype}[:, ::1], {dtype}[:, ::1], {dtype}[::1], int64[::1], {dtype}[:, ::1]'
    return functools.partial(function(renamed(run_by, label, {}), f'(int64, {arrays})'), address), address
