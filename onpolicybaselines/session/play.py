"""Showing what a policy does: on a display, or on film."""
import argparse
import contextlib
import os
import os.path as osp
import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.extras import need
from onpolicybaselines.common.prediction import policy_of
from onpolicybaselines.common.rollouts import Episodes
from onpolicybaselines.common.vec_env import VecEnv
from onpolicybaselines.common.vec_env.statistics import freeze
from onpolicybaselines.common.vec_env.vec_video_recorder import VecVideoRecorder
from onpolicybaselines.common.vec_env.video_recorder import import_imageio
from onpolicybaselines.session import tasks
from onpolicybaselines.session.ending import one_line_errors

VIDEOS = 'videos'  # of a folder, where films go
NEED_PYGAME = ('classic_control', 'toy_text', 'box2d')  # to be seen


def env_kwargs(args: argparse.Namespace) -> dict[str, str]:
    """The render mode that environments are to be made with, if any."""
    mode = 'rgb_array' if args.save_video_interval else getattr(args, 'render_mode', None)
    return {'render_mode': mode} if mode else {}


def check_shown(args: argparse.Namespace) -> None:
    """Raise NotInstalled for a package that is missing to film the environment, or to play in it on a display."""
    if args.save_video_interval:
        import_imageio()
    shown = args.save_video_interval or args.play and _is_on_screen()
    if shown and tasks.type_of(gym.spec(tasks.find(args.env))) in NEED_PYGAME:
        need('pygame')


@one_line_errors
def film(env: VecEnv, args: argparse.Namespace) -> VecEnv:
    """`env`, filmed into the run folder every save_video_interval steps, if not 0, for save_video_length steps."""
    if not args.save_video_interval:
        return env
    return VecVideoRecorder(env, osp.join(logger.get_dir(), VIDEOS),
                            record_video_trigger=lambda x: x % args.save_video_interval == 0,
                            video_length=args.save_video_length)


def _is_on_screen():
    return sys.platform in ('darwin', 'win32') or bool(os.environ.get('DISPLAY'))


def play(model: Any, args: argparse.Namespace, build_env: Callable[[argparse.Namespace], VecEnv]) -> list[float]:
    """Run the policy for args.play_episodes episodes (0: until interrupted); print and return their returns, of whole
    games, as in the monitor file.

    On a display if there is one, or filmed with --save_video_interval; the run folder's `play` holds the record.
    """
    if not _is_on_screen() and not args.save_video_interval:
        logger.log('No display to show the environment on; --save_video_interval=1 films it instead')
    args = argparse.Namespace(**{**vars(args), 'num_env': 1, 'render_mode': 'human' if _is_on_screen() else None})
    returns = []
    with (logger.scoped_configure(osp.join(logger.get_dir(), 'play'), ['stdout']), _summary(args, returns),
          contextlib.closing(film(build_env(args), args)) as env):
        freeze(env, getattr(policy_of(model), 'normalizer', None))
        obs = env.reset()
        state, dones, episodes = None, np.zeros(1), Episodes(1)
        while not args.play_episodes or len(returns) < args.play_episodes:
            actions, _, state, _ = model.step(obs, S=state, M=dones, stochastic=not args.deterministic)
            obs, rewards, dones, infos = env.step(actions)
            episodes.note(rewards, dones, infos)
            if 'episode' in infos[0]:
                returns.append(infos[0]['episode']['r'])
                logger.log(f'episode_rew={returns[-1]}')
    return returns


@contextlib.contextmanager
def _summary(args, returns):
    """A line before, and one for all `returns` after, also where it is interrupted."""
    number = f'{args.play_episodes} episodes' if args.play_episodes else 'until interrupted'
    films = osp.join(logger.get_dir(), VIDEOS)
    logger.log(f'Playing {args.env}, {number}' + (f', filmed into {films}' if args.save_video_interval else ''))
    try:
        yield
    finally:
        if returns:
            logger.log(f'Played {len(returns)} episodes: return {np.mean(returns):.6g} ± {np.std(returns):.3g} (mean ± '
                       'standard deviation)')
