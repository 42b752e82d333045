"""The states of environments, through all wrappers: what gymnasium lacks.

`env_state(env)` is a state as `common/state.py` has it, of a gymnasium.Env, a VectorEnv or a VecEnv. From it an
environment that was made alike goes on to the bit: `set_env_state(env, state)`. Both walk the attributes. Numbers,
texts, arrays, containers, random generators, the simulators of MuJoCo and Atari are taken. Functions, models and the
like are what the environment was made with. A part with `state` and `set_state` speaks for itself. What is none of that
(a simulator written in C, a socket) is a NoStateError that names it.
"""
import collections
import enum
import functools
import os
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from onpolicybaselines.common.state import State, generator_state, set_generator_state

PICTURES = ('screen', 'clock', 'surf', 'viewer', 'window', 'window_surface', 'mujoco_renderer', 'video_recorder')
"""attributes that draw, and do not decide what happens"""
CONSTANTS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, functools.partial, type,
             np.ufunc, np.dtype, enum.Enum, re.Pattern, os.PathLike, bytes, complex, slice, range,
             gymnasium.envs.registration.EnvSpec)
MODELS = ('MjModel', 'MjSpec')
HEAP_TYPE = 1 << 9  # CPython's flag of a class that a class statement has made


class NoStateError(TypeError):
    """An environment whose state cannot be taken; the message names the part."""


class Kind(NamedTuple):
    """How one kind of attribute is told, written and read back."""

    fits: Callable[[Any], bool]
    encode: Callable[[Any, str, tuple], State]
    """(value, its place, ids of the objects it is in) to a code"""
    decode: Callable[[Mapping[str, Any], Any, str], Any]
    """(code, the attribute as it is, its place) to the value; in place where that can be"""


def env_state(env: Any) -> State:
    """All that the future of an environment depends on, and its parameters. Raises NoStateError."""
    return _attributes(env, type(env).__name__, ())


def set_env_state(env: Any, state: Mapping[str, Any]) -> None:
    """Go back to what `env_state` gave of an environment that was made alike. Raises ValueError if it was not."""
    _set_attributes(state, env, type(env).__name__)


def _attributes(thing, path, above):
    if id(thing) in above:
        raise NoStateError(f'the state of {path} cannot be taken: it is inside of itself')
    above = (*above, id(thing))
    return {'type': _name(thing), 'attributes': {name: _encode(value, f'{path}.{name}', above)
                                                 for name, value in vars(thing).items() if name not in PICTURES}}


def _set_attributes(state, thing, path):
    if thing is None or state.get('type') != _name(thing):
        raise ValueError(f'the state of a {state.get("type")} does not fit {path}, a {_name(thing)}')
    codes, attributes = state['attributes'], vars(thing)
    if codes.get('num_envs') != attributes.get('num_envs'):
        raise ValueError(f'the state is of {codes["num_envs"]} environments, {path} has {attributes["num_envs"]}')
    for name, code in codes.items():
        attributes[name] = _decode(code, attributes.get(name), f'{path}.{name}')
    return thing


def _name(thing):
    return f'{type(thing).__module__}.{type(thing).__qualname__}'


def _is_json(value):
    return value is None or type(value) in (bool, int, float, str)


def _is_array(value):
    return type(value) is np.ndarray and value.dtype.kind in 'biufc'


def _is_of_a_simulator(array):
    """Whether an array shows memory that is not numpy's."""
    while isinstance(getattr(array, 'base', None), np.ndarray):
        array = array.base
    return isinstance(array, np.ndarray) and array.base is not None


def _encode(value, path, above):
    """JSON values and arrays are their own codes, all else is a dictionary with a 'kind'."""
    if _is_json(value):
        return value
    if _is_array(value):
        return value.copy()
    for kind, (fits, encode, _) in KINDS.items():
        if fits(value):
            return {'kind': kind, **encode(value, path, above)}
    raise NoStateError(f'the state of {path} cannot be taken: it is a {_name(value)}, which hides it')


def _decode(code, current, path):
    if isinstance(code, np.ndarray):
        if not _is_of_a_simulator(current):
            return code.copy()
        current[...] = code
        return current
    return KINDS[code['kind']].decode(code, current, path) if isinstance(code, Mapping) else code


# ================================================================
# Containers and objects
# ================================================================

def _encode_sequence(value, path, above):
    code = {'type': type(value).__name__, 'maxlen': getattr(value, 'maxlen', None)}
    if {type(part) for part in value} in ({float}, {int}):  # thousands of returns and lengths, in a Monitor
        numbers = np.array(value)
        if numbers.dtype.kind in 'if':
            return {**code, 'numbers': numbers}
    if all(map(_is_json, value)):
        return {**code, 'values': list(value)}
    return {**code, 'parts': {str(i): _encode(part, f'{path}[{i}]', above) for i, part in enumerate(value)}}


def _decode_sequence(code, current, path):
    known = list(current) if isinstance(current, (list, tuple, collections.deque)) else []
    values = code['numbers'].tolist() if 'numbers' in code else code.get('values', ())
    parts = code.get('parts') or dict(enumerate(values))
    values = [_decode(part, known[i] if i < len(known) else None, f'{path}[{i}]')
              for i, part in enumerate(parts.values())]
    if code['type'] == 'list' and type(current) is list:
        current[:] = values
        return current
    return collections.deque(values, code['maxlen']) if code['type'] == 'deque' else {
        'list': list, 'tuple': tuple}[code['type']](values)


def _encode_mapping(value, path, above):
    if not all(type(key) in (str, int, type(None)) for key in value):
        raise NoStateError(f'the state of {path} cannot be taken: its keys are no texts')
    return {'parts': {f'{type(key).__name__} {key}': _encode(part, f'{path}[{key!r}]', above)
                      for key, part in value.items()}}


def _decode_mapping(code, current, path):
    current = current if isinstance(current, dict) else {}
    read = {'str': str, 'int': int, 'NoneType': lambda _: None}
    values = {}
    for text, part in code['parts'].items():
        kind, _, key = text.partition(' ')
        key = read[kind](key)
        values[key] = _decode(part, current.get(key), f'{path}[{key!r}]')
    current.clear()
    current.update(values)
    return current


def _is_python(value):
    """Whether its class is written in Python, so that its attributes are all there is."""
    cls = type(value)
    builtin = next(base for base in cls.__mro__ if not base.__flags__ & HEAP_TYPE)
    return hasattr(value, '__dict__') and builtin is object and type(cls).__module__ in ('builtins', 'abc', 'typing')


def _is_stateful(value):
    return all(callable(getattr(type(value), name, None)) for name in ('state', 'set_state'))


def _set_stateful(code, current, path):
    if not _is_stateful(current):
        raise ValueError(f'the state of {path} does not fit a {_name(current)}')
    current.set_state(code['state'])
    return current


# ================================================================
# Generators and spaces, which have some
# ================================================================

def _set_generator(code, current, path):
    if current is None:
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


def _encode_space(space, path, above):
    return {'generator': _encode(space._np_random, path, above),
            'parts': {str(i): _encode(part, path, above) for i, part in enumerate(_parts_of(space))}}


def _set_space(code, space, path):
    if not isinstance(space, gymnasium.Space) or len(_parts_of(space)) != len(code['parts']):
        raise ValueError(f'the state of {path} does not fit {space}')
    space._np_random = _decode(code['generator'], space._np_random, path)
    for part, its_code in zip(_parts_of(space), code['parts'].values(), strict=True):
        _set_space(its_code, part, path)
    return space


# ================================================================
# Simulators
# ================================================================

def _encode_mujoco(data, path, above):
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


def _set_mujoco(code, data, path):
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


def _encode_atari(ale, path, above):
    return {'game': np.frombuffer(ale.cloneState(include_rng=True).serialize(), np.uint8).copy()}


def _set_atari(code, ale, path):
    from ale_py import ALEState
    ale.restoreState(ALEState(code['game'].tobytes()))
    return ale


def _named(*names):
    return lambda value: type(value).__name__ in names


KINDS = {
    'constant': Kind(lambda value: isinstance(value, CONSTANTS) or type(value).__name__ in MODELS,
                     lambda value, path, above: {}, lambda code, current, path: current),
    'number': Kind(lambda value: isinstance(value, np.generic) and value.dtype.kind in 'biufc',
                   lambda value, path, above: {'value': np.array(value)},
                   lambda code, current, path: code['value'][()]),
    'letters': Kind(lambda value: isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'SU',
                    lambda value, path, above: {'dtype': value.dtype.str, 'shape': list(value.shape),
                                                'bytes': np.frombuffer(value.tobytes(), np.uint8).copy()},
                    lambda code, current, path: np.frombuffer(
                        code['bytes'].tobytes(), code['dtype']).reshape(code['shape']).copy()[()]),
    'sequence': Kind(lambda value: type(value) in (list, tuple, collections.deque), _encode_sequence, _decode_sequence),
    'mapping': Kind(lambda value: isinstance(value, dict), _encode_mapping, _decode_mapping),
    'generator': Kind(lambda value: isinstance(value, (np.random.Generator, np.random.RandomState)),
                      lambda value, path, above: {'state': generator_state(value)}, _set_generator),
    'space': Kind(lambda value: isinstance(value, gymnasium.Space), _encode_space, _set_space),
    'mujoco': Kind(_named('MjData'), _encode_mujoco, _set_mujoco),
    'atari': Kind(_named('ALEInterface'), _encode_atari, _set_atari),
    'stateful': Kind(_is_stateful, lambda value, path, above: {'state': value.state()}, _set_stateful),
    'object': Kind(_is_python, _attributes, _set_attributes),
}
