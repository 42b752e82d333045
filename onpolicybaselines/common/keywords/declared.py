"""What a function of a module takes, read from the module's source: without importing it, and so without TensorFlow.

Only files of this package are read, and nothing in them is run. What an annotation names is taken from a module that is
imported already, or else from the source of one of ours; with anything else it counts as `Callable`, which no text can
give. So does a stand-in for a function agree with the function itself, for all of this file's neighbours.
"""
import ast
import functools
import importlib.util
import pathlib
import sys
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from types import MappingProxyType
from typing import Any

_PACKAGE = __name__.partition('.')[0]


class _UnknownError(Exception):
    """What stands there is not known without an import."""


@functools.cache
def declared(module: str, name: str) -> Callable:
    """A stand-in, not to be called, for the function or class `name` of `module` (such as 'a2c.a2c'): of the same name,
    parameters, annotations and docstring. A default that is no literal is its text."""
    node = _definitions(module)[name]
    function, skipped = (_init_of(module, node), 1) if isinstance(node, ast.ClassDef) else (node, 0)
    parameters = _parameters(module, function.args)[skipped:] if function else []

    def stand_in(*_args, **_kwargs):
        raise NotImplementedError(f'{name} is only declared')
    stand_in.__name__ = stand_in.__qualname__ = name
    stand_in.__doc__ = ast.get_docstring(node)
    stand_in.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    stand_in.__signature__ = Signature(parameters)
    return stand_in


@functools.cache
def registered(module: str, decorator: str = 'register') -> Mapping[str, Callable]:
    """Stand-ins for the functions of `module` under `@register('name')`, by that name."""
    return MappingProxyType({
        call.args[0].value: declared(module, node.name)
        for node in _definitions(module).values() if isinstance(node, ast.FunctionDef)
        for call in node.decorator_list if isinstance(call, ast.Call) and ast.unparse(call.func) == decorator})


@functools.cache
def table(module: str, name: str) -> Mapping[str, Callable]:
    """Stand-ins for the functions and classes of `module` that are the values of its dict `name`."""
    node = _definitions(module)[name]
    return MappingProxyType({ast.literal_eval(key): declared(module, value.id)
                             for key, value in zip(node.keys, node.values, strict=True)})


def constant(module: str, name: str) -> Any:
    """The literal that `module` binds to `name`."""
    return ast.literal_eval(_definitions(module)[name])


@functools.cache
def _definitions(module):
    """{name: node} of functions, classes, values and imports of a module."""
    found = {}
    for node in _source(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update({alias.asname or alias.name: node for alias in node.names})
    return found


def _source(module):
    base = pathlib.Path(importlib.util.find_spec(_PACKAGE).origin).parent.joinpath(*module.split('.'))
    path = base.with_suffix('.py')
    return ast.parse((path if path.exists() else base / '__init__.py').read_text(encoding='utf-8'))


def _init_of(module, cls):
    """Its `__init__`, or that of its first base; None if a base is from elsewhere."""
    own = [node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == '__init__']
    bases = [_definitions(module).get(ast.unparse(base)) for base in cls.bases]
    inherited = [_init_of(module, base) for base in bases if isinstance(base, ast.ClassDef)]
    return next(filter(None, [*own, *inherited]), None)


def _parameters(module, args):
    def parameter(arg, kind, default=None):
        return Parameter(arg.arg, kind, default=Parameter.empty if default is None else _default(default),
                         annotation=_annotation(module, arg.annotation))
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    kinds = [Parameter.POSITIONAL_ONLY] * len(args.posonlyargs) + [Parameter.POSITIONAL_OR_KEYWORD] * len(args.args)
    return [*map(parameter, positional, kinds, defaults),
            *([parameter(args.vararg, Parameter.VAR_POSITIONAL)] if args.vararg else []),
            *(parameter(arg, Parameter.KEYWORD_ONLY, default)
              for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)),
            *([parameter(args.kwarg, Parameter.VAR_KEYWORD)] if args.kwarg else [])]


def _default(node):
    match node:
        case ast.Call(ast.Name('int'), [ast.Constant(float(number))], []):  # int(1e6)
            return int(number)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _annotation(module, node):
    if node is None:
        return Parameter.empty
    try:
        return _value(module, node)
    except _UnknownError:
        return Callable


def _value(module, node):
    """The value of an expression of an annotation."""
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return _named(module, name)
        case ast.Attribute(owner, name):
            return _attribute(_value(module, owner), name)
        case ast.Subscript(generic, index):
            return _value(module, generic)[_value(module, index)]
        case ast.BinOp(left, ast.BitOr(), right):
            return _value(module, left) | _value(module, right)
        case ast.Tuple(elements):
            return tuple(_value(module, element) for element in elements)
        case ast.List(elements):
            return [_value(module, element) for element in elements]
        case ast.Dict(keys):
            return dict.fromkeys(map(ast.literal_eval, keys))
        case ast.Call(ast.Name('tuple'), [argument], []):
            return tuple(_value(module, argument))
    raise _UnknownError(ast.unparse(node))


def _named(module, name):
    node = _definitions(module).get(name)
    match node:
        case None:
            return _attribute(sys.modules['builtins'], name)
        case ast.Import():
            return _import(_original(node, name))
        case ast.ImportFrom():
            return _imported(node.module, _original(node, name))
        case ast.FunctionDef() | ast.ClassDef():
            raise _UnknownError(name)
    return _value(module, node)


def _original(node, name):
    """What an import calls `name` where it is from."""
    return next(alias.name for alias in node.names if name in (alias.asname, alias.name))


def _imported(module, name):
    """`name` of a module, if it is imported, or ours."""
    if module in sys.modules:
        return _attribute(sys.modules[module], name)
    package, _, ours = module.partition('.')
    if package != _PACKAGE:
        raise _UnknownError(f'{module}.{name}')
    return _named(ours, name)


def _import(module):
    if module not in sys.modules:
        raise _UnknownError(module)
    return sys.modules[module]


def _attribute(owner, name):
    try:
        return getattr(owner, name)
    except AttributeError:
        raise _UnknownError(name) from None
