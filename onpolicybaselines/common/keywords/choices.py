"""Names to choose from: one line for one that is not among them."""
import difflib
from collections.abc import Iterable
from typing import Any

from onpolicybaselines.common.errors import UsageError


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of an error line: the one of `choices` closest to `name`, or all of them if they are few."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        return f'; did you mean {close[0]}?'
    return f'; choose from {", ".join(choices)}' if 0 < len(choices) <= 12 else ''


def check_choice(name: str, value: Any, choices: Iterable[Any], error: type[Exception] = UsageError) -> None:
    """Raise an error unless `value`, of the parameter `name`, is one of the `choices`.

    >>> check_choice('fisher', 'hesse', ['hessian', 'gauss_newton'])
    Traceback (most recent call last):
    onpolicybaselines.common.errors.UsageError: fisher='hesse': use 'hessian' or 'gauss_newton'
    """
    choices = list(choices)
    if not any(value is choice or type(value) is type(choice) and value == choice for choice in choices):
        *first, last = map(repr, choices)
        raise error(f'{name}={value!r}: use {", ".join(first)}{" or " if first else ""}{last}')
