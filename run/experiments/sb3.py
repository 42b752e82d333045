"""SB3's PPO at the work of ppo2's defaults for MuJoCo (`python -m run.experiments.sb3`): the program of a `Job`.

It leaves what a run of `onpolicybaselines.run` leaves: config.json, progress.csv, 0.monitor.csv.
"""
import argparse
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import gymnasium as gym

from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.files import git_revision, replacing
from onpolicybaselines.ppo2.defaults import mujoco

if TYPE_CHECKING:
    from stable_baselines3 import PPO

PACKAGES = ('stable_baselines3', 'torch', 'gymnasium', 'mujoco', 'numpy')


def ppo(make: Callable[[], gym.Env], seed: int) -> 'PPO':
    """The model, on one thread: batch, minibatches, epochs, networks, losses, normalisation as ppo2's.

    Four things are as SB3 has them: the value's loss lacks ppo2's factor 1/2, and where it is clipped that of the value
    unclipped does not count; what lies beyond a time limit is valued; an update takes the step size of its end, where
    ppo2 takes that of its beginning.
    """
    sys.modules.setdefault('tensorflow', None)  # tensorboard would load it, and torch's LLVM and its own clash
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
    torch.set_num_threads(1)
    options = mujoco()
    venv = VecNormalize(DummyVecEnv([make]), gamma=options['gamma'])
    return PPO('MlpPolicy', venv, n_steps=options['nsteps'], batch_size=options['nsteps'] // options['nminibatches'],
               n_epochs=options['noptepochs'], gamma=options['gamma'], gae_lambda=options['lam'],
               learning_rate=lambda left: options['lr'] * left, clip_range=options['cliprange'],
               clip_range_vf=options['cliprange'], ent_coef=options['ent_coef'], vf_coef=0.5, max_grad_norm=0.5,
               seed=seed, policy_kwargs={'net_arch': {'pi': [64, 64], 'vf': [64, 64]}}, device='cpu')


def main(argv: Sequence[str]) -> None:
    """The command line `argv` (as sys.argv). Whole updates only, as ppo2."""
    parser = argparse.ArgumentParser(prog='python -m run.experiments.sb3', description=__doc__.partition('\n')[0])
    parser.add_argument('--env', required=True)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num_timesteps', type=int, required=True)
    parser.add_argument('--log_path', required=True)
    parser.add_argument('--overwrite', action='store_true', help='an earlier run in the folder is replaced in any case')
    args = parser.parse_args(argv[1:])
    os.makedirs(args.log_path, exist_ok=True)
    model = ppo(lambda: Monitor(gym.make(args.env), os.path.join(args.log_path, '0')), args.seed)
    _write_config(args, argv[1:])
    from stable_baselines3.common.logger import configure
    model.set_logger(configure(args.log_path, ['csv']))
    model.learn(args.num_timesteps // model.n_steps * model.n_steps)
    model.env.close()
    model.logger.close()


def _write_config(args, words):
    versions = {'python': sys.version.split()[0], **{name: importlib.metadata.version(name) for name in PACKAGES}}
    with replacing(os.path.join(args.log_path, 'config.json'), encoding='utf-8') as fh:
        json.dump({'command': ['python', '-m', 'run.experiments.sb3', *words], 'args': vars(args),
                   'alg_kwargs': mujoco(), 'versions': versions, 'git': git_revision(os.path.dirname(__file__))}, fh,
                  indent=2)
        fh.write('\n')


if __name__ == '__main__':
    main(sys.argv)
