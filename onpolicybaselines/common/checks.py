"""Checks that end in one line which names the fault and its place."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from onpolicybaselines.common.errors import UsageError


def check_choice(name: str, value: Any, choices: Sequence[str], or_else: str | None = None) -> None:
    """Raise UsageError, naming the `choices`, unless `value` is one of them.

    or_else: what else would do, in words.

    >>> check_choice('filter_update', 'late', ('before', 'after'))
    Traceback (most recent call last):
    onpolicybaselines.common.errors.UsageError: filter_update='late': use 'before' or 'after'
    """
    if value not in choices:
        *first, last = [*map(repr, choices), *([or_else] if or_else else [])]
        raise UsageError(f'{name}={value!r}: use {", ".join(first)}{" or " if first else ""}{last}')


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
