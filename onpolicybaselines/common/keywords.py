"""Keyword arguments by signature: which function takes which, and their values from text."""
import ast
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
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


def nearest(name: str, choices: Iterable[str]) -> str:
    """The end of an error line: the one of `choices` closest to `name`, or all of them if they are few."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        return f'; did you mean {close[0]}?'
    return f'; choose from {", ".join(choices)}' if 0 < len(choices) <= 12 else ''


def keywords_of(function: Callable, skip: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """The named parameters of `function` but those in `skip`, with resolved annotations, in order."""
    target = function.__init__ if inspect.isclass(function) else function
    hints = typing.get_type_hints(target)
    return {name: p.replace(annotation=hints.get(name, p.annotation))
            for name, p in inspect.signature(function).parameters.items()
            if name not in skip and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def split_keywords(kwargs: Mapping[str, Any], *functions: Callable, skip: Iterable[str] = ()) -> list[dict]:
    """`kwargs` shared out over `functions` by their signatures; names none of them declares go to the first that takes
    arbitrary keywords.

    Raises UsageError, naming the closest known keyword, for a name that no function takes.
    """
    known = [keywords_of(f, skip) for f in functions]
    open_ended = [any(p.kind is p.VAR_KEYWORD for p in inspect.signature(f).parameters.values()) for f in functions]
    shares = [{} for _ in functions]
    for name, value in kwargs.items():
        owners = [i for i, names in enumerate(known) if name in names]
        owners = owners or [i for i, is_open in enumerate(open_ended) if is_open][:1]
        if not owners:
            raise UsageError(f'unknown option {name!r}{nearest(name, set().union(*known))}')
        for i in owners:
            shares[i][name] = value
    return shares


def parse_value(name: str, text: str, annotation: Any) -> Any:
    """`text` as a value of the type `annotation`; literals only, nothing is evaluated.

    Raises UsageError, one line, where it is not of that type.
    """
    for kind in _alternatives(annotation):
        try:
            return _parse_as(text, kind)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # the last four: literal_eval's
            continue
    raise UsageError(f'--{name}={text}: expected {describe(annotation)}')


def is_expressible(annotation: Any) -> bool:
    """Whether text can give a value of that type: not if it is a function."""
    return bool(_alternatives(annotation))


def is_switch(annotation: Any) -> bool:
    """Whether the name alone means True."""
    return bool in _alternatives(annotation)


def describe(annotation: Any) -> str:
    """The type in a user's words, for help and error lines."""
    words = {int: 'an integer', float: 'a number', bool: 'True or False', str: 'a name', type(None): 'None'}
    parts = []
    for kind in sorted(_alternatives(annotation), key=lambda kind: kind is type(None)):
        if typing.get_origin(kind) is typing.Literal:
            parts.append('one of ' + ', '.join(map(str, typing.get_args(kind))))
        else:
            parts.append(words.get(kind, 'a literal such as [1, 2]'))
    return ' or '.join(parts) or 'a function, which text cannot give'


def _alternatives(annotation):
    """The members of a union that text can express, None first: it is a name as well."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = typing.get_args(annotation) if is_union else (annotation,)
    kinds = [k for k in kinds if k is not Callable and typing.get_origin(k) is not Callable]
    return sorted(kinds, key=lambda kind: kind is not type(None))


def _parse_as(text, kind):
    if typing.get_origin(kind) is typing.Literal:
        return _choose(text, {str(choice): choice for choice in typing.get_args(kind)})
    if kind is type(None):
        return _choose(text, {'None': None, 'none': None})
    if kind is bool:
        return _choose(text.lower(), {'true': True, '1': True, 'false': False, '0': False})
    if kind is int:
        return parse_int(text)
    if kind in (float, str):
        return kind(text)
    value = ast.literal_eval(text)
    if not _is_a(value, kind):
        raise ValueError(text)
    return value


def _choose(text, values):
    if text not in values:
        raise ValueError(text)
    return values[text]


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


def sentences(function: Callable) -> dict[str, str]:
    """What the docstring of `function` says of each parameter: lines `name   text`, text going on in deeper lines.

    >>> def f(a, b):
    ...     '''Does it.
    ...
    ...     a       how often, and
    ...             how long
    ...     b       where
    ...     '''
    >>> sentences(f)
    {'a': 'how often, and how long', 'b': 'where'}
    """
    names, found, last = inspect.signature(function).parameters, {}, None
    for line in inspect.getdoc(function).splitlines():
        start = re.match(r'\*{0,2}(\w+) {2,}(\S.*)', line)
        if start and start[1] in names:
            last = start[1]
            found[last] = start[2]
        elif last and line.startswith('  '):
            found[last] += ' ' + line.strip()
        else:
            last = None
    return found


def parse_int(text: str) -> int:
    """A whole number; 1e6 is one, too. Raises ValueError for anything else."""
    try:
        return int(text)
    except ValueError:
        if not float(text).is_integer():
            raise
        return int(float(text))


def _is_a(value, kind):
    """Whether a literal is of a type such as Sequence[tuple[int, int]]."""
    origin, elements = typing.get_origin(kind) or kind, typing.get_args(kind)
    if not isinstance(value, origin) or isinstance(value, str) is not (origin is str):
        return False
    if origin is tuple and elements[1:] != (...,):
        return not elements or len(value) == len(elements) and all(map(_is_a, value, elements))
    return not elements or all(_is_a(element, elements[0]) for element in value)
