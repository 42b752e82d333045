"""--config: options from a file, for which those of the command line are put in."""
import json
import os.path as osp
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from onpolicybaselines.common.checkpoint import from_first
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.flags import OneLineParser
from onpolicybaselines.session.record import words_of

# of a run whose config.json is given: where it wrote, and how it was begun
OF_THAT_RUN = ('log_path', 'save_path', 'overwrite', 'resume')


def with_config(words: Sequence[str]) -> list[str]:
    """The words of the command line, after those of the file that --config names; so they count where both say
    something. All ranks must ask. Raises UsageError, one line, for a file that is none of options."""
    parser = OneLineParser(allow_abbrev=False, add_help=False)
    parser.add_argument('--config')
    args, others = parser.parse_known_args(words)
    return list(words) if args.config is None else [*from_first(words_of_file, args.config), *others]


def words_of_file(path: str) -> list[str]:
    """Options of a YAML or JSON file as words: of names and values, or the record of a run, its config.json, whose
    seed is among them. Raises UsageError, one line, for anything else."""
    try:
        with open(osp.expanduser(path), encoding='utf-8') as fh:
            content = json.load(fh) if path.endswith('.json') else yaml.safe_load(fh)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as e:
        raise UsageError(f'--config={path} cannot be read ({" ".join(str(e).split())})') from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UsageError(f'--config={path}: expected options, a line "name: value" each')
    if {'command', 'args'} <= content.keys():
        return _words_of_run(path, content)
    flags = {action.dest: action for action in common_arg_parser()._actions}
    return [word for name, value in content.items() for word in _words(path, name, value, flags.get(name))]


def _words_of_run(path: str, config: Mapping[str, Any]) -> list[str]:
    try:
        return _without(OF_THAT_RUN, words_of(config))
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f'--config={path} is a damaged record of a run') from None


def _without(names, words):
    parser = OneLineParser(allow_abbrev=False, add_help=False)
    for action in common_arg_parser()._actions:
        if action.dest in names:
            parser.add_argument(f'--{action.dest}', **({'action': 'store_true'} if action.nargs == 0 else {}))
    return parser.parse_known_args(words)[1]


def _words(path, name, value, flag):
    if name in ('config', 'help') or isinstance(value, Mapping):
        raise UsageError(f'--config={path}: {name} is no option with a value')
    if flag and value is None:
        return []
    if flag and flag.nargs == 0:
        if type(value) is not bool:
            raise UsageError(f'--config={path}: {name} must be true or false')
        return [f'--{name}'] * value
    return [f'--{name}={_tuples(value)}']


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
