"""Checks that end in one line which names the fault and its place."""
import numpy as np

from onpolicybaselines.common.errors import UsageError


def check_finite(whole: str, environments: bool = True, **arrays: np.ndarray) -> None:
    """Raise FloatingPointError, naming array, step and environment, for the first number that is not finite.

    arrays: [T, N, ...], or [T, ...] without `environments`; whole: what their T steps make up.

    >>> check_finite('the batch', rew=np.array([[0.5], [np.nan]]))
    Traceback (most recent call last):
    FloatingPointError: rew is not finite at step 1 of the batch, environment 0: nan
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            place = tuple(np.argwhere(~np.isfinite(array))[0][:1 + environments])
            environment = f', environment {place[1]}' if environments else ''
            raise FloatingPointError(f'{name} is not finite at step {place[0]} of {whole}{environment}: {array[place]}')


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
    if sum(value > 0 for value in limits.values()) > 1:
        *first, last = limits
        raise UsageError(f'give only one of {", ".join(first)} and {last}; set the others to 0')


def check_single(num_envs: int) -> None:
    """Raise UsageError for several environments, of a rank that plays whole episodes in one."""
    if num_envs > 1:
        raise UsageError(f'acktr_cont plays whole episodes in one environment per rank, not {num_envs}: for more '
                         'use mpirun -np N, or --alg=acktr')
