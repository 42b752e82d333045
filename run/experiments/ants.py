"""The ways of an ant (figure 2 c): policies trained on Ant, and where they walk."""
import os
from pathlib import Path

import numpy as np

from run.experiments.experiment import FLOW, FROZEN, GAUSSIAN, GYM, with_both_fishers
from run.experiments.jobs import LOGS, Job, run_jobs
from run.experiments.measured import write_arrays

ANT = 'Ant-v5'
ANT_METHODS = {'gaussian': GAUSSIAN, 'gaussian-frozen': FROZEN, 'flow': with_both_fishers({'flow': FLOW})['flow']}
EPISODES = 20


def ant_jobs(folder: str, scale: float) -> dict[str, Job]:
    """The training run of each policy, which ends with a model.npz in its folder."""
    jobs = {}
    for name, method in ANT_METHODS.items():
        run_folder = os.path.join(folder, 'ant', name)
        jobs[name] = Job(run_folder, max(round(GYM[ANT] * scale), 4096), (
            '--alg=trpo_mpi', f'--env={ANT}', '--seed=0', '--num_hidden=64', *method.options,
            f'--save_path={os.path.join(run_folder, "model.npz")}'))
    return jobs


def unfinished(jobs: dict[str, Job]) -> dict[str, Job]:
    """Those that have neither trajectories nor a model to make them with, or of fewer steps."""
    return {name: job for name, job in jobs.items() if job.recorded_steps() < job.steps
            or not any(os.path.exists(job.path(f)) for f in ('trajectories.npz', 'model.npz'))}


def load_policy(path: str, env):
    """The policy of a model file."""
    from onpolicybaselines.common.policies import build_policy
    from onpolicybaselines.common.tf_util import load_variables
    spec = {name: value for name, value in load_variables(path)[1]['spec'].items() if value is not None}
    pi = build_policy(env, spec.pop('network'), **spec)(np.random.default_rng(0))
    pi.load(path)
    return pi


def roll_out(path: str, episodes: int) -> dict[str, np.ndarray]:
    """Positions of the torso, [episodes, steps + 1, 2] in m, NaN after the end; returns and lengths.

    Actions are sampled, as in training.
    """
    from onpolicybaselines.common.cmd_util import make_env
    env = make_env(ANT, 'mujoco', seed=1000)
    act = load_policy(path, env).actor()
    paths, rewards = [], []
    for _ in range(episodes):
        observation, info = env.reset()
        positions, ended, rewards_here = [], False, 0.
        while not ended:
            positions.append((info['x_position'], info['y_position']))
            observation, reward, terminated, truncated, info = env.step(act(observation)[0])
            ended, rewards_here = terminated or truncated, rewards_here + reward
        paths.append([*positions, (info['x_position'], info['y_position'])])
        rewards.append(rewards_here)
    env.close()
    lengths = np.array([len(p) - 1 for p in paths])
    xy = np.full([episodes, lengths.max() + 1, 2], np.nan, 'float32')
    for row, positions in zip(xy, paths, strict=True):
        row[:len(positions)] = positions
    return {'xy': xy, 'returns': np.array(rewards), 'lengths': lengths}


def walk(jobs: dict[str, Job], workers: int, episodes: int) -> list[Job]:
    """Train what is not trained and roll out what is not rolled out; a model is kept until then.

    Returns the jobs that failed.
    """
    failed = run_jobs(list(unfinished(jobs).values()), workers) if unfinished(jobs) else []
    for job in jobs.values():
        if job not in failed and not os.path.exists(job.path('trajectories.npz')):
            write_arrays(job.path('trajectories.npz'), roll_out(job.path('model.npz'), episodes))
            for name in ('model.npz', f'{LOGS[-1]}.gz'):  # the log of each of so many short episodes takes a megabyte
                Path(job.path(name)).unlink(missing_ok=True)
    return failed


def load_trajectories(jobs: dict[str, Job]) -> dict[str, dict[str, np.ndarray]]:
    """What `roll_out` gave, by policy, as far as it is there."""
    trajectories = {}
    for name, job in jobs.items():
        if os.path.exists(job.path('trajectories.npz')):
            with np.load(job.path('trajectories.npz')) as data:
                trajectories[name] = dict(data)
    return trajectories
