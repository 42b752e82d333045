"""Figure 3: TRPO with factorized Gaussians, mixtures and flows on the MuJoCo tasks of gym and rllab."""
import sys

from run.experiments.experiment import FLOW, FROZEN, GAUSSIAN, GMM2, GMM5, GYM, NARROW, Experiment, with_both_fishers
from run.reproduce import main

EXPERIMENT = Experiment(
    name='fig3',
    title='TRPO on MuJoCo tasks',
    tasks={
        **GYM,
        'rllab/SimpleHumanoid-v0': 5_000_000,
        'rllab/Humanoid-v0': 5_000_000,
    },
    methods={'gaussian': GAUSSIAN, 'gaussian-0.37': NARROW, 'gaussian-frozen': FROZEN,
             **with_both_fishers({'gmm2': GMM2, 'gmm5': GMM5, 'flow': FLOW})},
    seeds=5,
    comparisons=(('flow', 'gaussian'), ('flow', 'gaussian-frozen'), ('flow', 'gmm5'), ('flow-gn', 'gaussian'),
                 ('flow-gn', 'gaussian-0.37'), ('flow-gn', 'gaussian-frozen'), ('flow-gn', 'gmm5-gn'),
                 ('flow-gn', 'flow'), ('gmm5', 'gaussian'), ('gmm5', 'gaussian-frozen'), ('gmm5-gn', 'gaussian'),
                 ('gmm5-gn', 'gaussian-frozen'), ('gmm5-gn', 'gmm5')),
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
