"""Figure 5: ACKTR with Gaussians and flows on the MuJoCo tasks of gym and on those of Roboschool."""
import sys

from run.experiments.experiment import FLOW, GAUSSIAN, GYM, Experiment
from run.reproduce import main

EXPERIMENT = Experiment(
    name='fig5',
    title='ACKTR on MuJoCo and Roboschool tasks',
    tasks={
        **GYM,
        'roboschool/Hopper-v0': 10_000_000,
        'roboschool/Walker2d-v0': 10_000_000,
        'roboschool/HalfCheetah-v0': 10_000_000,
        'roboschool/Ant-v0': 10_000_000,
        'roboschool/Humanoid-v0': 10_000_000,
    },
    methods={'gaussian': GAUSSIAN, 'flow': FLOW},
    seeds=3,
    options=('--alg=acktr_cont',),
    smoke_steps=5000,  # two batches
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
