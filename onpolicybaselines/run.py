"""The command line: `python -m onpolicybaselines.run --alg=trpo_mpi --policy=flow --env=Hopper-v5`."""
import argparse
import contextlib
import datetime
import importlib.metadata
import inspect
import json
import os
import os.path as osp
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.cmd_util import common_arg_parser, make_vec_env, parse_unknown_args
from onpolicybaselines.common.compiled import to_numpy
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import describe, is_expressible, is_switch, keywords_of, nearest, parse_value
from onpolicybaselines.common.mpi_world import abort, abort_on_exception, get_comm, rank as get_rank, size
from onpolicybaselines.common.progress import Progress
from onpolicybaselines.common.vec_env import VecEnv, VecFrameStack
from onpolicybaselines.common.vec_env.vec_video_recorder import VecVideoRecorder

try:
    import ale_py
    gym.register_envs(ale_py)
except ImportError:
    pass

# modules: of `learn`, and of its defaults by type of environment
ALGORITHMS = {
    'a2c': ('a2c.a2c', None),
    'acktr': ('acktr.acktr', 'acktr.defaults'),
    'acktr_cont': ('acktr.acktr_cont', None),
    'trpo_mpi': ('trpo_mpi.trpo_mpi', 'trpo_mpi.defaults'),
}
PACKAGES = ('onpolicybaselines', 'tensorflow', 'tensorflow-probability', 'gymnasium', 'mujoco', 'numpy', 'mpi4py')

# the arguments of `learn` that are not keywords of the command line, or have a flag of their own
_OWN_FLAGS = ('env', 'total_timesteps', 'seed', 'network', 'policy', 'load_path', 'callback')


def train(args: argparse.Namespace, extra_args: dict) -> tuple[Any, VecEnv]:
    """Train as the command line says, with the keywords `extra_args` of `learn`; returns (model, environment)."""
    env_type, env_id = get_env_type(args)

    total_timesteps = int(args.num_timesteps)

    learn = get_learn_function(args.alg)
    alg_kwargs = dict(extra_args)

    env = build_env(args)
    if isinstance(env.action_space, gym.spaces.Box):
        alg_kwargs.setdefault('policy', 'gaussian')
    if get_rank() == 0:
        write_config(args, env_type, alg_kwargs)
    logger.log(f'Training {args.alg} on {env_type}:{env_id} with arguments \n{alg_kwargs}')

    try:
        with Progress(total_timesteps, enabled=get_rank() == 0) as progress:
            model = learn(
                env=env,
                seed=args.seed,
                total_timesteps=total_timesteps,
                load_path=args.load_path,
                callback=lambda values, _: progress.update(values['timesteps_so_far'], values['rewbuffer']),
                **alg_kwargs
            )
    except BaseException:
        env.close()
        raise

    return model, env


def build_env(args: argparse.Namespace, num_env: int | None = None, render_mode: str | None = None) -> VecEnv:
    """The environments of this rank, args.num_env if not `num_env`; filmed on rank 0 if the command line says so."""
    alg = args.alg

    env_type, env_id = get_env_type(args)
    filming = args.save_video_interval and get_rank() == 0
    if filming:
        render_mode = 'rgb_array'
    env_kwargs = {'render_mode': render_mode} if render_mode else {}

    env = _usable(make_vec_env, env_id, env_type, num_env or args.num_env, args.seed, reward_scale=args.reward_scale,
                  env_kwargs=env_kwargs)
    if env_type == 'atari' and alg != 'trpo_mpi':
        env = VecFrameStack(env, 4)
    return record_video(env, args) if filming else env


def record_video(env: VecEnv, args: argparse.Namespace) -> VecEnv:
    """Film `env` into the run folder, every save_video_interval steps for save_video_length steps."""
    return _usable(VecVideoRecorder, env, osp.join(logger.get_dir(), 'videos'),
                   record_video_trigger=lambda x: x % args.save_video_interval == 0,
                   video_length=args.save_video_length)


def _usable(make, *args, **kwargs):
    """make(...), with what is wrong with an environment said in one line."""
    try:
        return make(*args, **kwargs)
    except (gym.error.Error, ImportError, ValueError, TypeError, RuntimeError, AttributeError) as e:
        raise UsageError(' '.join(str(e).split())) from e


def get_env_type(args: argparse.Namespace) -> tuple[str, str]:
    """(type, id) of --env; the type decides on default arguments. Raises UsageError for an unknown id."""
    env_id = args.env
    if ':' in env_id:
        _usable(import_module, env_id.split(':')[0])
    name = env_id.split(':')[-1]
    spec = gym.registry.get(name)
    if spec is None or _is_retired(spec):
        raise UsageError(f'gymnasium has no environment {name!r}{_id_hint(name)}')
    return args.env_type or _env_type(spec), env_id


def _env_type(spec):
    """'mujoco' of gymnasium.envs.mujoco.hopper_v5:HopperEnv; others by namespace or package."""
    entry_point = spec.entry_point if isinstance(spec.entry_point, str) else spec.entry_point.__module__
    module = entry_point.split(':')[0].split('.')
    if module[:2] == ['gymnasium', 'envs']:
        return module[2]
    return 'atari' if module[0] == 'ale_py' else spec.namespace or module[0]


def _is_retired(spec):
    """Registered by gymnasium only to say where the environment went."""
    return inspect.isfunction(spec.entry_point) and spec.entry_point.__module__.startswith('gymnasium.')


def _id_hint(env_id):
    """The newest version of the same name, or the closest id."""
    name = re.sub(r'-v\d+$', '', env_id)
    versions = [spec for spec in gym.registry.values() if spec.id == f'{name}-v{spec.version}']
    if versions:
        return f'; use --env={max(versions, key=lambda spec: spec.version).id}'
    return nearest(env_id, [spec.id for spec in gym.registry.values() if not _is_retired(spec)]) \
        if len(name) > 2 else ''


def get_default_network(env_type: str) -> str:
    """The network where neither user nor algorithm says."""
    return 'cnn' if env_type == 'atari' else 'mlp'


def get_alg_module(alg: str):
    """The module of the algorithm. Raises UsageError for an unknown one."""
    if alg not in ALGORITHMS:
        raise UsageError(f'unknown algorithm {alg!r}{nearest(alg, ALGORITHMS)}')
    if 'tensorflow' not in sys.modules:
        _start_tensorflow()
    return import_module(f'onpolicybaselines.{ALGORITHMS[alg][0]}')


def _start_tensorflow():
    """Import TensorFlow without the lines about its build that it prints, at every start, past all its settings, and
    with a cache of what XLA compiles."""
    cache = osp.join(os.environ.get('XDG_CACHE_HOME') or osp.expanduser('~/.cache'), 'onpolicybaselines', 'xla')
    with contextlib.suppress(OSError):
        os.makedirs(cache, exist_ok=True)
    if os.access(cache, os.W_OK):
        os.environ.setdefault('TF_XLA_FLAGS', f'--tf_xla_persistent_cache_directory={cache}')
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as greeting:
        os.dup2(greeting.fileno(), 2)
        try:
            from onpolicybaselines.common import tf_util
            tf_util.single_threaded_session()
            to_numpy(tf_util.lrelu(0.))  # the first operation prints the rest of it
        except BaseException:
            greeting.seek(0)
            os.write(stderr, greeting.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def get_learn_function(alg: str) -> Callable:
    """The algorithm's `learn`."""
    return get_alg_module(alg).learn


def get_learn_function_defaults(alg: str, env_type: str) -> dict:
    """The algorithm's defaults for that type of environment."""
    get_alg_module(alg)
    _, module = ALGORITHMS[alg]
    defaults = module and getattr(import_module(f'onpolicybaselines.{module}'), env_type, None)
    return defaults() if inspect.isfunction(defaults) else {}


def get_alg_kwargs(args: argparse.Namespace, env_type: str) -> dict:
    """Keywords of `learn` before those of the command line: the algorithm's defaults, then the loaded model's own, with
    --network and --policy; the keywords of a network or policy that is not used are left out."""
    if args.network and not _takes_network(args.alg):
        raise UsageError(f'{args.alg} has a network of its own: leave out --network={args.network}')
    kwargs = get_learn_function_defaults(args.alg, env_type)
    if args.load_path:
        kwargs.update(_saved_spec(args.load_path))
    for choice, chosen, keywords_by_name in [('network', args.network, _network_keywords),
                                             ('policy', args.policy, _policy_keywords)]:
        before = kwargs.get(choice)
        if chosen is not None and chosen != before:
            for name in keywords_by_name(before):
                kwargs.pop(name, None)
            kwargs[choice] = chosen
    if _takes_network(args.alg):
        kwargs.setdefault('network', get_default_network(env_type))
    return kwargs


def _takes_network(alg):
    return 'network' in keywords_of(get_learn_function(alg))


def _saved_spec(load_path):
    from onpolicybaselines.common.tf_util import load_variables
    _, meta = load_variables(load_path)
    return {name: value for name, value in meta.get('spec', {}).items() if value not in (None, 'custom')}


def _network_keywords(network):
    from onpolicybaselines.common.models import get_network_builder
    return _expressible(keywords_of(get_network_builder(network))) if network else {}


def _policy_keywords(policy):
    from onpolicybaselines.common.distributions import FAMILY_SIZES, POLICIES
    if policy not in (None, *POLICIES):
        raise UsageError(f'unknown policy {policy!r}{nearest(policy, POLICIES)}')
    return keywords_of(POLICIES[policy or 'gaussian'], skip=FAMILY_SIZES)


def _learn_keywords(alg):
    return _expressible(keywords_of(get_learn_function(alg), skip=_OWN_FLAGS))


def _expressible(parameters):
    """Those that a word of the command line can give: not functions."""
    return {name: p for name, p in parameters.items() if is_expressible(p.annotation)}


def parse_cmdline_kwargs(args: list[str], parameters: dict[str, inspect.Parameter]) -> dict:
    """'--name=value' words as a dictionary, each value parsed by the type of the parameter of that name; a truth value
    may be given as '--name'.

    Raises UsageError for an unknown name or a value of another type. Nothing is evaluated.
    """
    values = {}
    for name, text in parse_unknown_args(args).items():
        if name not in parameters:
            raise UsageError(f'unknown option --{name}{_owner_hint(name) or _nearest_option(name, parameters)}')
        annotation = parameters[name].annotation
        if text is None and not is_switch(annotation):
            raise UsageError(f'option --{name} needs a value: --{name}=value')
        values[name] = text is None or parse_value(name, text, annotation)
    return values


def _nearest_option(name, parameters):
    flags = [action.dest for action in common_arg_parser()._actions]
    return nearest(f'--{name}', [f'--{known}' for known in (*parameters, *flags)]) or '; --help lists all'


def _owner_hint(name):
    """Which other policy or network a keyword belongs to."""
    from onpolicybaselines.common.distributions import POLICIES
    from onpolicybaselines.common.models import mapping
    owners = [f'--policy={p}' for p in POLICIES if name in _policy_keywords(p)]
    owners += [f'--network={n}' for n in mapping if name in _network_keywords(n)]
    return f' here: it goes with {" or ".join(owners)}' if owners else ''


def configure_logger(log_path: str | None, **kwargs) -> None:
    """Log into `log_path`, or where logger.configure puts a run without one."""
    if log_path is not None:
        logger.configure(log_path, **kwargs)
    else:
        logger.configure(**kwargs)


def write_config(args: argparse.Namespace, env_type: str, alg_kwargs: dict) -> None:
    """config.json of the run folder: every parameter (null: for `learn` to decide, which it logs), versions."""
    defaults = {**_learn_keywords(args.alg), **_network_keywords(alg_kwargs.get('network')),
                **_policy_keywords(alg_kwargs.get('policy'))}
    resolved = {name: p.default for name, p in defaults.items() if p.default is not p.empty}
    config = {
        'command': ['python', '-m', 'onpolicybaselines.run', *sys.argv[1:]],
        'args': vars(args),
        'env_type': env_type,
        'alg_kwargs': {**resolved, **alg_kwargs},
        'ranks': size(),
        'versions': {'python': sys.version.split()[0], **{p: _version(p) for p in PACKAGES}},
        'git': _git_revision(),
        'started': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }
    with open(osp.join(logger.get_dir(), 'config.json'), 'w', encoding='utf-8') as fh:
        json.dump(config, fh, indent=2, default=str)
        fh.write('\n')


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision():
    """Commit of the checkout that this file is in, with '-dirty' if it was changed; None outside one."""
    try:
        return subprocess.run(['git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'], check=True,
                              capture_output=True, text=True, cwd=osp.dirname(__file__)).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def help_text(alg: str) -> str:
    """All keywords of an algorithm, of every network and every policy it takes, with defaults, by where they go."""
    defaults = get_learn_function_defaults(alg, 'mujoco') # starts TensorFlow quietly, which the imports would not
    from onpolicybaselines.common.distributions import POLICIES
    from onpolicybaselines.common.models import mapping
    groups = [(f'{alg}.learn (defaults for MuJoCo)', _learn_keywords(alg))]
    groups += [(f'--policy={name} (continuous actions)', _policy_keywords(name)) for name in POLICIES]
    if _takes_network(alg):
        groups += [(f'--network={name}', _network_keywords(name)) for name in mapping]
    lines = []
    for title, parameters in groups:
        lines.append(f'\n{title}:')
        lines += [f'  --{name}={defaults.get(name, p.default)}  ({describe(p.annotation)})'
                  for name, p in parameters.items()] or ['  (no options)']
    return '\n'.join(lines)


def play(model: Any, args: argparse.Namespace) -> list[float]:
    """Run the policy for args.play_episodes episodes (0: until interrupted); print and return their returns.

    On a display if there is one, or filmed with --save_video_interval; the run folder's `play` holds the record.
    """
    on_screen = sys.platform in ('darwin', 'win32') or bool(os.environ.get('DISPLAY'))
    if not on_screen and not args.save_video_interval:
        logger.log('No display to show the environment on; --save_video_interval=1 films it instead')
    returns = []
    with logger.scoped_configure(osp.join(logger.get_dir(), 'play'), ['stdout']):
        env = build_env(args, num_env=1, render_mode='human' if on_screen else None)
        with contextlib.closing(env):
            obs = env.reset()
            state, dones = None, np.zeros(1)
            while not args.play_episodes or len(returns) < args.play_episodes:
                actions, _, state, _ = model.step(obs, S=state, M=dones, stochastic=not args.deterministic)
                obs, _, dones, infos = env.step(actions)
                if dones[0]:
                    returns.append(infos[0]['episode']['r'])
                    logger.log(f'episode_rew={returns[-1]}')
    return returns


def main(args: list[str]):
    """Run the command line `args` (as sys.argv). Bad input: one line on stderr, exit status 2."""
    with abort_on_exception():
        try:
            return _main(args)
        except (UsageError, FloatingPointError) as e:
            _fail(e)


def _fail(error):
    """One line on stderr and the end of all ranks: status 2 for bad input, 1 for numbers that are not finite."""
    status = 2 if isinstance(error, UsageError) else 1
    if get_rank() > 0:
        time.sleep(3)  # rank 0 mostly fails alike: let it say so alone
    abort(status, f'error: {error}')


def _main(args):
    arg_parser = common_arg_parser()
    args, unknown_args = arg_parser.parse_known_args(args[1:])
    if args.help:
        arg_parser.print_help()
        print(help_text(args.alg))
        return None
    env_type, _ = get_env_type(args)
    alg_kwargs = get_alg_kwargs(args, env_type)
    alg_kwargs.update(parse_cmdline_kwargs(unknown_args, {
        **_learn_keywords(args.alg), **_network_keywords(alg_kwargs.get('network')),
        **_policy_keywords(alg_kwargs.get('policy'))}))

    # logs of rank 0 only, but one folder for the monitor files of all
    rank = get_rank()
    if rank == 0:
        configure_logger(args.log_path)
    if get_comm() is not None:
        log_path = get_comm().bcast(logger.get_dir() if rank == 0 else None)
        if rank > 0:
            configure_logger(log_path, format_strs=[])

    model, env = train(args, alg_kwargs)
    env.close()

    if args.save_path is not None and rank == 0:
        save_path = osp.expanduser(args.save_path)
        model.save(save_path)
        logger.log(f'Saved the model to {save_path}')

    if args.play and rank == 0:
        logger.log("Running trained model")
        play(model, args)

    return model

if __name__ == '__main__':
    main(sys.argv)
