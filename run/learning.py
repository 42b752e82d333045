"""The learning check: one algorithm with every policy on a task, as a table (`python -m run.learning`).

The measure is EpRewMean at the end: the mean return of the last 40 training episodes, under acktr_cont of the last
batch of 2500 steps.
"""
import argparse
import os
from collections.abc import Callable

import pandas as pd

from run.jobs import Job, run_jobs

POLICIES = {
    'trpo_mpi': {
        'gaussian': ('--policy=gaussian',),
        'gaussian, frozen std': ('--policy=gaussian', '--fixed_logstd=True'),
        'gmm, K=2': ('--policy=gmm',),
        'flow': ('--policy=flow',),
        'flow, Gauss-Newton': ('--policy=flow', '--fisher=gauss_newton'),
        'gmm, K=2, Gauss-Newton': ('--policy=gmm', '--fisher=gauss_newton'),
    },
    'acktr_cont': {
        'gaussian': ('--policy=gaussian',),
        "gaussian, std by samples' gradients": ('--policy=gaussian', '--std_fisher=sample'),
        'gmm, K=2': ('--policy=gmm',),
        'flow': ('--policy=flow',),
    },
}


def dropped_updates(log: pd.DataFrame) -> float:
    """Share of TRPO's updates given up because the curvature along the step was not positive."""
    return log.neg_curvature.iloc[-1] / len(log)


def kl_as_desired(log: pd.DataFrame, desired_kl: float = 0.002) -> float:
    """Share of ACKTR's updates after the tenth with a KL divergence of a third to three times the desired one."""
    return log.KL[10:].between(desired_kl / 3, desired_kl * 3).mean()


DIAGNOSTICS: dict[str, tuple[str, Callable[[pd.DataFrame], float]]] = {
    'trpo_mpi': ('curvature <= 0', dropped_updates),
    'acktr_cont': ('KL as desired', kl_as_desired),
}


def jobs_of(alg: str, env: str, steps: int, seeds: int, folder: str) -> dict[str, list[Job]]:
    """The runs of each policy, seeds 1, 2, ..."""
    return {name: [Job(os.path.join(folder, alg, env, _file_name(name), f'seed{seed}'),
                       (f'--alg={alg}', f'--env={env}', f'--num_timesteps={steps}', f'--seed={seed}', *options))
                   for seed in range(1, seeds + 1)]
            for name, options in POLICIES[alg].items()}


def _file_name(name):
    return name.replace(', ', '-').replace(' ', '_').replace("'", '')


def table(alg: str, jobs: dict[str, list[Job]]) -> str:
    """Final EpRewMean of each seed, their mean, and the mean of the algorithm's diagnostic, in Markdown."""
    seeds = len(next(iter(jobs.values())))
    title, diagnostic = DIAGNOSTICS[alg]
    lines = ['| policy | ' + ' | '.join(f'seed {s + 1}' for s in range(seeds)) + f' | mean | {title} |',
             '|---' * (seeds + 3) + '|']
    for name, runs in jobs.items():
        if all(job.finished() for job in runs):
            logs = [pd.read_csv(os.path.join(job.folder, 'progress.csv')) for job in runs]
            returns = [log.EpRewMean.iloc[-1] for log in logs]
            cells = [f'{r:.4g}' for r in (*returns, sum(returns) / seeds)]
            lines.append(f'| {name} | ' + ' | '.join(cells) + f' | {sum(map(diagnostic, logs)) / seeds:.0%} |')
    return '\n'.join(lines)


def main() -> None:
    """Train what is not trained yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--alg', default='trpo_mpi', choices=list(POLICIES))
    parser.add_argument('--env', default='Hopper-v5')
    parser.add_argument('--steps', type=int, default=100000)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--folder', default='runs/learning')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--only', default=None, help='names of policies, separated by ;')
    args = parser.parse_args()
    jobs = jobs_of(args.alg, args.env, args.steps, args.seeds, args.folder)
    run_jobs([job for name, runs in jobs.items() for job in runs if not args.only or name in args.only.split(';')],
             args.workers)
    print(table(args.alg, jobs))


if __name__ == '__main__':
    main()
