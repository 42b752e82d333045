"""Helpers for the command line: environments as the algorithms take them."""
import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from gymnasium.wrappers import FlattenObservation

import onpolicybaselines.envs  # noqa: F401, registers them, in the processes of vectorised environments as well
from onpolicybaselines import logger
from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common import mpi_world
from onpolicybaselines.common.atari_wrappers import make_atari, wrap_deepmind
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.flags import OneLineParser, at_least, factor, switch
from onpolicybaselines.common.misc_util import set_global_seeds
from onpolicybaselines.common.seeds import environment_seed
from onpolicybaselines.common.vec_env.children import in_children
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.series import in_series
from onpolicybaselines.common.vec_env.steps import seed_env
from onpolicybaselines.common.vec_env.subproc_vec_env import SubprocVecEnv
from onpolicybaselines.common.vec_env.vec_env import VecEnv
from onpolicybaselines.common.wrappers import ClipActionsWrapper, RewardScaler
from onpolicybaselines.native import native_vec_env


def make_vec_env(env_id: str, env_type: str | None, num_env: int, seed: int | None,
                 wrapper_kwargs: dict[str, Any] | None = None,
                 env_kwargs: dict[str, Any] | None = None,
                 start_index: int = 0,
                 reward_scale: float = 1.0,
                 flatten_dict_observations: bool = True,
                 initializer: Callable[..., None] | None = None,
                 force_dummy: bool = False,
                 native: bool = True) -> VecEnv:
    """`num_env` environments of make_env: where they can be native and native=True, a NativeVecEnv in this process; a
    SubprocVecEnv, or for games as many processes as there are cores; or a DummyVecEnv of one or with force_dummy.

    One that renders gets a process of its own, too: the OpenGL of Mesa and TensorFlow crash each other.

    Environment i (from start_index) has `environment_seed(seed, rank, i)`; Monitor files go to the logger's folder.
    initializer(mpi_rank=, subrank=) is called first in each process of a SubprocVecEnv. Also sets the global seeds.
    UsageError for num_env < 1. Source: openai/baselines `common/cmd_util.py`.
    """
    if num_env < 1:
        raise UsageError('num_env must be at least 1, got %s' % num_env)
    wrapper_kwargs = wrapper_kwargs or {}
    env_kwargs = env_kwargs or {}
    mpi_rank = mpi_world.rank()
    logger_dir = logger.get_dir()
    def make_thunk(rank, initializer=None):
        return lambda: make_env(
            env_id=env_id,
            env_type=env_type,
            mpi_rank=mpi_rank,
            subrank=rank,
            seed=seed,
            reward_scale=reward_scale,
            flatten_dict_observations=flatten_dict_observations,
            wrapper_kwargs=wrapper_kwargs,
            env_kwargs=env_kwargs,
            logger_dir=logger_dir,
            initializer=initializer,
            num_env=num_env
        )

    set_global_seeds(environment_seed(seed, mpi_rank))
    if native and (venv := native_vec_env([make_thunk(i + start_index) for i in range(num_env)], env_id, env_kwargs)):
        return venv
    if not force_dummy and (num_env > 1 or 'render_mode' in env_kwargs):
        initializer = in_children(initializer)
        make = in_series if env_type == 'atari' and 'render_mode' not in env_kwargs else SubprocVecEnv
        return make([make_thunk(i + start_index, initializer=initializer) for i in range(num_env)])
    else:
        return DummyVecEnv([make_thunk(i + start_index, initializer=None) for i in range(num_env)])


def make_env(env_id: str, env_type: str | None, mpi_rank: int = 0, subrank: int = 0, seed: int | None = None,
             reward_scale: float = 1.0, flatten_dict_observations: bool = True,
             wrapper_kwargs: dict[str, Any] | None = None, env_kwargs: dict[str, Any] | None = None,
             logger_dir: str | None = None, initializer: Callable[..., None] | None = None,
             num_env: int = 1) -> gymnasium.Env:
    """A seeded and monitored environment with Box actions clipped to their bounds.

    env_id: gymnasium's, 'module:Env-v0' imports the module first. env_type: 'atari' for games (wrapper_kwargs are those
    of wrap_deepmind), no matter else. env_kwargs go to gymnasium.make. The seed is `environment_seed(seed, mpi_rank,
    subrank)`. With logger_dir the Monitor, which sees raw rewards, writes `<mpi_rank>.<subrank>.monitor.csv` there, or
    `<mpi_rank>.monitor.csv` for the only environment of a rank. UsageError for wrapper_kwargs without env_type 'atari'.
    Source: openai/baselines `common/cmd_util.py`.
    """
    if initializer is not None:
        initializer(mpi_rank=mpi_rank, subrank=subrank)

    wrapper_kwargs = wrapper_kwargs or {}
    env_kwargs = env_kwargs or {}
    if env_type == 'atari':
        env = make_atari(env_id, **env_kwargs)
    elif wrapper_kwargs:
        raise UsageError("wrapper_kwargs are for env_type 'atari', this one is %r: leave out %s"
                         % (env_type, sorted(wrapper_kwargs)))
    else:
        env = gymnasium.make(env_id, **env_kwargs)

    if flatten_dict_observations and isinstance(env.observation_space, gymnasium.spaces.Dict):
        env = FlattenObservation(env)

    seed = environment_seed(seed, mpi_rank, subrank)
    if seed is not None:
        seed_env(env, seed)  # later resets draw on from here
    name = str(mpi_rank) if num_env == 1 and subrank == 0 else '%d.%d' % (mpi_rank, subrank)
    env = Monitor(env,
                  logger_dir and os.path.join(logger_dir, name),
                  allow_early_resets=True)

    if env_type == 'atari':
        env = wrap_deepmind(env, **wrapper_kwargs)

    if isinstance(env.action_space, gymnasium.spaces.Box):
        env = ClipActionsWrapper(env)

    if reward_scale != 1:
        env = RewardScaler(env, reward_scale)

    return env


def arg_parser() -> argparse.ArgumentParser:
    """An empty parser whose errors are UsageErrors."""
    return OneLineParser(prog='python -m onpolicybaselines.run', allow_abbrev=False, add_help=False,
                          formatter_class=argparse.ArgumentDefaultsHelpFormatter)


def common_arg_parser() -> argparse.ArgumentParser:
    """The parser of what all algorithms have in common (upstream's options, less those of retro games)."""
    parser = arg_parser()
    parser.add_argument('--help', '-h', action='store_true', help='say what each option is, also of the algorithm, '
                        'policy and network given')
    parser.add_argument('--config', help='file of options, YAML or JSON, or the config.json of a run; options of the '
                        'command line count before those in it', type=str)
    parser.add_argument('--env', help="gymnasium's id of the environment, or module:id", type=str, default='Hopper-v5')
    parser.add_argument('--env_type', help='type of environment, whose defaults to use; found out if not given',
                        type=str)
    parser.add_argument('--seed', help='of all random numbers; drawn if not given', type=at_least(0), default=None)
    parser.add_argument('--alg', help='algorithm', type=str, default='trpo_mpi')
    parser.add_argument('--num_timesteps', help='environment steps to train for, over all ranks',
                        type=at_least(0, 10**12), default=int(1e6))
    parser.add_argument('--network', help='network of the policy', default=None)
    parser.add_argument('--policy', help='distribution of continuous actions: gaussian (if not given), gmm or flow',
                        default=None)
    parser.add_argument('--num_env', help='environments per rank, each of several in its own process if not native',
                        type=at_least(1, 10_000), default=1)
    parser.add_argument('--native', help="step MuJoCo's tasks in machine code, in this process, with the same numbers",
                        type=switch, default=True)
    parser.add_argument('--reward_scale', help='factor on the rewards that the algorithm sees', default=1.0,
                        type=factor)
    parser.add_argument('--save_path', help='file to save the trained model to; model.npz in the folder of the run if '
                        'not given', default=None, type=str)
    parser.add_argument('--load_path', help='model file to start from', default=None, type=str)
    parser.add_argument('--save_video_interval', help='film every so many steps (0: never)', default=0,
                        type=at_least(0))
    parser.add_argument('--save_video_length', help='steps of each film', default=200, type=at_least(1))
    parser.add_argument('--log_path', help='folder of this run; $OPENAI_LOGDIR or a new temporary one if not given',
                        default=None, type=str)
    parser.add_argument('--rank_timeout', help='seconds of waiting for another MPI rank after which all end; they only '
                        'say that they wait if not given', default=None, type=at_least(1))
    parser.add_argument('--resume', help='go on with the run in the folder, whose options need not be given again; '
                        '--num_timesteps may be larger', default=False, action='store_true')
    parser.add_argument('--overwrite', help='remove the files of an earlier run from the folder', default=False,
                        action='store_true')
    parser.add_argument('--checkpoint_interval', help='updates between two checkpoints in the folder; as many as make '
                        'them take a hundredth of the time if not given', default=None, type=at_least(1))
    parser.add_argument('--eval_interval', help='evaluate the policy every so many time steps, in an environment of '
                        'its own (0: never)', default=0, type=at_least(0))
    parser.add_argument('--eval_episodes', help='episodes of an evaluation, and of one at the end of the run; 10 with '
                        '--eval_interval if not given, else none', default=0, type=at_least(0))
    parser.add_argument('--save_best', help='keep the model with the highest mean return of --eval_interval as '
                        'best_model.npz in the folder of the run', default=False, action='store_true')
    parser.add_argument('--progress', help='how far the run is: a bar, lines now and then, or none; auto: a bar on a '
                        'terminal', default='auto', choices=('auto', 'bar', 'lines', 'none'))
    parser.add_argument('--track', help='tell Weights & Biases of the run, too (WANDB_PROJECT, WANDB_MODE=offline and '
                        'such count)', default=False, action='store_true')
    parser.add_argument('--play', help='run the trained policy at the end', default=False, action='store_true')
    parser.add_argument('--play_episodes', help='how many episodes to play (0: until interrupted)', default=10,
                        type=at_least(0))
    parser.add_argument('--deterministic', help='play and evaluate the deterministic action of the policy',
                        default=False, action='store_true')
    return parser


def parse_unknown_args(args: Sequence[str]) -> dict[str, str | None]:
    """'--name=value', '--name value' and '--name' words as a dictionary of texts, None for a name without a value.

    Raises UsageError for a word that belongs to no name.
    """
    retval: dict[str, str | None] = {}
    preceded_by_key = False
    for arg in args:
        if arg.startswith('--'):
            if '=' in arg:
                key, value = arg[2:].split('=', 1)
                retval[key] = value
                preceded_by_key = False
            else:
                key = arg[2:]
                retval[key] = None
                preceded_by_key = True
        elif preceded_by_key:
            retval[key] = arg
            preceded_by_key = False
        else:
            raise UsageError('unexpected argument %r; options are written --name=value' % arg)

    return retval
