"""Returns of the policies that Roboschool published, in its tasks as this package has them and in its last release.

    python -m run.agent_zoo path/to/roboschool/agent_zoo
    python3.7 run/agent_zoo.py path/to/roboschool/agent_zoo    # where roboschool 1.0.49 and gym 0.15.4 are installed

Each writes its half of results/envs/returns.json. So the file runs alone, and under both Pythons.
"""
from __future__ import annotations

import argparse
import ast
import datetime
import json
import pathlib
import sys

import numpy as np

try:
    import gym
    import pkg_resources
    import roboschool  # noqa: F401 (its tasks)
    SIDE = 'release'
    VERSIONS = {'gym': gym.__version__, 'roboschool': pkg_resources.get_distribution('roboschool').version}
except ImportError:
    import gymnasium
    import mujoco

    import onpolicybaselines.envs  # noqa: F401 (its tasks)
    SIDE = 'here'
    VERSIONS = {'gymnasium': gymnasium.__version__, 'mujoco': mujoco.__version__}

TASKS = 'Hopper', 'Walker2d', 'HalfCheetah', 'Ant', 'Humanoid', 'HumanoidFlagrun', 'HumanoidFlagrunHarder'
WHAT = 'returns and lengths of episodes of the policies that Roboschool published (agent_zoo, v1), without any training'
RESULTS = pathlib.Path(__file__).resolve().parents[1] / 'results' / 'envs' / 'returns.json'


def layers(path: pathlib.Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of three layers, read from a file of assignments `name = np.array(list)`; nothing is run."""
    arrays = {statement.targets[0].id: np.array(ast.literal_eval(statement.value.args[0]))
              for statement in ast.parse(path.read_text(encoding='utf-8')).body if isinstance(statement, ast.Assign)}
    return [(arrays['weights_' + layer + '_w'], arrays['weights_' + layer + '_b'])
            for layer in ('dense1', 'dense2', 'final')]


def act(policy: list[tuple[np.ndarray, np.ndarray]], observation: np.ndarray) -> np.ndarray:
    """The action, not clipped: two layers of rectified-linear units, and a linear one."""
    *hidden, (weight, bias) = policy
    for w, b in hidden:
        observation = np.maximum(observation @ w + b, 0)
    return observation @ weight + bias


def make(task: str):
    """The task, with a time limit of 1000 steps, and how to reset it with a seed."""
    if SIDE == 'here':
        env = gymnasium.make('roboschool/' + task + '-v0')
        return env, lambda seed: env.reset(seed=seed)[0]
    env = gym.make('Roboschool' + task + '-v1')

    def reset(seed):
        env.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (FlagrunHarder draws from it)
        return env.reset()
    return env, reset


def play(task: str, policy: list[tuple[np.ndarray, np.ndarray]], episodes: int) -> dict[str, list]:
    """Returns and lengths of episodes with the seeds 0, 1, ..."""
    env, reset = make(task)
    returns, lengths = [], []
    for seed in range(episodes):
        observation, over = reset(seed), False
        returns.append(0.)
        lengths.append(0)
        while not over:
            observation, reward, *ends, _ = env.step(act(policy, observation))
            over = any(ends)
            returns[-1] += float(reward)
            lengths[-1] += 1
    return {'returns': [round(value, 1) for value in returns], 'lengths': lengths}


def main(argv: list[str]) -> None:
    """The command line `argv` (as sys.argv)."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('zoo', type=pathlib.Path, help='the folder agent_zoo of a checkout of openai/roboschool')
    parser.add_argument('--episodes', type=int, default=100, help='of each task (default: 100)')
    args = parser.parse_args(argv[1:])
    data = json.loads(RESULTS.read_text(encoding='utf-8')) if RESULTS.exists() else {'what': WHAT}
    data[SIDE] = {
        'date': str(datetime.date.today()), 'versions': {'python': sys.version.split()[0], **VERSIONS},
        'tasks': {task: play(task, layers(args.zoo / ('Roboschool' + task + '_v1_2017jul.weights')), args.episodes)
                  for task in TASKS}}
    RESULTS.write_text(json.dumps(data) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main(sys.argv)
