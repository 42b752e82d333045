"""Checks that end in one line which names the fault and its place."""
import numpy as np
from numpy.typing import ArrayLike

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.mpi_world import rank, size


def check_finite(whole: str | None, environments: bool = True, first: int = 0, **arrays: np.ndarray) -> None:
    """Raise FloatingPointError, naming array, step, environment and, of several, rank, for the earliest number that is
    not finite, or too large for float32, in which networks see it.

    arrays: [T, N, ...], or [T, ...] without `environments`, in the order in which a step has them; whole: what their T
    steps make up, None for steps without a number; first: number of the first one.

    >>> check_finite('the batch', rew=np.array([[0.5], [np.nan]]))
    Traceback (most recent call last):
    FloatingPointError: rew is not finite at step 1 of the batch, environment 0: nan
    """
    faults = {name: np.argwhere(bad)[0] for name, array in arrays.items() if (bad := _unfit(array)) is not None}
    if not faults:
        return
    name = min(faults, key=lambda name: faults[name][0])
    at = tuple(faults[name].tolist())
    array, place = np.asarray(arrays[name]), at[:1 + environments]
    where = 'in ' if whole is None else f'at step {first + at[0]} of {whole}, '
    where += ', '.join([f'environment {n}' for n in place[1:]] + [f'rank {rank()}'] * (size() > 1))
    value = str(array[place])
    if '\n' in value:
        value = f'{array[at]} in element {list(at[len(place):])}'
    fault = 'too large for float32' if np.isfinite(array[at]) else 'not finite'
    raise FloatingPointError(f'{name} is {fault} {where.removesuffix(", ")}: {value}')


def _unfit(array):
    """Where numbers are not finite in float32; None if all are."""
    array = np.asarray(array)
    if array.dtype.kind != 'f':
        return None
    with np.errstate(over='ignore'):
        finite = np.isfinite(array.astype('float32', copy=False))
    return None if finite.all() else ~finite


def check_values(update: str, **values: ArrayLike) -> None:
    """Raise FloatingPointError for the first of what an update computed that is not finite.

    >>> check_values('update 3', value_loss=np.inf)
    Traceback (most recent call last):
    FloatingPointError: update 3: value_loss is not finite (inf); parameters unchanged
    """
    for name, value in values.items():
        array = np.asarray(value)
        if not np.isfinite(array).all():
            raise FloatingPointError(f'{update}: {name} is not finite ({array[~np.isfinite(array)][0]}); '
                                     'parameters unchanged')


def check_positive(name: str, value: int) -> None:
    """Raise ValueError unless the count `value` is at least 1."""
    if value < 1:
        raise ValueError(f'{name} must be at least 1, got {value}')


def check_same_shape(ndim: int, **arrays: np.ndarray) -> None:
    """Raise ValueError unless two arrays have one shape of `ndim` dimensions."""
    one, other = shapes = [array.shape for array in arrays.values()]
    if one != other or len(one) != ndim:
        raise ValueError(f'{" and ".join(arrays)} need one {ndim}-d shape, got {" and ".join(map(str, shapes))}')


def check_divides(num_envs: int, **steps: int) -> None:
    """Raise UsageError unless the `steps`, under the name of their parameter, are the same for all environments."""
    for name, value in steps.items():
        if value % num_envs:
            raise UsageError(f'{name}={value} must be a multiple of the number of environments, {num_envs}')


def check_one_limit(**limits: int) -> None:
    """Raise UsageError if several of the limits of a run are set, that is not 0."""
    if sum(value > 0 for value in limits.values()) > 1:
        *first, last = limits
        raise UsageError(f'give only one of {", ".join(first)} and {last}; set the others to 0')


def check_single(num_envs: int) -> None:
    """Raise UsageError for several environments, of a rank that plays whole episodes in one."""
    if num_envs > 1:
        raise UsageError(f'acktr_cont plays whole episodes in one environment per rank, not {num_envs}: for more '
                         'use mpirun -np N, or --alg=acktr')
