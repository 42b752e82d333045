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
        except (ValueError, SyntaxError):
            continue
    raise UsageError(f'--{name}={text}: expected {describe(annotation)}')


def describe(annotation: Any) -> str:
    """The type in a user's words, for help and error lines."""
    words = {int: 'an integer', float: 'a number', bool: 'True or False', str: 'a name', type(None): 'None'}
    parts = []
    for kind in _alternatives(annotation):
        if typing.get_origin(kind) is typing.Literal:
            parts.append('one of ' + ', '.join(map(str, typing.get_args(kind))))
        else:
            parts.append(words.get(kind, 'a literal such as [1, 2]'))
    return ' or '.join(parts)


def _alternatives(annotation):
    """The members of a union that text can express; functions cannot be."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = typing.get_args(annotation) if is_union else (annotation,)
    return [k for k in kinds if k is not Callable and typing.get_origin(k) is not Callable]


def _parse_as(text, kind):
    if typing.get_origin(kind) is typing.Literal:
        return _choose(text, {str(choice): choice for choice in typing.get_args(kind)})
    if kind is type(None):
        return _choose(text, {'None': None, 'none': None})
    if kind is bool:
        return _choose(text.lower(), {'true': True, '1': True, 'false': False, '0': False})
    if kind is int:
        if not float(text).is_integer():  # 1e6 is a number of steps, too
            raise ValueError(text)
        return int(float(text))
    if kind in (float, str):
        return kind(text)
    value = ast.literal_eval(text)
    if isinstance(value, str) or not isinstance(value, typing.get_origin(kind) or kind):
        raise ValueError(text)
    return value


def _choose(text, values):
    if text not in values:
        raise ValueError(text)
    return values[text]
