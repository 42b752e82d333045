"""Figure 7: flows of other sizes under TRPO: K layers, l1 units in their networks."""
import sys

from run.experiments.experiment import FLOW, GYM, Experiment, Method, with_both_fishers
from run.reproduce import main

# (4, 3) is the flow of the other figures; no colour is that of another method there
SIZES = {(2, 3): '#fc9272', (4, 3): FLOW.color, (6, 3): '#67000d', (4, 5): '#e377c2', (4, 7): '#17becf'}
FLOWS = {f'K{K}-l{l1}': Method(f'K={K}, l1={l1}', ('--policy=flow', f'--flow_layers={K}', f'--flow_units={l1}'), color)
         for (K, l1), color in SIZES.items()}
METHODS = with_both_fishers(FLOWS)

EXPERIMENT = Experiment(
    name='fig7',
    title='Sizes of flows under TRPO',
    tasks={task: GYM[task] for task in ('Reacher-v5', 'Hopper-v5')},
    methods=METHODS,
    seeds=5,
    panels={'K varies': tuple(name for name in METHODS if '-l3' in name),
            'l1 varies': tuple(name for name in METHODS if name.startswith('K4'))},
    comparisons=(),
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
