"""What training costs (`python -m run.bench`): speed against the simulator's own, start-up, ranks, cost against work.

Every measurement is a process of its own. Things to be compared are measured in turn, several times, and compared by
their medians. Results are JSON lines in results/bench, tables in Markdown beside them.

speed    steps per second of stepping the environment alone with random actions, drawn beforehand (raw), of TRPO with
         each policy at the defaults for MuJoCo, without its first three updates, of continuous ACKTR, A2C and PPO2, and
         of sb3-contrib's TRPO and SB3's PPO set to the same work (if they are installed: the extra `bench`); one
         process, one core. The limit of all is `mj_step` alone (physics)
startup  seconds to the end of the first iteration, as multiples of those to import TensorFlow and its probability
         library; memory
profile  where the time of an iteration goes
ranks    steps per second under mpirun
mpi      calls and bytes of MPI per update against the number of ranks; reckoned from those, a thousand ranks
acktr    where the time of a batch of continuous ACKTR goes: collecting 2500 steps, 25 updates of the critic, the rest
atari    steps per second of a2c, acktr and trpo_mpi on Pong, with their defaults for games, against the emulator with
         the same wrappers; all cores, which games and TensorFlow share (the extra `atari`)
cost     time of an update and memory against batch, action size, flow, network
checkpoints
         time and bytes of a checkpoint, and the part of the training time that they take by default, as on the command
         line (the extra `atari`)
predict  microseconds of `predict` for one observation, with and without numba, and of SB3's PPO with the same network
         (the extra `bench`)
"""
import argparse
import json
import sys

from onpolicybaselines.common.extras import need
from run.bench.measurements import measure_here
from run.bench.reports import ENVS, NEEDED, REPORTS
from run.experiments.command_line import run_figure


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog='python -m run.bench', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--what', nargs='+', choices=list(REPORTS), default=list(REPORTS))
    parser.add_argument('--envs', nargs='+', default=ENVS)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--folder', default='results/bench')
    parser.add_argument('--again', action='store_true', help='measure nothing: tables of the JSON lines that are there')
    parser.add_argument('--measure', type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure_here(**args.measure)
        return
    need(*dict.fromkeys(package for name in args.what for package in NEEDED.get(name, ())))
    for name in args.what:
        REPORTS[name](args)


if __name__ == '__main__':
    sys.exit(run_figure(main))
