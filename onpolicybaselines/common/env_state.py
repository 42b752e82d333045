"""The states of environments, through all wrappers: what gymnasium lacks.

`env_state(env)` is a state as `common/state.py` has it, of a gymnasium.Env, a VectorEnv or a VecEnv. From it an
environment that was made alike goes on to the bit: `set_env_state(env, state)`. Both walk the attributes. Numbers,
texts, arrays, containers, random generators, the simulators of MuJoCo and Atari are taken, and what is the same object,
or the same memory, in two places is so again. Functions, models and the like are what the environment was made with: a
ValueError if they are others. A part with `state` and `set_state` speaks for itself. What is none of that (a simulator
written in C, a socket) is a NoStateError that names it. Not seen is what is in no attribute: variables of modules, of
classes and of closures.
"""
import collections
import contextlib
import enum
import functools
import os
import random
import re
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from onpolicybaselines.common.state import State, generator_state, set_generator_state

PICTURES = ('screen', 'clock', 'surf', 'viewer', 'window', 'window_surface', 'mujoco_renderer', 'video_recorder')
"""attributes that draw, and do not decide what happens"""
CONSTANTS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, functools.partial, type, np.ufunc,
             np.dtype, re.Pattern, os.PathLike, slice, gymnasium.envs.registration.EnvSpec)
BUILTINS = {'bytes': (list, lambda *numbers: bytes(numbers)),
            'complex': (lambda value: [value.real, value.imag], complex),
            'range': (lambda value: [value.start, value.stop, value.step], range)}
"""types of values that JSON lacks: to its numbers, and from them"""
MODELS = ('MjModel', 'MjSpec')
HEAP_TYPE = 1 << 9  # CPython's flag of a class that a class statement has made


class NoStateError(TypeError):
    """An environment whose state cannot be taken; the message names the part."""


class Kind(NamedTuple):
    """How one kind of attribute is told, written and read back."""

    fits: Callable[[Any], bool]
    encode: Callable[[Any, str, dict], State]
    """(value, its place, what has been met: {id: (place, value)}) to a code"""
    decode: Callable[[Mapping[str, Any], Any, str, dict], Any]
    """(code, the attribute as it is, its place, what has been read: {place or id: value}) to the value; in place where
    that can be"""


def env_state(env: Any) -> State:
    """All that the future of an environment depends on, and its parameters. Raises NoStateError."""
    seen = {id(env): (type(env).__name__, env)}
    return _attributes(env, type(env).__name__, seen)


def set_env_state(env: Any, state: Mapping[str, Any]) -> None:
    """Go back to what `env_state` gave of an environment that was made alike. Raises ValueError if it was not."""
    if state.get('type') != _name(env):
        raise ValueError(f'the state of a {state.get("type")} does not fit {type(env).__name__}, a {_name(env)}')
    _set_attributes(state, env, type(env).__name__, {})


def _attributes(thing, path, seen):
    return {'type': _name(thing), 'attributes': {name: _encode(value, f'{path}.{name}', seen)
                                                 for name, value in vars(thing).items() if name not in PICTURES}}


def _set_attributes(state, thing, path, read):
    if thing is None or state['type'] != _name(thing):
        thing = _new(state['type'], thing, path)
    _keep(thing, path, read)
    codes, attributes = state['attributes'], vars(thing)
    if codes.get('num_envs') != attributes.get('num_envs'):
        raise ValueError(f'the state is of {codes["num_envs"]} environments, {path} has {attributes["num_envs"]}')
    for name, code in codes.items():
        attributes[name] = _decode(code, attributes.get(name), f'{path}.{name}', read)
    return thing


def _new(name, current, path):
    """An object without attributes of a class by that name, in place of another one; none of its code is run. Raises
    ValueError if it is not a class of plain objects that is imported."""
    cls = _imported(name)
    if (not isinstance(cls, type) or not _is_plain(cls) or hasattr(cls, '__del__')
            or issubclass(cls, (gymnasium.Env, gymnasium.vector.VectorEnv))):
        raise ValueError(f'the state of a {name} does not fit {path}, a {_name(current)}')
    return object.__new__(cls)


def _imported(name):
    """What has that name, of a module and in it; None if nothing has."""
    parts = name.split('.')
    for i in range(len(parts) - 1, 0, -1):
        if '.'.join(parts[:i]) in sys.modules:
            return functools.reduce(lambda thing, part: vars(thing).get(part) if hasattr(thing, '__dict__') else None,
                                    parts[i:], sys.modules['.'.join(parts[:i])])


def _keep(value, path, read):
    """What has been read, by its place, and by its identity: nothing else may become it."""
    read[path] = read[id(value)] = value
    return value


def _name(thing):
    return f'{type(thing).__module__}.{type(thing).__qualname__}'


def _is_json(value):
    return value is None or type(value) in (bool, int, float, str)


def _is_array(value):
    return type(value) is np.ndarray and value.dtype.kind in 'biufc'


def _owner(array):
    """The array whose memory it shows, itself or another."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _is_of_a_simulator(array):
    """Whether an array shows memory that is not numpy's."""
    return isinstance(array, np.ndarray) and _owner(array).base is not None


def _encode(value, path, seen):
    """JSON values and arrays are their own codes, all else is a dictionary with a 'kind'."""
    if _is_json(value):
        return value
    if id(value) in seen:
        return {'kind': 'same', 'as': seen[id(value)][0]}
    if type(value) is not tuple:  # which is no object of its own, but what is in it
        seen[id(value)] = path, value
    if _is_array(value) and (_owner(value) is value or _is_of_a_simulator(value)):
        return value.copy('K')
    for kind, (fits, encode, _) in KINDS.items():
        if fits(value):
            return {'kind': kind, **encode(value, path, seen)}
    raise NoStateError(f'the state of {path} cannot be taken: it is a {_name(value)}, which hides it')


def _decode(code, current, path, read):
    if not isinstance(code, (np.ndarray, Mapping)):
        return code
    if id(current) in read and not isinstance(code, np.ndarray):
        current = None  # it has become something else
    if isinstance(code, np.ndarray):
        return _keep(_decode_array(code, current), path, read)
    value = KINDS[code['kind']].decode(code, current, path, read)
    if code['kind'] in VALUES:
        read[path] = value
        return value
    return _keep(value, path, read)


def _decode_array(code, current):
    if not _is_of_a_simulator(current) or not current.flags.writeable or current.shape != code.shape:
        return code.copy('K')
    current[...] = code
    return current


def _encode_view(value, path, seen):
    owner = _owner(value)
    if not owner.flags.forc:
        raise NoStateError(f'the state of {path} cannot be taken: it shows memory that is not in order')
    offset = value.__array_interface__['data'][0] - owner.__array_interface__['data'][0]
    return {'of': _encode(owner, f'{path}.base', seen), 'offset': offset, 'shape': list(value.shape),
            'strides': list(value.strides), 'dtype': value.dtype.str}


def _decode_view(code, current, path, read):
    owner = _decode(code['of'], None, f'{path}.base', read)
    return np.ndarray(code['shape'], code['dtype'], owner.ravel('K'), code['offset'], code['strides'])


def _decode_same(code, current, path, read):
    return read[code['as']]


# ================================================================
# Containers and objects
# ================================================================

def _encode_sequence(value, path, seen):
    code = {'type': type(value).__name__, 'maxlen': getattr(value, 'maxlen', None)}
    if {type(part) for part in value} in ({float}, {int}):  # thousands of returns and lengths, in a Monitor
        numbers = np.array(value)
        if numbers.dtype.kind in 'if':
            return {**code, 'numbers': numbers}
    if all(map(_is_json, value)):
        return {**code, 'values': list(value)}
    return {**code, 'parts': {str(i): _encode(part, f'{path}[{i}]', seen) for i, part in enumerate(value)}}


def _decode_sequence(code, current, path, read):
    known = list(current) if isinstance(current, (list, tuple, collections.deque)) else []
    made = {'list': [], 'tuple': [], 'deque': collections.deque(maxlen=code['maxlen'])}[code['type']]
    if code['type'] == 'list' and type(current) is list:
        made = current
    with _emptied(made):
        _keep(made, path, read)  # for what in it refers to it
        made.extend(code['numbers'].tolist() if 'numbers' in code else code.get('values', ()))
        for i, part in enumerate(code.get('parts', {}).values()):
            made.append(_decode(part, known[i] if i < len(known) else None, f'{path}[{i}]', read))
    return tuple(made) if code['type'] == 'tuple' else made


@contextlib.contextmanager
def _emptied(container):
    """To be filled anew; after an error what was in it is back, environments that are to be closed among it."""
    before = container.copy()
    container.clear()
    try:
        yield before
    except BaseException:
        container.clear()
        getattr(container, 'update', getattr(container, 'extend', None))(before)
        raise


def _encode_mapping(value, path, seen):
    if not all(type(key) in (str, int, type(None)) for key in value):
        raise NoStateError(f'the state of {path} cannot be taken: its keys are no texts')
    return {'type': _name(value), 'parts': {f'{type(key).__name__} {key}': _encode(part, f'{path}[{key!r}]', seen)
                                            for key, part in value.items()}}


def _decode_mapping(code, current, path, read):
    if code['type'] != _name(current):
        if code['type'] != 'builtins.dict':
            raise ValueError(f'the state of a {code["type"]} does not fit {path}, a {_name(current)}')
        current = {}
    kinds = {'str': str, 'int': int, 'NoneType': lambda _: None}
    with _emptied(current) as known:
        _keep(current, path, read)
        for text, part in code['parts'].items():
            kind, _, key = text.partition(' ')
            key = kinds[kind](key)
            current[key] = _decode(part, known.get(key), f'{path}[{key!r}]', read)
    return current


def _is_python(value):
    """Whether its attributes are all there is."""
    return hasattr(value, '__dict__') and _is_plain(type(value))


def _is_plain(cls):
    """Whether a class is written in Python, all of it, and has no slots."""
    return type(cls).__module__ in ('builtins', 'abc', 'typing') and all(
        base.__flags__ & HEAP_TYPE and not _has_hidden(base) for base in cls.__mro__ if base is not object)


def _has_hidden(cls):
    """Whether objects have a part that their `__dict__` lacks: slots, or one of C, whose class makes them itself."""
    return (getattr(cls.__new__, '__self__', None) is cls
            or any(isinstance(value, types.MemberDescriptorType) for value in vars(cls).values()))


def _is_stateful(value):
    return all(callable(getattr(type(value), name, None)) for name in ('state', 'set_state'))


def _set_stateful(code, current, path, read):
    if not _is_stateful(current):
        raise ValueError(f'the state of {path} does not fit a {_name(current)}')
    current.set_state(code['state'])
    return current


# ================================================================
# What an environment was made with, and members of an enumeration
# ================================================================

def _label(value):
    """What tells a constant from another one."""
    if isinstance(value, (slice, re.Pattern)):
        return repr(value)
    return getattr(value, '__qualname__', None) or getattr(value, '__name__', None) or _name(value)


def _check_constant(code, current, path, read):
    if code['label'] != _label(current):
        raise ValueError(f'{path} was {code["label"]} and is {_label(current)}, which is not changed')
    return current


def _is_method(value):
    owner = getattr(value, '__self__', None)
    return isinstance(value, (types.MethodType, types.BuiltinFunctionType)) and not (
        owner is None or isinstance(owner, (type, types.ModuleType)))


def _set_method(code, current, path, read):
    if not _is_method(current) or current.__name__ != code['name']:
        raise ValueError(f'the state of a method {code["name"]} does not fit {path}')
    owner = _decode(code['self'], current.__self__, f'{path}.__self__', read)
    return current if owner is current.__self__ else getattr(owner, code['name'])


def _set_member(code, current, path, read):
    cls = type(current) if _name(current) == code['type'] else _imported(code['type'])
    if not isinstance(cls, enum.EnumType) or code['name'] not in cls.__members__:
        raise ValueError(f'the state of a {code["type"]} does not fit {path}')
    return cls[code['name']]


# ================================================================
# Generators and spaces, which have some
# ================================================================

def _set_generator(code, current, path, read):
    if current is None and 'internal' in code['state']:
        current = random.Random()
    elif current is None:
        bits = code['state']['bit_generator']
        if bits not in ('PCG64', 'PCG64DXSM', 'MT19937', 'Philox', 'SFC64'):
            raise ValueError(f'the state of {path} is of an unknown generator, {bits!r}')
        current = np.random.RandomState() if 'has_gauss' in code['state'] \
            else np.random.Generator(getattr(np.random, bits)())
    set_generator_state(current, code['state'])
    return current


def _parts_of(space):
    parts = getattr(space, 'spaces', ())
    return list(parts.values() if isinstance(parts, Mapping) else parts)


def _encode_space(space, path, seen):
    return {'generator': _encode(space._np_random, f'{path}.np_random', seen),
            'parts': {str(i): _encode(part, f'{path}.spaces[{i}]', seen) for i, part in enumerate(_parts_of(space))}}


def _set_space(code, space, path, read):
    if not isinstance(space, gymnasium.Space) or len(_parts_of(space)) != len(code['parts']):
        raise ValueError(f'the state of {path} does not fit {space}')
    space._np_random = _decode(code['generator'], space._np_random, f'{path}.np_random', read)
    for i, (part, its_code) in enumerate(zip(_parts_of(space), code['parts'].values(), strict=True)):
        if its_code['kind'] == 'space':
            _decode(its_code, part, f'{path}.spaces[{i}]', read)
    return space


# ================================================================
# Simulators
# ================================================================

def _encode_mujoco(data, path, seen):
    """The state that MuJoCo integrates, and what it has derived, a step ago, from the state before: tasks read that."""
    import mujoco
    integrated = np.empty(mujoco.mj_stateSize(data.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(data.model, data, integrated, mujoco.mjtState.mjSTATE_INTEGRATION)
    fresh = mujoco.MjData(data.model)
    derived = {}
    for name in dir(data):
        if not name.startswith('_') and _is_array(getattr(fresh, name, None)):
            value = getattr(data, name)
            if value.size and value.shape == getattr(fresh, name).shape:  # else it is of the constraints of a moment
                derived[name] = value.copy()
    return {'integrated': integrated, 'derived': derived}


def _set_mujoco(code, data, path, read):
    import mujoco
    if type(data).__name__ != 'MjData' or len(code['integrated']) != mujoco.mj_stateSize(
            data.model, mujoco.mjtState.mjSTATE_INTEGRATION):
        raise ValueError(f'the state of {path} is of another model')
    mujoco.mj_setState(data.model, data, code['integrated'], mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(data.model, data)
    mujoco.mj_setState(data.model, data, code['integrated'], mujoco.mjtState.mjSTATE_INTEGRATION)
    for name, value in code['derived'].items():
        getattr(data, name)[...] = value
    return data


def _encode_atari(ale, path, seen):
    return {'game': np.frombuffer(ale.cloneState(include_rng=True).serialize(), np.uint8).copy()}


def _set_atari(code, ale, path, read):
    from ale_py import ALEState
    ale.restoreState(ALEState(code['game'].tobytes()))
    return ale


def _named(*names):
    return lambda value: type(value).__name__ in names


KINDS = {
    'method': Kind(_is_method, lambda value, path, seen: {
        'name': value.__name__, 'self': _encode(value.__self__, f'{path}.__self__', seen)}, _set_method),
    'constant': Kind(lambda value: isinstance(value, CONSTANTS) or type(value).__name__ in MODELS,
                     lambda value, path, seen: {'label': _label(value)}, _check_constant),
    'member': Kind(lambda value: isinstance(value, enum.Enum) and value.name in type(value).__members__,
                   lambda value, path, seen: {'type': _name(value), 'name': value.name}, _set_member),
    'builtin': Kind(lambda value: type(value).__name__ in BUILTINS,
                    lambda value, path, seen: {'type': type(value).__name__,
                                               'numbers': BUILTINS[type(value).__name__][0](value)},
                    lambda code, current, path, read: BUILTINS[code['type']][1](*code['numbers'])),
    'number': Kind(lambda value: isinstance(value, np.generic) and value.dtype.kind in 'biufc',
                   lambda value, path, seen: {'value': np.array(value)},
                   lambda code, current, path, read: code['value'][()]),
    'letters': Kind(lambda value: isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'SU',
                    lambda value, path, seen: {'dtype': value.dtype.str, 'shape': list(value.shape),
                                               'bytes': np.frombuffer(value.tobytes(), np.uint8).copy()},
                    lambda code, current, path, read: np.frombuffer(
                        code['bytes'].tobytes(), code['dtype']).reshape(code['shape']).copy()[()]),
    'view': Kind(_is_array, _encode_view, _decode_view),
    'same': Kind(lambda value: False, lambda value, path, seen: {}, _decode_same),
    'sequence': Kind(lambda value: type(value) in (list, tuple, collections.deque), _encode_sequence, _decode_sequence),
    'mapping': Kind(lambda value: isinstance(value, dict), _encode_mapping, _decode_mapping),
    'generator': Kind(lambda value: isinstance(value, (np.random.Generator, np.random.RandomState))
                      or type(value) is random.Random,
                      lambda value, path, seen: {'state': generator_state(value)}, _set_generator),
    'space': Kind(lambda value: isinstance(value, gymnasium.Space), _encode_space, _set_space),
    'mujoco': Kind(_named('MjData'), _encode_mujoco, _set_mujoco),
    'atari': Kind(_named('ALEInterface'), _encode_atari, _set_atari),
    'stateful': Kind(_is_stateful, lambda value, path, seen: {'state': value.state()}, _set_stateful),
    'object': Kind(_is_python, _attributes, _set_attributes),
}
VALUES = ('constant', 'member', 'builtin', 'number', 'letters', 'same')
"""kinds of what does not change itself"""
