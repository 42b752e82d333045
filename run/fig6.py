"""Figure 6: how sensitive TRPO is to max_kl: final performance of 30 random draws, by quantile, Gaussian and flow."""
import random
import sys

from run.experiments.experiment import FLOW, FROZEN, GAUSSIAN, GYM, Experiment, with_both_fishers
from run.reproduce import main


def draw(n: int) -> tuple[str, tuple[str, ...]]:
    """The n-th draw, the same for all policies and tasks: log10 of max_kl uniform in [-3, -2], one of five seeds."""
    generator = random.Random(n)
    max_kl = 10 ** generator.uniform(-3, -2)
    return f'draw_{n}', (f'--max_kl={max_kl:.3g}', f'--seed={generator.randrange(5)}')


EXPERIMENT = Experiment(
    name='fig6',
    title='Sensitivity of TRPO to the size of its trust region',
    tasks={
        **{task: GYM[task] for task in ('Reacher-v5', 'Hopper-v5', 'HalfCheetah-v5')},
        'rllab/SimpleHumanoid-v0': 5_000_000,
    },
    methods={'gaussian': GAUSSIAN, 'gaussian-frozen': FROZEN, **with_both_fishers({'flow': FLOW})},
    seeds=30,
    nth=draw,
    plot='quantiles',
    smoke_seeds=2,
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
