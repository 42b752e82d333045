"""The options of the command line that are keywords of `learn`, of its network and of its policy.

They are read from the source of what takes them, so that `--help` and bad input need not wait for TensorFlow. Networks
and policies that a user's module adds are known because it has imported what it adds them to.
"""
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

import gymnasium as gym

from onpolicybaselines import logger
from onpolicybaselines.common.checks import check_divides, check_minibatches, check_one_limit, check_single
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.cores import sees_images
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays
from onpolicybaselines.common.keywords import (
    check_ranges,
    constant,
    declared,
    describe,
    first_difference,
    fits,
    is_expressible,
    is_switch,
    keywords_of,
    nearest,
    parse_value,
    registered,
    table,
)
from onpolicybaselines.common.vec_env import VecEnv
from onpolicybaselines.session.start import package_of

Parameters = dict[str, inspect.Parameter]

# the arguments of `learn` that are not keywords of the command line, or have a flag of their own
OWN_FLAGS = ('env', 'total_timesteps', 'seed', 'network', 'policy', 'load_path', 'callback', 'eval_env', 'model_fn',
             'update_fn', 'init_fn', 'comm')


def learn_keywords(learn: Callable) -> Parameters:
    """Those of an algorithm's `learn`."""
    return _expressible(keywords_of(learn, skip=OWN_FLAGS))


def network_keywords(network: str | None) -> Parameters:
    """Those of a network. Raises UsageError for an unknown one."""
    return _expressible(keywords_of(find_network(network))) if network else {}


def policy_keywords(policy: str | None) -> Parameters:
    """Those of a policy for continuous actions. Raises UsageError for an unknown one."""
    return keywords_of(find_policy(policy), skip=constant('common.distributions', 'FAMILY_SIZES'))


def _expressible(parameters):
    """Those that a word of the command line can give: not functions."""
    return {name: p for name, p in parameters.items() if is_expressible(p.annotation)}


def takes_network(learn: Callable) -> bool:
    """Whether an algorithm has no network of its own."""
    return 'network' in keywords_of(learn)


def declared_learn(alg: str) -> Callable:
    """A stand-in for the algorithm's `learn` that says what it takes. Raises UsageError for an unknown algorithm."""
    return declared(f'{package_of(alg, alg)}.{alg}', 'learn')


def networks() -> Mapping[str, Callable]:
    """Those that --network may name, by name."""
    models = sys.modules.get('onpolicybaselines.common.models')
    return registered('common.models') if models is None else models.mapping


def policies() -> Mapping[str, Callable]:
    """Those that --policy may name, by name."""
    distributions = sys.modules.get('onpolicybaselines.common.distributions')
    return table('common.distributions', 'POLICIES') if distributions is None else distributions.POLICIES


def find_network(name: str | Callable) -> Callable:
    """What a network is built by. Raises UsageError for an unknown one."""
    if callable(name):
        return name
    if name not in networks():
        raise UsageError(f'unknown network {name!r}{nearest(name, networks())}')
    return networks()[name]


def find_policy(name: str | None) -> Callable:
    """The family of a policy. Raises UsageError for an unknown one."""
    if name not in (None, *policies()):
        raise UsageError(f'unknown policy {name!r}{nearest(str(name), policies())}')
    return policies()[name or 'gaussian']


def chosen(args: Namespace) -> dict[str, Any]:
    """Keywords that come from a loaded model, and the policy that is asked for. Raises UsageError."""
    return _chosen(_spec(args), args)


def _chosen(spec, args):
    kwargs = {name: value for name, value in spec.items() if value not in (None, 'custom')}
    return kwargs if args.policy is None else {**kwargs, 'policy': args.policy}


def _spec(args):
    """How the loaded model was asked for, {} without one. Raises UsageError where the file does not say it rightly."""
    if args.load_path is None:
        return {}
    _, meta = read_arrays(args.load_path)
    spec = meta.get('spec')
    if not isinstance(spec, dict):
        raise UsageError(f'{args.load_path!r} is not a model file written by --save_path (it names no policy)')
    if ('network' in spec) is not takes_network(declared_learn(args.alg)):
        raise UsageError(f'{args.load_path!r} does not fit --alg={args.alg}: it is of another algorithm')
    for name in ('network', 'policy'):
        if not isinstance(spec.get(name), (str, NoneType)):
            raise UsageError(f'{args.load_path!r} is damaged: its {name} is {spec[name]!r}')
    try:
        parameters = known(declared_learn(args.alg), {**spec, 'network': _unless_custom(spec.get('network'))})
    except UsageError as e:
        raise UsageError(f'{args.load_path!r} is damaged, or of another version: {e}') from None
    for name, value in spec.items():
        if name in parameters and value not in (None, 'custom') and not fits(value, parameters[name].annotation):
            raise UsageError(f'{args.load_path!r} is damaged: its {name} is {value!r}, expected '
                             f'{describe(parameters[name].annotation)}')
    return spec


def _unless_custom(name):
    return None if name == 'custom' else name


def _check_agreement(args, extra_args):
    """Raise UsageError for an option by which the loaded model would be another function."""
    spec = _spec(args)
    if not spec:
        return
    asked = {**extra_args, **{name: getattr(args, name) for name in ('network', 'policy') if getattr(args, name)}}
    defaults = {'policy': 'gaussian', 'value_network': 'shared', **{
        name: p.default for name, p in known(declared_learn(args.alg), _chosen(spec, args)).items()
        if name not in learn_keywords(declared_learn(args.alg))}}
    there = {**defaults, **{name: value for name, value in spec.items() if value is not None}}
    name = first_difference(asked, there)
    if name is not None:
        raise UsageError(f'--{name}={asked[name]} does not fit {args.load_path!r}, whose {name} is {there[name]}: '
                         'leave it out')


def known(learn: Callable, kwargs: Mapping[str, Any]) -> Parameters:
    """What may be given to `learn`, and to the network and the policy that `kwargs` name."""
    network = kwargs.get('network') if takes_network(learn) else None
    return {**learn_keywords(learn), **network_keywords(network), **policy_keywords(kwargs.get('policy'))}


def of_command_line(args: Namespace, learn: Callable, defaults: Mapping[str, Any], default_network: str) -> Parameters:
    """What the options of this run may be, whose `learn` has these `defaults`."""
    if args.network and not takes_network(learn):
        raise UsageError(f'{args.alg} has a network of its own: leave out --network={args.network}')
    return known(learn, _asked(args, defaults, default_network))


def _asked(args, defaults, default_network):
    kwargs = {'network': default_network, **defaults, **chosen(args)}
    return {**kwargs, 'network': args.network or kwargs['network']}


def check(args: Namespace, learn: Callable, defaults: Mapping[str, Any], default_network: str,
          extra_args: Mapping[str, Any]) -> None:
    """Raise UsageError for values that the algorithm, its network or its policy will refuse, as far as they are known
    before there is an environment."""
    _check_agreement(args, extra_args)
    if args.save_best and not args.eval_interval:
        raise UsageError('--save_best keeps the best model of evaluations: give --eval_interval, too')
    values = {**{name: p.default for name, p in learn_keywords(learn).items()},
              **_asked(args, defaults, default_network), **extra_args}
    takers = [learn, find_policy(values.get('policy'))]
    takers += [find_network(values['network'])] if takes_network(learn) else []
    for taker in takers:
        check_ranges(taker, values)
    if args.alg == 'trpo_mpi':
        check_divides(args.num_env, timesteps_per_batch=values['timesteps_per_batch'])
        check_one_limit(num_timesteps=args.num_timesteps, max_episodes=values['max_episodes'],
                        max_iters=values['max_iters'])
    elif args.alg == 'acktr_cont':
        check_single(args.num_env)
    elif args.alg == 'ppo2':
        check_minibatches(args.num_env, values['nsteps'], values['nminibatches'])


def trains(args: Namespace, alg_kwargs: Mapping[str, Any]) -> bool:
    """Whether there is anything to train, or only a model to save and to play."""
    return any([args.num_timesteps, alg_kwargs.get('max_episodes'), alg_kwargs.get('max_iters')])


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
    owners = [f'--policy={p}' for p in policies() if name in policy_keywords(p)]
    owners += [f'--network={n}' for n in networks() if name in network_keywords(n)]
    if name in keywords_of(declared('a2c.utils', 'conv')):
        return ' here: it is a keyword of single convolutions, for use as a library'
    return f' here: it goes with {" or ".join(owners)}' if owners else ''


def check_spaces(alg_kwargs: Mapping[str, Any], env: VecEnv, args: Namespace) -> None:
    """Raise UsageError for a loaded model of other actions."""
    if alg_kwargs.get('policy') and args.policy is None and not isinstance(env.action_space, gym.spaces.Box):
        raise UsageError(f'{args.load_path!r} does not fit --env={args.env}: it is of a policy for continuous actions')


def complete(alg_kwargs: dict[str, Any], learn: Callable, action_space: gym.Space) -> None:
    """Leave out the keywords of networks and policies that are not used; continuous actions have a policy by name."""
    if isinstance(action_space, gym.spaces.Box):
        alg_kwargs.setdefault('policy', 'gaussian')
    if not takes_network(learn):
        alg_kwargs.pop('network', None)
    of_some = set().union(*map(network_keywords, networks()), *map(policy_keywords, policies()))
    for name in of_some - known(learn, alg_kwargs).keys():
        alg_kwargs.pop(name, None)


def say_images(args: Namespace, alg_kwargs: Mapping[str, Any], observation_space: gym.Space) -> None:
    """A line in the log where images go into a network for vectors that nobody has asked for."""
    if sees_images(observation_space) and alg_kwargs.get('network') == 'mlp' and not (args.network or args.load_path):
        logger.warn(f'Observations are images {observation_space.shape}, and mlp takes them for vectors: --network=cnn '
                    'is for images')
