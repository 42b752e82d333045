"""Should TRPO's observation filter take in a batch before the update from it, as upstream, or after? Not in the paper.

The runs with the filter before are those of figure 3, so: `python -m run.filter_update --folder results/fig3`.
"""
import sys

from run.experiments.experiment import FLOW, GAUSSIAN, Experiment, with_both_fishers
from run.reproduce import main

BEFORE = {'gaussian': GAUSSIAN, 'flow-gn': with_both_fishers({'flow': FLOW})['flow-gn']._replace(dashed=False)}

EXPERIMENT = Experiment(
    name='filter_update',
    title='TRPO, observation filter before and after the update',
    tasks=dict.fromkeys(('Reacher-v5', 'Hopper-v5', 'HalfCheetah-v5'), 1_000_000),
    methods=BEFORE | {f'{name}-after': before.plus('--filter_update=after', ', filter after')
                      for name, before in BEFORE.items()},
    seeds=3,
    comparisons=tuple((f'{name}-after', name) for name in BEFORE),
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
