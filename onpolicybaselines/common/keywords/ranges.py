"""What values a parameter admits, in its annotation: Ranges of numbers, Literals."""
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.choices import check_choice


class Range(NamedTuple):
    """What numbers an annotation admits: from `low` (itself only if `including`) to `high`; `words` says so."""

    words: str
    low: float
    including: bool = True
    high: float = math.inf

    def admits(self, value: float) -> bool:
        """Whether `value` is in it; NaN is in none."""
        return self.low < value <= self.high or self.including and value == self.low


UNIONS = (typing.Union, types.UnionType)
T = TypeVar('T')
Positive = Annotated[T, Range('be positive', 0, including=False)]
NonNegative = Annotated[T, Range('not be negative', 0)]
Finite = Annotated[T, Range('be finite', -math.inf, including=False, high=sys.float_info.max)]
Fraction = Annotated[float, Range('lie between 0 and 1', 0, high=1)]
Normalized = Annotated[int, Range('be at least 3: layer normalisation of fewer units leaves signs at most', 3)]


def check_ranges(function: Callable, values: Mapping[str, Any]) -> None:
    """Raise UsageError for the first of the `values` of parameters (functions pass) that is outside of the Range in the
    parameter's annotation (None passes), or not among its Literals."""
    for name, annotation in typing.get_type_hints(function, include_extras=True).items():
        value = values.get(name)
        if name not in values or callable(value):
            continue
        for admitted in _ranges(annotation):
            if value is not None and not admitted.admits(value):
                raise UsageError(f'{name}={value} must {admitted.words}')
        choices = _choices(annotation)
        if choices:
            check_choice(name, value, choices)


def _ranges(annotation):
    """The Ranges in an annotation, members of unions included."""
    if typing.get_origin(annotation) is Annotated:
        return [m for m in annotation.__metadata__ if isinstance(m, Range)]
    return [found for member in typing.get_args(annotation) for found in _ranges(member)]


def _choices(annotation):
    """What the Literals in an annotation choose from, None included in a union with it; [] without a Literal."""
    members = typing.get_args(annotation) if typing.get_origin(annotation) in UNIONS else (annotation,)
    choices = [c for member in members if typing.get_origin(member) is Literal for c in typing.get_args(member)]
    return choices and [*choices, *([None] if type(None) in members else [])]
