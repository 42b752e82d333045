"""Keyword arguments by signature: which function takes which, and their values from text."""
import ast
import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from onpolicybaselines.common.errors import UsageError


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


def check_ranges(zero_to_one: Iterable[str] = (), may_be_zero: Iterable[str] = (), **values: float) -> None:
    """Raise UsageError for a number that no run can mean: one that is not positive, unless its name is in `may_be_zero`
    and it is 0, or in `zero_to_one`, and it lies there."""
    for name, value in values.items():
        if name in zero_to_one and not 0 <= value <= 1:
            raise UsageError(f'{name}={value} must lie between 0 and 1')
        if not (value > 0 or value == 0 and name in (*zero_to_one, *may_be_zero)):
            raise UsageError(f'{name}={value} must be positive')


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
