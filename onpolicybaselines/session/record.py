"""config.json of the run folder: what it takes to repeat a run, or to go on with it."""
import argparse
import datetime
import importlib.metadata
import json
import os.path as osp
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import git_revision, replacing
from onpolicybaselines.common.mpi_world import rank, size
from onpolicybaselines.session import options

CONFIG = 'config.json'
NUMBERS = ('seed', 'num_timesteps')  # of the arguments: what a run that goes on is told anew
PACKAGES = ('onpolicybaselines', 'tensorflow', 'tensorflow-probability', 'gymnasium', 'mujoco', 'numpy', 'mpi4py')


def begin_config(folder: str, args: argparse.Namespace, extra_args: Mapping[str, Any], words: Sequence[str]) -> None:
    """Write what is known before there is a model.

    extra_args: the keywords that the words of the command line give.
    """
    command = ['python', '-m', 'onpolicybaselines.run', *(word for word in words if word != '--resume')]
    launcher = ['mpirun', '-n', str(size())] if size() > 1 else []
    seed = [] if any(word.partition('=')[0] == '--seed' for word in words) else [f'--seed={args.seed}']
    _write(folder, {'command': command, 'launch': shlex.join([*launcher, *command, *seed]), 'args': vars(args),
                    'options': dict(extra_args), 'ranks': size(), **_now()})


def resume_config(folder: str, args: argparse.Namespace) -> None:
    """Write that the run goes on: up to where, when and by which versions."""
    config = read_config(folder)
    config['args']['num_timesteps'] = args.num_timesteps
    config['resumed'] = [*config.get('resumed', []), _now()]
    _write(folder, config)


def write_config(env_type: str, learn: Callable, alg_kwargs: Mapping[str, Any]) -> None:
    """Rank 0 adds every parameter (null: for `learn` to decide, which it logs), and warns where a run goes on by
    other versions than it was begun with."""
    if rank() > 0:
        return
    config = read_config(logger.get_dir())
    resolved = {name: p.default for name, p in options.known(learn, alg_kwargs).items() if p.default is not p.empty}
    _write(logger.get_dir(), {**config, 'env_type': env_type, 'alg_kwargs': {**resolved, **alg_kwargs}})
    for again in config.get('resumed', [])[-1:]:
        changed = [f'{name} {version} for {config["versions"].get(name)}' for name, version in again['versions'].items()
                   if version != config['versions'].get(name)]
        if changed:
            logger.warn(f'Going on with {", ".join(changed)}: this need not be exactly the run that never stopped')


def read_config(folder: str) -> dict[str, Any]:
    """The record of the run in a folder. Raises UsageError if it cannot be read."""
    path = osp.join(folder, CONFIG)
    try:
        with open(path, encoding='utf-8') as fh:
            config = json.load(fh)
        if not (all(isinstance(config[name], dict) for name in ('args', 'options', 'versions'))
                and all(type(number) is int for number in (config['ranks'], *map(config['args'].get, NUMBERS)))
                and isinstance(config['command'], list) and all(isinstance(word, str) for word in config['command'])):
            raise ValueError('it is not the record of a run')
        return config
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
        raise UsageError(f'{path} cannot be read ({type(e).__name__}: {" ".join(str(e).split())})') from None


def words_of(config: Mapping[str, Any]) -> list[str]:
    """The words of the command line of a run, after the program; with its seed, and its steps, which may have been
    raised."""
    words = [word for word in config['command'][3:] if word != '--overwrite']
    return [*words, *(f'--{name}={config["args"][name]}' for name in NUMBERS)]


def _write(folder, config):
    with replacing(osp.join(folder, CONFIG), encoding='utf-8') as fh:
        json.dump(config, fh, indent=2, default=str)
        fh.write('\n')


def as_json(value: Any) -> Any:
    """What is read back of a value in the record."""
    return json.loads(json.dumps(value, default=str))


def _now():
    return {'versions': {'python': sys.version.split()[0], **{p: _version(p) for p in PACKAGES}},
            'git': git_revision(osp.dirname(__file__)),
            'started': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')}


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
