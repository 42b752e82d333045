"""What argparse is to do for the command line."""
import argparse
from collections.abc import Callable
from typing import NoReturn

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.values import parse_int, parse_value


class OneLineParser(argparse.ArgumentParser):
    """Errors as one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """UsageError."""
        raise UsageError(message)


def at_least(minimum: int) -> Callable[[str], int]:
    """The type of an option that is a whole number of at least `minimum`."""
    def count(text: str) -> int:
        try:
            value = parse_int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f'expected a whole number of at least {minimum}, got {text!r}')
        return value
    return count


def switch(text: str) -> bool:
    """The type of an option that is True or False."""
    try:
        return parse_value('', text, bool)
    except UsageError:
        raise argparse.ArgumentTypeError(f'expected True or False, got {text!r}') from None
