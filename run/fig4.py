"""Figure 4: TRPO with Gaussians and flows on the Humanoid tasks of Roboschool, two seeds each, every run a curve."""
import sys

from run.experiments.experiment import FLOW, FROZEN, GAUSSIAN, Experiment, with_both_fishers
from run.reproduce import main

EXPERIMENT = Experiment(
    name='fig4',
    title='TRPO on Roboschool Humanoid tasks',
    tasks={
        'roboschool/Humanoid-v0': 10_000_000,
        'roboschool/HumanoidFlagrun-v0': 10_000_000,
        'roboschool/HumanoidFlagrunHarder-v0': 10_000_000,
    },
    methods={'gaussian': GAUSSIAN, 'gaussian-frozen': FROZEN, **with_both_fishers({'flow': FLOW})},
    seeds=2,
    plot='runs',
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
