"""Do flows gain under PPO, and does PPO2 learn as SB3's PPO at the same work? Ours: the paper only says that they gain
little."""
import sys

from run.experiments.experiment import FLOW, GAUSSIAN, Experiment, Method
from run.reproduce import main

PPO2 = '--alg=ppo2'
GAUSSIAN_PPO2 = GAUSSIAN._replace(options=(PPO2, *GAUSSIAN.options))

EXPERIMENT = Experiment(
    name='ppo',
    title="PPO2 with Gaussians and flows, and SB3's PPO",
    tasks=dict.fromkeys(('Hopper-v5', 'HalfCheetah-v5', 'Walker2d-v5', 'Ant-v5'), 1_000_000),
    methods={'gaussian': GAUSSIAN_PPO2,
             'gaussian-as-sb3': GAUSSIAN_PPO2.plus('--vf_coef=1', ', losses as SB3').plus(
                 '--bootstrap_truncated=True', ''),
             'sb3': Method("Gaussian, SB3's PPO", (), '#7f7f7f', program='run.experiments.sb3'),
             'flow': FLOW._replace(options=(PPO2, *FLOW.options))},
    seeds=5,
    options=(),
    comparisons=(('gaussian', 'sb3'), ('gaussian-as-sb3', 'sb3'), ('flow', 'gaussian')),
    interquartile=True,
    needs=('stable_baselines3',),
)

if __name__ == '__main__':
    sys.exit(main(EXPERIMENT))
