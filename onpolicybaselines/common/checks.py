"""Checks that end in one line which names the fault and its place."""
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.mpi_world import rank, size

LARGEST = np.finfo('float32').max


def check_finite(whole: str | None, environments: bool = True, first: int = 0, **arrays: ArrayLike) -> None:
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
    if array.dtype.kind != 'f' or (np.abs(array) <= LARGEST).all():  # quickly, as this is asked at every step
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


def check_minibatches(nenv: int, nsteps: int, nminibatches: int, recurrent: bool = False) -> None:
    """Raise UsageError unless a batch of nsteps of each environment can be cut into minibatches of one size, of whole
    environments for a recurrent network."""
    if recurrent and nenv % nminibatches:
        raise UsageError(f'nminibatches={nminibatches} must divide the number of environments, {nenv}: a recurrent '
                         'network learns from minibatches of whole environments')
    if nenv * nsteps % nminibatches:
        raise UsageError(f'nminibatches={nminibatches} must divide a batch of {nenv * nsteps} steps: nsteps={nsteps} '
                         'of every environment')


def check_one_limit(**limits: int) -> None:
    """Raise UsageError if several of the limits of a run are set, that is not 0."""
    given = [f'{name}={value}' for name, value in limits.items() if value > 0]
    if len(given) > 1:
        raise UsageError(f'{" and ".join(given)}: a run has one limit, set the other{"s" * (len(given) > 2)} to 0')


def check_single(num_envs: int) -> None:
    """Raise UsageError for several environments, of a rank that plays whole episodes in one."""
    if num_envs > 1:
        raise UsageError(f'acktr_cont plays whole episodes in one environment per rank, not {num_envs}: for more '
                         'use mpirun -np N, or --alg=acktr')


def check_images(scope: str, shape: Sequence[int], rf: int, pad: str, channel_ax: int) -> None:
    """Raise UsageError for observations that a convolution, of the layer `scope`, cannot take for images: of three
    dimensions, channels on channel_ax - 1, and no smaller than its filters of rf x rf unless `pad` makes up for it."""
    if len(shape) != 3:
        raise UsageError(f'networks of convolutions are for images [height, width, channels], not for observations of '
                         f'shape {tuple(shape)}: use --network=mlp')
    sides = [side for i, side in enumerate(shape) if i != channel_ax - 1]
    if min(sides) < rf and pad == 'VALID':
        raise UsageError(f'images of {" x ".join(map(str, sides))} are too small for the filters of {rf} x {rf} of the '
                         f'layer {scope!r}: use another network, such as --network=conv_only or mlp')


def check_convs(convs: Sequence[Sequence[int]]) -> None:
    """Raise UsageError unless they are (number of filters, filter size, stride), all positive, of one layer or more."""
    if not len(convs) or not all(len(layer) == 3 and all(1 <= number <= 4096 for number in layer) for layer in convs):
        raise UsageError(f'convs={convs!r} must be (filters, filter size, stride), each from 1 to 4096, of at least '
                         'one layer')


def check_size(what: str, shape: Sequence[int] | None) -> None:
    """Raise UsageError for a space of arrays without an entry."""
    if shape is not None and 0 in shape:
        raise UsageError(f'{what} of shape {tuple(shape)} hold nothing: there is nothing to learn')


def check_columns(*extra: str) -> None:
    """Raise UsageError if names of columns beside those of every episode, r, l and t, are among them, or twice."""
    columns = ['r', 'l', 't', *extra]
    for name in extra:
        if columns.count(name) > 1:
            raise UsageError(f'the keyword {name!r} of a Monitor would overwrite its column of the same name: give the '
                             'entry of the info another name')
