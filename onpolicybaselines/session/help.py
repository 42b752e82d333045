"""--help: what every option is, of those that apply to the algorithm, environment, policy and network asked for."""
import argparse
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gymnasium as gym

from onpolicybaselines.common.keywords import describe, sentences
from onpolicybaselines.common.log_files import give_up_stdout
from onpolicybaselines.session import options
from onpolicybaselines.session.start import ALGORITHMS, TAKE_RECURRENT

CONTINUOUS = ('mujoco', 'rllab', 'roboschool')  # types of environments by their actions
DISCRETE = ('atari', 'toy_text')


def print_help(parser: argparse.ArgumentParser, args: argparse.Namespace, learn: Callable, defaults: Mapping[str, Any],
               default_network: str, env_type: str) -> None:
    """Those of every run, then the keywords of the algorithm, and of policies and networks: of the ones asked for, or
    else of all that the algorithm takes and the actions of the environment, if known, have.

    learn: the algorithm's, or its stand-in, with these `defaults` for this type of environment.
    """
    try:
        print('\n'.join(_lines(parser, args, learn, defaults, default_network, env_type)), flush=True)
    except BrokenPipeError:  # such as `| head`
        give_up_stdout()


def _lines(parser, args, learn, defaults, default_network, env_type):
    policies = [] if are_discrete(args.env, env_type) else list(options.policies())
    networks = networks_for(args.alg, learn)
    choices = {'alg': ALGORITHMS, 'policy': policies, 'network': networks}
    yield f'usage: {parser.prog} --name=value ...'
    yield '\nEvery run:'
    yield from _flag_lines(parser, choices, defaults.get('network') or default_network)
    yield f'\n{args.alg}.learn, defaults for {args.env} ({env_type}):'
    yield from _keyword_lines(learn, options.learn_keywords(learn), defaults)
    groups = [(f'--policy={name} (continuous actions)', options.find_policy(name), options.policy_keywords(name))
              for name in ([args.policy] if args.policy and policies else policies)]
    groups += [(f'--network={name}', options.find_network(name), options.network_keywords(name))
               for name in ([args.network] if args.network else networks)]
    for title, owner, parameters in groups:
        if parameters:
            yield f'\n{title}:'
            yield from _keyword_lines(owner, parameters, defaults)
    without = [title.partition(' ')[0] for title, _, parameters in groups if not parameters]
    if without:
        yield ''
        yield from _wrapped(f'No options of their own have {", ".join(without)}.', 0, 0)


def networks_for(alg: str, learn: Callable) -> list[str]:
    """The networks that an algorithm takes."""
    if not options.takes_network(learn):
        return []
    return [name for name in options.networks() if alg in TAKE_RECURRENT or 'lstm' not in name]


def are_discrete(env_id: str, env_type: str) -> bool:
    """Whether the actions of the environment are known to be discrete, and so have no policy to choose."""
    if env_type == 'classic_control':  # made in milliseconds
        with gym.make(env_id) as env:
            return not isinstance(env.action_space, gym.spaces.Box)
    return env_type in DISCRETE


def _flag_lines(parser, choices, network):
    for action in parser._actions:
        if action.dest in choices and not choices[action.dest]:
            continue  # nothing to choose
        kind = getattr(action.type, 'words', '')
        if action.choices:
            kind = 'one of ' + ', '.join(action.choices)
        if action.dest in choices:
            kind = 'one of ' + ', '.join(choices[action.dest])
        default = network if action.dest == 'network' else action.default
        yield from _option(action.dest, None if action.nargs == 0 else default, kind, action.help)


def _keyword_lines(owner: Callable, parameters: options.Parameters, defaults: Mapping[str, Any]) -> Iterable[str]:
    meaning = sentences(owner)
    for name, p in parameters.items():
        default = defaults.get(name, p.default)
        yield from _option(name, str(default), describe(p.annotation), meaning.get(name, ''))


def _option(name, default, kind, sentence):
    """Of every option the default (None: there is none), what it may be, and a sentence."""
    head = f'--{name}' + (f'={default}' if default is not None else '') + (f'  ({kind})' if kind else '')
    yield from _wrapped(head, 2, 8)
    yield from _wrapped(sentence, 8, 8)


def _wrapped(text, first, later):
    """As wide as the terminal, from 60 to 112 columns."""
    width = min(max(shutil.get_terminal_size().columns, 60), 112)
    return textwrap.wrap(text, width, initial_indent=first * ' ', subsequent_indent=later * ' ',
                         break_long_words=False, break_on_hyphens=False)
