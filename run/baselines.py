"""Does it learn like Baselines? Its defaults on the tasks of its own benchmark, beside the curves that it published.

results/baselines/published.csv: openai/baselines' benchmarks_mujoco1M.htm (its commit ea68f3b, `-v2` tasks, six seeds).
"""
import sys

from run.experiments.experiment import GAUSSIAN, Experiment, Method
from run.reproduce import main

EXPERIMENT = Experiment(
    name='baselines',
    title='Defaults, beside the curves that OpenAI Baselines published',
    tasks=dict.fromkeys(('HalfCheetah-v5', 'Hopper-v5', 'Walker2d-v5', 'Swimmer-v5', 'Reacher-v5',
                         'InvertedPendulum-v5', 'InvertedDoublePendulum-v5'), 1_000_000),
    methods={'trpo_mpi': Method('TRPO', ('--alg=trpo_mpi',), GAUSSIAN.color)},
    seeds=6,
    options=(),
    comparisons=(),
    published='results/baselines/published.csv',
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
