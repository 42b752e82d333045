"""What a run will take, said before it is taken."""
import contextlib
import math
from collections.abc import Sequence
from typing import Any

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.vec_env import VecEnv

GIB = 2**30


def check_batch(env: VecEnv, steps: int) -> None:
    """Raise UsageError if a batch of so many steps of all environments of this rank cannot be held in memory, and warn
    if it takes half of it. What is reckoned is the least: observations, also as float32, and a few numbers."""
    ob_space = env.observation_space
    if ob_space.shape is not None:
        per_step = math.prod(ob_space.shape) * (ob_space.dtype.itemsize + 4) + 40
        _check(f'a batch of {steps} steps', steps * per_step, 'take fewer')


def check_factors(var_list: Sequence[Any]) -> None:
    """The same of what K-FAC keeps of the layers with these weights [..., out]: two square matrices of each, their
    eigenvectors, and what they are made from."""
    sides = [side for v in var_list if len(v.shape) > 1 for side in (math.prod(v.shape[:-1]), v.shape[-1])]
    _check(f'K-FAC of layers of up to {max(sides)} inputs', 16 * sum(side**2 for side in sides),
           'take smaller observations or layers (of images: --network=cnn), or an algorithm without K-FAC')


def _check(what, needed, remedy):
    there = available_memory()
    line = f'{what} takes {needed / GIB:.1f} GiB of memory at least, of which {there / GIB:.1f} are free: {remedy}'
    if needed > there:
        raise UsageError(line)
    if needed > there / 2:
        logger.warn(line)


def available_memory() -> float:
    """Bytes that this process may take; infinity where it cannot be known."""
    return min(_free_of_machine(), _free_of_group())


def _free_of_machine():
    with contextlib.suppress(OSError, ValueError, KeyError), open('/proc/meminfo', encoding='ascii') as fh:
        lines = dict(line.split(':') for line in fh)
        return 1024. * int(lines['MemAvailable'].split()[0])
    return math.inf


def _free_of_group():
    """Of the control group, as containers and queues have them."""
    def number(name):
        with open(f'/sys/fs/cgroup/memory.{name}', encoding='ascii') as fh:
            return float(fh.read())
    with contextlib.suppress(OSError, ValueError):  # no group, or 'max'
        return max(0., number('max') - number('current'))
    return math.inf
