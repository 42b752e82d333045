"""Which function takes which keywords, and what its docstring says of them."""
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.choices import nearest


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
    for line in (inspect.getdoc(function) or '').splitlines():
        start = re.match(r'\*{0,2}(\w+) {2,}(\S.*)', line)
        if start and start[1] in names:
            last = start[1]
            found[last] = start[2]
        elif last and line.startswith('  '):
            found[last] += ' ' + line.strip()
        else:
            last = None
    return found
