"""What so many steps must reach (slow)."""
import os

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from helpers import returns_of, vec_env

from onpolicybaselines import logger
from onpolicybaselines.common.wrappers import RewardScaler
from onpolicybaselines.ppo2 import ppo2
from onpolicybaselines.trpo_mpi import defaults, losses, trpo_mpi
from run.experiments.jobs import Job, run_jobs


def logs_of(folder, steps, seeds, *options):
    """progress.csv of runs with those options, one for each of the seeds."""
    jobs = [Job(str(folder / f'seed_{seed}'), steps, (*options, f'--seed={seed}')) for seed in seeds]
    failed = run_jobs(jobs, len(os.sched_getaffinity(0)))
    assert not failed, failed[0].error()
    return [pd.read_csv(job.path('progress.csv.gz')) for job in jobs]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('policy', ['gaussian', 'flow'])
def test_trpo_on_hopper(policy, tmp_path):
    """The mean return of the last 40 episodes, over seeds 1 to 3; a policy that falls at once gets about 20."""
    logs = logs_of(tmp_path, 100_000, (1, 2, 3), '--alg=trpo_mpi', '--env=Hopper-v5', f'--policy={policy}')
    final = [log.EpRewMean.iloc[-1] for log in logs]
    assert np.mean(final) >= 350, final


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('env', ['Hopper-v5', 'HalfCheetah-v5'])
def test_products_by_hand_learn_as_those_of_tensorflow(env, monkeypatch):
    """Welch's t of the mean returns of the last 40 episodes after 100,000 steps, over seeds 1 to 5; beyond 4 once in
    250 comparisons of what does not differ. The products differ by rounding, and so, after a few updates, the runs do.
    """
    finals = {}
    for by_hand in (True, False):
        if not by_hand:
            monkeypatch.setattr(losses, 'gaussian_fisher', lambda pi: None)
        finals[by_hand] = [_final(env, seed) for seed in range(1, 6)]
    print(env, finals)
    assert finals[True] != finals[False]
    means, errors = np.array([(np.mean(returns), np.var(returns, ddof=1) / 5) for returns in finals.values()]).T
    assert abs(means[0] - means[1]) < 4 * np.sqrt(errors.sum()), finals


def _final(env, seed):
    returns = []
    with logger.scoped_configure(format_strs=[]):
        trpo_mpi.learn(env=gym.make(env), total_timesteps=100_000, seed=seed, **defaults.mujoco(),
                       callback=lambda values, _: returns.append(np.mean(values['rewbuffer'] or [np.nan])))
    return returns[-1]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('env, threshold', [('Reacher-v5', -15), ('InvertedPendulum-v5', 1000), ('Hopper-v5', 300)])
def test_acktr_cont(env, threshold, tmp_path):
    """The mean return of the last batch, of each of seeds 1 to 3; the pendulum's is the highest there is."""
    logs = logs_of(tmp_path, 200_000, (1, 2, 3), '--alg=acktr_cont', f'--env={env}', '--policy=gaussian')
    final = [log.EpRewMean.iloc[-1] for log in logs]
    assert min(final) >= threshold, final


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('env', ['Reacher-v5', 'Hopper-v5'])
def test_acktr_cont_keeps_a_flow_at_the_desired_kl(env, tmp_path):
    """Of the updates after the tenth, with a KL divergence of a third to three times the desired 0.002."""
    log, = logs_of(tmp_path, 300_000, (1,), '--alg=acktr_cont', f'--env={env}', '--policy=flow')
    assert np.isfinite(log).all(axis=None)
    assert log.KL[10:].between(0.002 / 3, 0.002 * 3).mean() >= 0.8


CARTPOLE = {  # (options of `learn` and of the network, factor on rewards)
    'mlp': (dict(nsteps=32, noptepochs=20, nminibatches=1, lam=0.8, value_network='copy'), 1.),
    # the factor, or the clipped value follows too slowly, and policies get lost
    'lstm': (dict(nsteps=128, noptepochs=10, nminibatches=2, lam=0.95, nlstm=64), 0.05),
}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('network', CARTPOLE)
def test_ppo2_balances_the_pole(network):
    """CartPole-v1 in 100,000 steps: 475 is the mean return of some 100 episodes of the trained policy.

    Of seeds 0 to 4 all reached it: 500 each with mlp; 500, 500, 498, 477 and 483 with lstm, and 492 a sixth. With lstm
    four must, as on another machine the runs are others: if nine in ten reach it that fails in 8 % of the cases.
    """
    finals = [_balance(network, seed) for seed in range(5)]
    print(network, finals)
    assert np.sum(np.array(finals) >= 475) >= {'mlp': 5, 'lstm': 4}[network], finals


def _balance(network, seed):
    options, scale = CARTPOLE[network]
    env = vec_env('CartPole-v1', 8, 100 * seed, lambda env: RewardScaler(env, scale))
    with logger.scoped_configure(format_strs=[]):
        model = ppo2.learn(network=network, env=env, total_timesteps=100_000, seed=seed, gamma=0.98, lr=1e-3,
                           lrschedule='linear', clipschedule='linear', **options)
    return returns_of(model, env, 6500).mean() / scale


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ppo2_on_half_cheetah(tmp_path):
    """The mean return of the last 100 episodes after 500,000 steps with the defaults, over seeds 0 to 4; measured:
    1211, 2794, 1285, 1074 and 1087, so that none in five is below."""
    logs = logs_of(tmp_path, 500_000, range(5), '--alg=ppo2', '--env=HalfCheetah-v5')
    final = [log.eprewmean.iloc[-1] for log in logs]
    print(final)
    assert np.mean(final) > 1000, final
