"""Names to choose from: one line for one that is not among them."""
import difflib
import re
from collections.abc import Iterable
from typing import Any

from onpolicybaselines.common.errors import UsageError


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of an error line: the one of `choices` closest to `name`, or all of them if they are few.

    >>> nearest('--kl_max', ['--kl_margin', '--max_kl'])
    '; did you mean --max_kl?'
    """
    choices = sorted(choices)
    closest = max(choices, key=lambda choice: _likeness(name, choice), default='')
    if _likeness(name, closest) >= 0.6:
        return f'; did you mean {closest}?'
    return f'; choose from {", ".join(choices)}' if 0 < len(choices) <= 12 else ''


def _likeness(one, other):
    """From 0 to 1: of letters, or of the words in whatever order."""
    one, other = one.lower(), other.lower()
    words = [' '.join(sorted(re.findall(r'[^\W_]+', name))) for name in (one, other)]
    return max(difflib.SequenceMatcher(None, *pair).ratio() for pair in ((one, other), words))


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
