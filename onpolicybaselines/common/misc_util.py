"""Seeds, command-line flags and other odds and ends (upstream: baselines/common/misc_util.py)."""
import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from onpolicybaselines.common import mpi_world


def zipsame(*seqs: Sequence[Any]) -> Iterator[tuple]:
    """`zip` that raises ValueError at once if the lengths differ."""
    lengths = [len(seq) for seq in seqs]
    if len(set(lengths)) > 1:
        raise ValueError(f'zipsame needs equal lengths, got {lengths}')
    return zip(*seqs, strict=True)


def set_global_seeds(i: int | None) -> None:
    """Seed python's, numpy's and (if it is imported already) TensorFlow's global generators.

    Every MPI rank gets a seed of its own, i + 1000 * rank. None seeds from the operating system.
    """
    myseed = (i + 1000 * mpi_world.rank()) % 2**32 if i is not None else None
    np.random.seed(myseed)
    random.seed(myseed)
    tf = sys.modules.get('tensorflow')
    if tf is not None:
        tf.random.set_seed(myseed)


def pretty_eta(seconds_left: float) -> str:
    """Format a number of seconds for people: '2 days and 1 hour', '37 minutes', 'less than a minute'."""
    hours_left, minutes_left = divmod(max(0, int(seconds_left)) // 60, 60)
    days_left, hours_left = divmod(hours_left, 24)
    units = [(days_left, 'day'), (hours_left, 'hour'), (minutes_left, 'minute')]
    while units and units[0][0] == 0:
        del units[0]
    # the largest unit and the next smaller one, if that is not zero
    words = [f'{cnt} {name}{"s" if cnt > 1 else ""}' for (cnt, name) in units[:2] if cnt > 0]
    return ' and '.join(words) or 'less than a minute'


class RunningAvg(object):
    """Exponential moving average of a scalar, read with `float()`.

    Args:
        gamma: weight of the old estimate, in [0, 1]; 0 follows the newest value.
        init_value: first estimate; None takes the first value given to `update`.
    """

    def __init__(self, gamma: float, init_value: float | None = None):
        self._value = init_value
        self._gamma = gamma

    def update(self, new_val: float) -> None:
        """Take in a newly observed value."""
        if self._value is None:
            self._value = new_val
        else:
            self._value = self._gamma * self._value + (1.0 - self._gamma) * new_val

    def __float__(self) -> float:
        if self._value is None:
            raise ValueError('RunningAvg has no value yet: give it an init_value or call update')
        return float(self._value)


def boolean_flag(parser: argparse.ArgumentParser, name: str, default: bool | None = False,
                 help: str | None = None) -> None:
    """Add the pair of flags --<name> and --no-<name> to a parser; the attribute has _ for -."""
    parser.add_argument('--' + name, action=argparse.BooleanOptionalAction, default=default, help=help)


def get_wrapper_by_name(env: Any, classname: str) -> Any:
    """Return the outermost layer of a wrapped gymnasium environment whose class is called `classname`.

    Raises ValueError if there is none.
    """
    import gymnasium as gym  # here, so that importing `common` stays quick
    currentenv = env
    while type(currentenv).__name__ != classname:
        if not isinstance(currentenv, gym.Wrapper):
            raise ValueError(f"Couldn't find wrapper named {classname} in {env}")
        currentenv = currentenv.env
    return currentenv
