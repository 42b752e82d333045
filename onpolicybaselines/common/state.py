"""The one vocabulary of state: what a run would have to remember, as arrays and JSON values.

Whatever changes while a run goes on (policies, optimisers, filters, environments, loggers, generators) is `Stateful`:
`state()` gives a dictionary of ndarrays, JSON values and such dictionaries, of its own (later changes do not show in
it); `set_state(state)` goes back to it and raises ValueError if it does not fit. What never changes after construction
is not in it. Generators by themselves, of numpy or of `random`, are given and taken by `generator_state` and
`set_generator_state`.
"""
import random
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

State = dict[str, Any]
NOT_NEGATIVE = ('count', 'n', 'S', 'var')  # of filters: what has been seen, squared deviations, variances


@runtime_checkable
class Stateful(Protocol):
    """Anything with a state."""

    def state(self) -> State:
        """All that changes, as arrays and JSON values."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state()` gave."""


Generator = np.random.Generator | np.random.RandomState | random.Random


def generator_state(generator: Generator) -> State:
    """The state of a generator."""
    if isinstance(generator, random.Random):
        version, internal, gauss = generator.getstate()
        return {'version': version, 'internal': np.array(internal), 'gauss': gauss}
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return dict(generator.bit_generator.state)


def set_generator_state(generator: Generator, state: Mapping[str, Any]) -> None:
    """Go back to what `generator_state` gave; raises ValueError for that of another kind of generator."""
    if isinstance(generator, random.Random):
        if 'internal' not in state:
            raise ValueError('the state is of a generator of numpy')
        generator.setstate((state['version'], tuple(state['internal'].tolist()), state['gauss']))
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(dict(state))
    else:
        generator.bit_generator.state = dict(state)


def global_generators() -> dict[str, Generator]:
    """The generators of numpy and of `random` that belong to nobody."""
    return {'numpy': np.random.mtrand._rand, 'python': random._inst}


def flatten(state: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], State]:
    """(arrays by path, the rest for JSON) of a state; `unflatten` puts them together again.

    >>> arrays, rest = flatten({'adam': {'m': np.zeros(2), 't': 3}, 'rewards': [1.0]})
    >>> arrays
    {'adam/m': array([0., 0.])}
    >>> rest
    {'adam': {'m': {'array': 'adam/m'}, 't': 3}, 'rewards': [1.0]}
    """
    arrays: dict[str, np.ndarray] = {}

    def walk(value, path):
        if isinstance(value, Mapping):
            return {name: walk(part, f'{path}/{name}' if path else name) for name, part in value.items()}
        if not isinstance(value, np.ndarray):
            return value.item() if isinstance(value, np.generic) else value
        if path in arrays:
            raise ValueError(f'two parts of a state have the path {path!r}')
        arrays[path] = value
        return {'array': path}
    return arrays, walk(state, '')


def unflatten(arrays: Mapping[str, np.ndarray], rest: Any) -> Any:
    """Undo `flatten`."""
    if not isinstance(rest, Mapping):
        return rest
    if rest.keys() == {'array'}:
        return arrays[rest['array']]
    return {name: unflatten(arrays, part) for name, part in rest.items()}


def negative(found: Mapping[str, Any]) -> str | None:
    """The first path in a flat state at which a number is below 0 that cannot be.

    >>> negative({'pi/w': np.array([-1.]), 'ob_rms/var': np.array([1., -1.])})
    'ob_rms/var'
    """
    return next((path for path, value in found.items()
                 if path.rpartition('/')[-1] in NOT_NEGATIVE and np.any(np.asarray(value) < 0)), None)


def check_shapes(name: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the first fault, unless a state of `name` has the expected keys and shapes of arrays,
    and no `negative` number."""
    for key in {**expected, **found}:
        here, there = (np.shape(part[key]) if key in part else 'missing' for part in (expected, found))
        if here != there and not (isinstance(expected.get(key), list) and isinstance(found.get(key), list)):
            raise ValueError(f'the state of {name} does not fit: {key!r} has shape {there}, needs {here}')
    if negative(found):
        raise ValueError(f'the state of {name} is damaged: {negative(found)!r} is negative')
