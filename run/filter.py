"""Should TRPO's observation filter take in a batch before the update from it, as upstream, or after? Not in the paper.

The runs with the filter before are those of figure 3, so: `python -m run.filter --folder results/fig3`.
"""
import sys

from run.jobs import FLOW, GAUSSIAN, Experiment, Method, main, with_gauss_newton

BEFORE = {'gaussian': GAUSSIAN, 'flow-gn': with_gauss_newton({'flow': FLOW})['flow-gn']}


def _after(method: Method) -> Method:
    return Method(f'{method.label}, filter after', (*method.options, '--filter_update=after'), method.color, True)


EXPERIMENT = Experiment(
    name='filter',
    title='TRPO, observation filter before and after the update',
    tasks=dict.fromkeys(('Reacher-v5', 'Swimmer-v5', 'Hopper-v5', 'HalfCheetah-v5'), 1_000_000),
    methods={name: method for plain, before in BEFORE.items()
             for name, method in ((plain, before._replace(dashed=False)), (f'{plain}-after', _after(before)))},
    seeds=3,
    comparisons=tuple((f'{name}-after', name) for name in BEFORE),
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
