"""The options of the command line that are keywords of `learn`, of its network and of its policy.

Imports that need TensorFlow are inside functions: `start.start_tensorflow` comes first, and quiets it.
"""
import inspect
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gymnasium as gym

from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import (
    describe,
    is_expressible,
    is_switch,
    keywords_of,
    nearest,
    parse_value,
    sentences,
)

Parameters = dict[str, inspect.Parameter]

# the arguments of `learn` that are not keywords of the command line, or have a flag of their own
OWN_FLAGS = ('env', 'total_timesteps', 'seed', 'network', 'policy', 'load_path', 'callback')


def learn_keywords(learn: Callable) -> Parameters:
    """Those of an algorithm's `learn`."""
    return _expressible(keywords_of(learn, skip=OWN_FLAGS))


def network_keywords(network: str | None) -> Parameters:
    """Those of a network. Raises UsageError for an unknown one."""
    from onpolicybaselines.common.models import get_network_builder
    return _expressible(keywords_of(get_network_builder(network))) if network else {}


def policy_keywords(policy: str | None) -> Parameters:
    """Those of a policy for continuous actions. Raises UsageError for an unknown one."""
    from onpolicybaselines.common.distributions import FAMILY_SIZES, POLICIES
    if policy not in (None, *POLICIES):
        raise UsageError(f'unknown policy {policy!r}{nearest(policy, POLICIES)}')
    return keywords_of(POLICIES[policy or 'gaussian'], skip=FAMILY_SIZES)


def _expressible(parameters):
    """Those that a word of the command line can give: not functions."""
    return {name: p for name, p in parameters.items() if is_expressible(p.annotation)}


def _takes_network(learn):
    return 'network' in keywords_of(learn)


def _networks():
    from onpolicybaselines.common.models import mapping
    return mapping


def _policies():
    from onpolicybaselines.common.distributions import POLICIES
    return POLICIES


def chosen(args: Namespace) -> dict[str, Any]:
    """Keywords that come from a loaded model, and the policy that is asked for."""
    kwargs = {}
    if args.load_path:
        from onpolicybaselines.common.tf_util import load_variables
        _, meta = load_variables(args.load_path)
        kwargs = {name: value for name, value in meta.get('spec', {}).items() if value not in (None, 'custom')}
    return kwargs if args.policy is None else {**kwargs, 'policy': args.policy}


def known(learn: Callable, kwargs: Mapping[str, Any]) -> Parameters:
    """What may be given to `learn`, and to the network and the policy that `kwargs` name."""
    network = kwargs.get('network') if _takes_network(learn) else None
    return {**learn_keywords(learn), **network_keywords(network), **policy_keywords(kwargs.get('policy'))}


def of_command_line(args: Namespace, learn: Callable, defaults: Mapping[str, Any], default_network: str) -> Parameters:
    """What the options of this run may be, whose `learn` has these `defaults`."""
    if args.network and not _takes_network(learn):
        raise UsageError(f'{args.alg} has a network of its own: leave out --network={args.network}')
    kwargs = {'network': default_network, **defaults, **chosen(args)}
    return known(learn, {**kwargs, 'network': args.network or kwargs['network']})


def parse(name: str, text: str | None, parameters: Parameters) -> Any:
    """The value of an option by the type of the parameter of that name; without a text, that of a switch.

    Raises UsageError for an unknown name or a value of another type. Nothing is evaluated.
    """
    if name not in parameters:
        raise UsageError(f'unknown option --{name}{_owner_hint(name) or _nearest_option(name, parameters)}')
    annotation = parameters[name].annotation
    if text is None and not is_switch(annotation):
        raise UsageError(f'option --{name} needs a value: --{name}=value')
    return text is None or parse_value(name, text, annotation)


def _nearest_option(name, parameters):
    flags = [action.dest for action in common_arg_parser()._actions]
    return nearest(f'--{name}', [f'--{known}' for known in (*parameters, *flags)]) or '; --help lists all'


def _owner_hint(name):
    """Which other policy or network a keyword belongs to."""
    owners = [f'--policy={p}' for p in _policies() if name in policy_keywords(p)]
    owners += [f'--network={n}' for n in _networks() if name in network_keywords(n)]
    return f' here: it goes with {" or ".join(owners)}' if owners else ''


def complete(alg_kwargs: dict[str, Any], learn: Callable, action_space: gym.Space) -> None:
    """Leave out the keywords of networks and policies that are not used; continuous actions have a policy by name."""
    if isinstance(action_space, gym.spaces.Box):
        alg_kwargs.setdefault('policy', 'gaussian')
    if not _takes_network(learn):
        alg_kwargs.pop('network', None)
    of_some = set().union(*map(network_keywords, _networks()), *map(policy_keywords, _policies()))
    for name in of_some - known(learn, alg_kwargs).keys():
        alg_kwargs.pop(name, None)


def print_help(arg_parser: ArgumentParser, alg: str, learn: Callable, defaults: Mapping[str, Any]) -> None:
    """All options: those that all algorithms have, then all keywords of this one, of every network and every policy
    that it takes, by where they go."""
    groups = [(f'{alg}.learn (defaults for MuJoCo)', learn, learn_keywords(learn))]
    groups += [(f'--policy={p} (continuous actions)', family, policy_keywords(p)) for p, family in _policies().items()]
    if _takes_network(learn):
        groups += [(f'--network={n}', builder, network_keywords(n)) for n, builder in _networks().items()]
    arg_parser.print_help()
    for title, owner, parameters in groups:
        print(f'\n{title}:')
        print('\n'.join(_help_lines(owner, parameters, defaults)) or '  (no options)')


def _help_lines(owner: Callable, parameters: Parameters, defaults: Mapping[str, Any]) -> Iterable[str]:
    meaning = sentences(owner)
    for name, p in parameters.items():
        yield f'  --{name}={defaults.get(name, p.default)}  ({describe(p.annotation)})'
        yield from textwrap.wrap(meaning.get(name, ''), 112, initial_indent=8 * ' ', subsequent_indent=8 * ' ')
