"""What values a parameter admits, in its annotation: Ranges of numbers, Literals."""
import math
import numbers
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np

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
        value = value.item() if isinstance(value, np.generic) else value  # a float32 cannot be compared with `high`
        return self.low < value <= self.high or self.including and value == self.low


UNIONS = (typing.Union, types.UnionType)
T = TypeVar('T')
MAX = sys.float_info.max
Positive = Annotated[T, Range('be positive, and finite', 0, including=False, high=MAX)]
NonNegative = Annotated[T, Range('not be negative, nor infinite', 0, high=MAX)]
Finite = Annotated[T, Range('be finite', -math.inf, including=False, high=MAX)]
LogStd = Annotated[T, Range('lie between -20 and 20', -20, high=20)]  # float32 has exp(-2 * 20)
Fraction = Annotated[float, Range('lie between 0 and 1', 0, high=1)]
# beyond these limits a run would not end, or not fit into memory
Count = Annotated[int, Range('be positive, and at most 1e9', 1, high=1e9)]
Total = Annotated[int, Range('not be negative, and at most 1e12', 0, high=1e12)]
Repeats = Annotated[int, Range('be positive, and at most 10000', 1, high=10_000)]
Passes = Annotated[int, Range('not be negative, and at most 10000', 0, high=10_000)]
Layers = Annotated[int, Range('not be negative, and at most 64', 0, high=64)]
Components = Annotated[int, Range('be positive, and at most 1000', 1, high=1000)]
Pairs = Annotated[int, Range('be positive, and at most 32', 1, high=32)]
Width = Annotated[int, Range('be positive, and at most 4096', 1, high=4096)]
Normalized = Annotated[int, Range('be at least 3: layer normalisation of fewer units leaves signs at most; and at '
                                  'most 4096', 3, high=4096)]


def check_ranges(function: Callable, values: Mapping[str, Any]) -> None:
    """Raise UsageError for the first of the `values` of parameters (functions pass) that is outside of the Range in the
    parameter's annotation (None passes), or not among its Literals."""
    for name, annotation in typing.get_type_hints(function, include_extras=True).items():
        value = values.get(name)
        if name not in values or callable(value):
            continue
        for admitted in _ranges(annotation):
            if not isinstance(value, (numbers.Real, np.generic, types.NoneType)):
                raise UsageError(f'{name}={value!r} must be a number')
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
