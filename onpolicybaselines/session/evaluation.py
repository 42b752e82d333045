"""How good the policy of a run is: while it trains, and at its end."""
import argparse
import contextlib
import json
import os
import os.path as osp
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.files import check_writable, replacing
from onpolicybaselines.common.mpi_world import rank, size
from onpolicybaselines.common.seeds import evaluation_seed
from onpolicybaselines.common.vec_env import VecEnv

EVALUATION = 'evaluation.json'
BEST = 'best_model.npz'
EPISODES = 10  # of an evaluation, where --eval_episodes does not say


@contextlib.contextmanager
def evaluating(args: argparse.Namespace, build_env: Callable[[argparse.Namespace], VecEnv]
               ) -> Iterator[Callable | None]:
    """While a model is trained: the callback that evaluates it every --eval_interval steps, None without."""
    if not args.eval_interval:
        yield None
        return
    from onpolicybaselines.common.callbacks import EvalCallback
    with _environment(args, build_env) as env:
        best_path = osp.join(logger.get_dir(), BEST) if args.save_best else None
        yield EvalCallback(env, args.eval_interval, args.eval_episodes or EPISODES, args.deterministic, best_path,
                           args.seed)


@contextlib.contextmanager
def _environment(args, build_env):
    """One of the run's, of other seeds and without a monitor file."""
    args = argparse.Namespace(**{**vars(args), 'num_env': 1, 'seed': evaluation_seed(args.seed),
                                 'save_video_interval': 0, 'render_mode': None})
    before, logger.Logger.CURRENT = logger.get_current(), logger.Logger(None, [])
    try:
        env = build_env(args)
    finally:
        logger.Logger.CURRENT = before
    with contextlib.closing(env):
        yield env


def file_of(args: argparse.Namespace) -> str | None:
    """Where the evaluation of a model that is only loaded goes if no folder is given for the run: beside the model;
    None: into that folder. Raises UsageError if it cannot be written."""
    if args.num_timesteps or args.log_path or os.getenv('OPENAI_LOGDIR') or not (args.load_path and args.eval_episodes):
        return None
    path = osp.splitext(osp.expanduser(args.load_path))[0] + f'.{EVALUATION}'
    if rank() == 0:
        check_writable(path)
    return path


def evaluate(model: Any, args: argparse.Namespace, build_env: Callable[[argparse.Namespace], VecEnv],
             path: str | None) -> None:
    """At the end of a run, if --eval_episodes or --eval_interval asks for it: print the mean return with its interval,
    and write it, as JSON, to `path`, or into the folder of the run. All ranks must call it, and share the episodes."""
    if not (args.eval_episodes or args.eval_interval):
        return
    from onpolicybaselines.common import callbacks, evaluation
    np_random = np.random.default_rng(np.random.SeedSequence(args.seed, spawn_key=(rank(), 2)))
    with _environment(args, build_env) as env:
        result = callbacks.evaluate(model, env, args.eval_episodes or EPISODES, args.deterministic, np_random)
    if rank() > 0:
        return
    path = path or osp.join(logger.get_dir(), EVALUATION)
    with replacing(path, encoding='utf-8') as fh:
        json.dump({'env': args.env, 'alg': args.alg, 'model': args.load_path if not args.num_timesteps else
                   args.save_path, 'deterministic': args.deterministic, 'seed': args.seed, 'ranks': size(), **result},
                  fh, indent=2)
        fh.write('\n')
    logger.log(f'Evaluation: {evaluation.in_words(result)}; in {path}')
