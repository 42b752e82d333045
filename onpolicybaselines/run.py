"""The command line: `python -m onpolicybaselines.run --alg=trpo_mpi --policy=flow --env=Hopper-v5`.

What is not upstream's is in `session/`. Source: openai/baselines `run.py`.
"""
import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import Parameter
from types import ModuleType
from typing import Any

import gymnasium as gym

from onpolicybaselines import logger
from onpolicybaselines.common.cmd_util import common_arg_parser, make_vec_env, parse_unknown_args
from onpolicybaselines.common.mpi_watch import set_rank_timeout
from onpolicybaselines.common.mpi_world import rank as get_rank
from onpolicybaselines.common.vec_env import VecEnv, VecFrameStack, VecNormalize
from onpolicybaselines.session import options, tasks
from onpolicybaselines.session.config_file import with_config
from onpolicybaselines.session.ending import ends_all_ranks, one_line_errors
from onpolicybaselines.session.evaluation import evaluate, evaluating, file_of
from onpolicybaselines.session.folder import run_folder, save_model, words_of_run
from onpolicybaselines.session.help import print_help
from onpolicybaselines.session.play import env_kwargs, film, play
from onpolicybaselines.session.progress import training
from onpolicybaselines.session.record import write_config
from onpolicybaselines.session.signals import ended_by_signals
from onpolicybaselines.session.start import package_of, start_tensorflow

try:
    import ale_py
    gym.register_envs(ale_py)
except ImportError:
    pass

_game_envs = defaultdict(set)
for env in gym.registry.values():
    env_type = tasks.type_of(env)
    _game_envs[env_type].add(env.id)


def train(args: argparse.Namespace, extra_args: dict[str, Any]) -> tuple[Any, VecEnv]:
    """Train as the command line says, with the keywords `extra_args` of `learn`; returns (model, environment)."""
    env_type, env_id = get_env_type(args)

    total_timesteps = int(args.num_timesteps)
    seed = args.seed

    start_tensorflow(images=env_type in {'atari'})
    learn = get_learn_function(args.alg)
    alg_kwargs = get_learn_function_defaults(args.alg, env_type)
    alg_kwargs.update(options.chosen(args))
    alg_kwargs.update(extra_args)

    env = build_env(args)
    if args.save_video_interval != 0 and options.trains(args, alg_kwargs):
        env = film(env, args)

    if args.network:
        alg_kwargs['network'] = args.network
    else:
        if alg_kwargs.get('network') is None:
            alg_kwargs['network'] = get_default_network(env_type)
    options.check_spaces(alg_kwargs, env, args)
    options.complete(alg_kwargs, learn, env.action_space)
    options.say_images(args, alg_kwargs, env.observation_space)

    write_config(env_type, learn, alg_kwargs)
    if options.trains(args, alg_kwargs):
        logger.log('Training {} on {}:{} with arguments \n{}'.format(args.alg, env_type, env_id, alg_kwargs))

    with training(env, args), evaluating(args, build_env) as callback:
        model = learn(
            env=env,
            seed=seed,
            total_timesteps=total_timesteps,
            load_path=args.load_path,
            callback=callback,
            **alg_kwargs
        )

    return model, env


@one_line_errors
def build_env(args: argparse.Namespace) -> VecEnv:
    """The environments of this rank."""
    nenv = args.num_env
    alg = args.alg
    seed = args.seed

    env_type, env_id = get_env_type(args)

    env = make_vec_env(env_id, env_type, nenv, seed, reward_scale=args.reward_scale, env_kwargs=env_kwargs(args),
                       native=args.native)
    if env_type in {'atari'} and alg != 'trpo_mpi':
        frame_stack_size = 4
        env = VecFrameStack(env, frame_stack_size)
    elif env_type in {'mujoco', 'rllab', 'roboschool'} and alg == 'ppo2':
        env = VecNormalize(env)

    return env


def get_env_type(args: argparse.Namespace) -> tuple[str, str]:
    """(type, id) of --env; the type decides on default arguments. Raises UsageError for an unknown id."""
    env_id = args.env
    name = tasks.find(env_id)

    if args.env_type is not None:
        tasks.check_type(args.env_type)
        return args.env_type, env_id

    # there may be more of them since the import
    for env in gym.registry.values():
        env_type = tasks.type_of(env)
        _game_envs[env_type].add(env.id)

    env_type = None
    for g, e in _game_envs.items():
        if name in e:
            env_type = g
            break

    return env_type, env_id


def get_default_network(env_type: str) -> str:
    """The network where neither user nor algorithm says."""
    if env_type in {'atari'}:
        return 'cnn'
    else:
        return 'mlp'


def get_alg_module(alg: str, submodule: str | None = None) -> ModuleType:
    """A module of the algorithm's package. Raises UsageError for an unknown one."""
    submodule = submodule or alg
    package = package_of(alg, submodule)
    alg_module = import_module('.'.join(['onpolicybaselines', package, submodule]))

    return alg_module


def get_learn_function(alg: str) -> Callable:
    """The algorithm's `learn`."""
    start_tensorflow()
    return get_alg_module(alg).learn


def get_learn_function_defaults(alg: str, env_type: str) -> dict[str, Any]:
    """The algorithm's defaults for that type of environment."""
    try:
        alg_defaults = get_alg_module(alg, 'defaults')
        kwargs = getattr(alg_defaults, env_type)()
    except (ModuleNotFoundError, AttributeError):
        kwargs = {}
    return kwargs


def parse_cmdline_kwargs(args: Sequence[str], parameters: dict[str, Parameter]) -> dict[str, Any]:
    """'--name=value' words as a dictionary, each value by the type of the parameter of that name.

    Raises UsageError for an unknown name or a value of another type. Nothing is evaluated.
    """
    return {k: options.parse(k, v, parameters) for k, v in parse_unknown_args(args).items()}


def configure_logger(log_path: str | None, **kwargs: Any) -> None:
    """Log into `log_path`, or where logger.configure puts a run without one."""
    if log_path is not None:
        logger.configure(log_path, **kwargs)
    else:
        logger.configure(**kwargs)


@ends_all_ranks
@ended_by_signals
def main(args: list[str]) -> Any:
    """Run the command line `args` (as sys.argv); returns the model. Bad input: one line on stderr, exit status 2."""
    # logs of rank 0 only

    arg_parser = common_arg_parser()
    words = words_of_run(with_config(args[1:]))
    args, unknown_args = arg_parser.parse_known_args(words)
    env_type, _ = get_env_type(args)
    run = (args, options.declared_learn(args.alg), get_learn_function_defaults(args.alg, env_type),
           get_default_network(env_type))
    if args.help:
        return print_help(arg_parser, *run, env_type)
    extra_args = parse_cmdline_kwargs(unknown_args, options.of_command_line(*run))
    options.check(*run, extra_args)

    set_rank_timeout(args.rank_timeout)
    rank = get_rank()
    evaluation_path = file_of(args)
    with run_folder(args, extra_args, words):
        if rank == 0:
            configure_logger(args.log_path)
        else:
            args.save_video_interval = 0
            configure_logger(args.log_path, format_strs=[])

        model, env = train(args, extra_args)
    env.close()

    save_model(model, args.save_path)
    evaluate(model, args, build_env, evaluation_path)

    if args.play and rank == 0:
        play(model, args, build_env)

    return model

if __name__ == '__main__':
    main(sys.argv)
