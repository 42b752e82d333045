"""Training speed against the simulator's own (`python -m run.bench`): steps per second, as JSON lines and a table.

raw: stepping the environment with random actions. Each policy: the whole training loop at the defaults for MuJoCo,
without the first three updates. Raw and trained are measured in turn, each in a process of its own; ratios are of
medians.
"""
import argparse
import json
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np

POLICIES = ('gaussian', 'gmm', 'flow')


def raw(env_id: str, steps: int = 5000) -> float:
    """Steps per second of the environment alone, with random actions."""
    env = gym.make(env_id)
    env.reset(seed=0)
    env.action_space.seed(0)
    start = time.perf_counter()
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - start)


def trained(env_id: str, policy: str, updates: int = 6, skip: int = 3) -> float:
    """Steps per second of TRPO, over `updates` updates after the first `skip`."""
    from onpolicybaselines import logger
    from onpolicybaselines.trpo_mpi import defaults, trpo_mpi
    times = []
    with logger.scoped_configure(format_strs=[]):
        trpo_mpi.learn(env=gym.make(env_id), total_timesteps=0, max_iters=skip + updates, seed=0, policy=policy,
                       callback=lambda *_: times.append(time.perf_counter()), **defaults.mujoco())
    return updates * defaults.mujoco()['timesteps_per_batch'] / (times[-1] - times[skip])


def measure(env_id: str, what: str) -> float:
    """One measurement in a fresh process."""
    command = [sys.executable, '-m', 'run.bench', '--measure', what, '--env', env_id]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Measure everything `--repeats` times in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--env', default='Hopper-v5')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--measure', choices=('raw', *POLICIES), help='measure one thing once, in this process')
    args = parser.parse_args()
    if args.measure:
        print(raw(args.env) if args.measure == 'raw' else trained(args.env, args.measure))
        return
    rates = {what: [] for what in ('raw', *POLICIES)}
    for _ in range(args.repeats):
        for what, values in rates.items():
            values.append(measure(args.env, what))
            print(json.dumps({'env': args.env, 'what': what, 'steps_per_second': round(values[-1], 1)}), flush=True)
    base = np.median(rates['raw'])
    print(f'\n| {args.env} | steps/s | of raw | spread |\n|---|---|---|---|')
    for what, values in rates.items():
        spread = (max(values) - min(values)) / np.median(values)
        print(f'| {what} | {np.median(values):.0f} | {np.median(values) / base:.2f} | {spread:.0%} |')


if __name__ == '__main__':
    main()
