"""What users of the library write, for mypy (`make lint`): the hints of what it calls admit it. Nothing runs it."""
import gymnasium as gym
import numpy as np

from onpolicybaselines import logger, results_plotter, run
from onpolicybaselines.a2c import a2c
from onpolicybaselines.acktr import acktr, acktr_cont
from onpolicybaselines.bench import Monitor
from onpolicybaselines.common import plot_util
from onpolicybaselines.common.cmd_util import make_vec_env
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecNormalize
from onpolicybaselines.ppo2 import ppo2
from onpolicybaselines.trpo_mpi import trpo_mpi


def environments() -> list[gym.Env | VecEnv]:
    """Whatever may be trained on."""
    dummy = DummyVecEnv([lambda: Monitor(gym.make('Hopper-v5'), None)])
    return [gym.make('Hopper-v5'), dummy, VecNormalize(dummy), SubprocVecEnv([lambda: gym.make('Hopper-v5')] * 2),
            make_vec_env('Hopper-v5', 'mujoco', 2, seed=0)]


def learn() -> None:
    """All algorithms, with keywords of their own, of networks and of policies."""
    for env in environments():
        pi = trpo_mpi.learn(network='mlp', env=env, total_timesteps=1000, seed=0, policy='flow', flow_layers=2,
                            max_kl=0.01, fisher='gauss_newton')
        pi.save('model.npz')
        acktr_cont.learn(env=env, total_timesteps=1000, policy='gaussian')
        for module in (a2c, acktr, ppo2):
            module.learn(network='mlp', env=env, total_timesteps=1000, callback=lambda names, _: None)
        build_policy(env, 'mlp', policy='gmm', gmm_components=3)(np.random.default_rng(0))
    run.main(['run', '--env=Hopper-v5'])


def log() -> None:
    """The logger, and what is drawn of it."""
    logger.configure('folder', ['csv', 'tensorboard'])
    logger.logkv('a', 1)
    logger.dumpkvs()
    results = plot_util.load_results(['folder', 'other'])
    plot_util.plot_results(results, average_group=True, xlabel='steps')
    plot_util.symmetric_ema(np.arange(3.), [1., 2., 3.])
    results_plotter.plot_results('folder')[0].savefig('curves.png')
