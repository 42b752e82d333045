"""What argparse is to do for the command line."""
import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.values import parse_int, parse_value


class OneLineParser(argparse.ArgumentParser):
    """Errors as one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """UsageError."""
        raise UsageError(message)


def at_least(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    """The type of an option that is a whole number of at least `minimum`, and at most `maximum`."""
    words = f'of at least {minimum}' if maximum == math.inf else f'from {minimum} to {maximum}'

    def count(text: str) -> int:
        try:
            value = parse_int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f'expected a whole number {words}, got {text!r}')
        return value
    count.words = f'a whole number {words}'
    return count


def factor(text: str) -> float:
    """The type of an option that is a number, finite and not 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f'expected a finite number that is not 0, got {text!r}')
    return value


factor.words = 'a number that is not 0'


def switch(text: str) -> bool:
    """The type of an option that is True or False."""
    try:
        return parse_value('', text, bool)
    except UsageError:
        raise argparse.ArgumentTypeError(f'expected True or False, got {text!r}') from None


switch.words = 'True or False'
