"""What numbers a parameter admits, in its annotation."""
import math
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from onpolicybaselines.common.errors import UsageError


class Range(NamedTuple):
    """What numbers an annotation admits: from `low` (itself only if `including`) to `high`; `words` says so."""

    words: str
    low: float
    including: bool = True
    high: float = math.inf

    def admits(self, value: float) -> bool:
        """Whether `value` is in it; NaN is in none."""
        return self.low < value <= self.high or self.including and value == self.low


T = TypeVar('T')
Positive = Annotated[T, Range('be positive', 0, including=False)]
NonNegative = Annotated[T, Range('not be negative', 0)]
Fraction = Annotated[float, Range('lie between 0 and 1', 0, high=1)]


def check_ranges(function: Callable, values: Mapping[str, Any]) -> None:
    """Raise UsageError for the first of the `values` of parameters (None and functions pass) that is outside of the
    Range in the parameter's annotation."""
    for name, annotation in typing.get_type_hints(function, include_extras=True).items():
        value = values.get(name)
        for admitted in _ranges(annotation):
            if value is not None and not callable(value) and not admitted.admits(value):
                raise UsageError(f'{name}={value} must {admitted.words}')


def _ranges(annotation):
    """The Ranges in an annotation, members of unions included."""
    if typing.get_origin(annotation) is Annotated:
        return [m for m in annotation.__metadata__ if isinstance(m, Range)]
    return [found for member in typing.get_args(annotation) for found in _ranges(member)]
