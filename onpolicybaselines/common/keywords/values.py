"""Values from text, by annotation."""
import ast
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from onpolicybaselines.common.errors import UsageError


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


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value that was read from JSON, whose tuples are lists, is of the type `annotation`."""
    return any(_is_json_of(value, kind) for kind in _alternatives(annotation))


def _is_json_of(value, kind):
    if typing.get_origin(kind) is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in typing.get_args(kind))
    if kind is float:
        return type(value) in (int, float)
    if kind in (int, bool, str, type(None)):
        return type(value) is kind
    return _is_a(_tuples(value), kind)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def first_difference(asked: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """The first name, by alphabet, whose value in one description of a policy is not that in another, None if none is.
    Tuples are lists, as in JSON, and 1 is 1.0; None says nothing, and 'custom', a user's function, cannot be compared.

    >>> first_difference({'a': 1, 'b': (1, 2), 'c': None, 'd': 'custom', 'e': 2}, dict(a=1., b=[1, 2], c=3, d=4, e=5))
    'e'
    """
    for name in sorted(asked.keys() & there.keys()):
        values = asked[name], there[name]
        if not {'custom', None}.intersection(v for v in values if v is None or isinstance(v, str)) and (
                values[0] != values[1] and json.dumps(values[0]) != json.dumps(values[1])):
            return name
    return None


def _choose(text, values):
    if text not in values:
        raise ValueError(text)
    return values[text]


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
