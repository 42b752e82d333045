"""The learning check: TRPO on Hopper-v5 with every policy, as a table (`python -m run.learning`).

The measure is EpRewMean at the end: the mean return of the last 40 training episodes.
"""
import argparse
import os

import pandas as pd

from run.jobs import Job, run_jobs

POLICIES = {
    'gaussian': ('--policy=gaussian',),
    'gaussian, frozen std': ('--policy=gaussian', '--fixed_logstd=True'),
    'gmm, K=2': ('--policy=gmm',),
    'flow': ('--policy=flow',),
    'flow, Gauss-Newton': ('--policy=flow', '--fisher=gauss_newton'),
    'gmm, K=2, Gauss-Newton': ('--policy=gmm', '--fisher=gauss_newton'),
}


def jobs_of(env: str, steps: int, seeds: int, folder: str) -> dict[str, list[Job]]:
    """The runs of each policy, seeds 1, 2, ..."""
    return {name: [Job(os.path.join(folder, env, name.replace(', ', '-').replace(' ', '_'), f'seed{seed}'),
                       ('--alg=trpo_mpi', f'--env={env}', f'--num_timesteps={steps}', f'--seed={seed}', *options))
                   for seed in range(1, seeds + 1)]
            for name, options in POLICIES.items()}


def table(jobs: dict[str, list[Job]]) -> str:
    """Final EpRewMean of each seed, their mean, and the updates given up for non-positive curvature, in Markdown."""
    seeds = len(next(iter(jobs.values())))
    lines = ['| policy | ' + ' | '.join(f'seed {s + 1}' for s in range(seeds)) + ' | mean | curvature <= 0 |',
             '|---' * (seeds + 3) + '|']
    for name, runs in jobs.items():
        last = [pd.read_csv(os.path.join(job.folder, 'progress.csv')).iloc[-1] for job in runs if job.finished()]
        returns = [row.EpRewMean for row in last]
        if len(returns) == seeds:
            dropped = sum(row.neg_curvature for row in last) / sum(row.TimestepsSoFar / 1024 for row in last)
            lines.append(f'| {name} | ' + ' | '.join(f'{r:.0f}' for r in returns)
                         + f' | {sum(returns) / seeds:.0f} | {dropped:.0%} |')
    return '\n'.join(lines)


def main() -> None:
    """Train what is not trained yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--env', default='Hopper-v5')
    parser.add_argument('--steps', type=int, default=100000)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--folder', default='runs/learning')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--only', default=None, help='names of policies, separated by ;')
    args = parser.parse_args()
    jobs = jobs_of(args.env, args.steps, args.seeds, args.folder)
    run_jobs([job for name, runs in jobs.items() for job in runs if not args.only or name in args.only.split(';')],
             args.workers)
    print(table(jobs))


if __name__ == '__main__':
    main()
