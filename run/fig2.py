"""Figure 2: correlated actions, two modes, the ways of an ant: what policies can express (paper, section 4.3)."""
import os
import sys
from collections.abc import Sequence

from onpolicybaselines.common.files import replacing
from run.experiments.ants import EPISODES, ant_jobs, load_trajectories, unfinished, walk
from run.experiments.bandits import BANDITS, POLICIES, SEEDS, SPREADS, train_on_bandits
from run.experiments.command_line import parse_args, print_lines, run_figure
from run.experiments.jobs import report_failed
from run.experiments.measured import measured


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 1 if a training run failed, when all else is done."""
    args = parse_args('fig2', __doc__.splitlines()[0], SEEDS, argv)
    jobs = ant_jobs(args.folder, args.scale)
    if args.dry_run:
        print_lines([f'{len(BANDITS)} bandits × {len(POLICIES)} policies × initial spreads {SPREADS} × {args.seeds} '
                     f'seeds into {os.path.join(args.folder, "fig2.json")}',
                     *(job.command for job in unfinished(jobs).values())])
        return 0
    failed = [] if args.plot_only else walk(jobs, args.workers, EPISODES if args.scale == 1 else 2)
    found = measured(args, 'fig2', train_on_bandits)
    if found is not None:
        rows, samples = found
        trajectories = load_trajectories(jobs)
        steps = min((jobs[name].recorded_steps() for name in trajectories), default=0)
        from run.plots import expressiveness  # here, because it takes Matplotlib
        expressiveness.draw(samples, rows, trajectories, steps, os.path.join(args.folder, 'fig2.png'))
        with replacing(os.path.join(args.folder, 'fig2.md'), encoding='utf-8') as fh:
            fh.write(expressiveness.bandit_table(rows) + '\n' + expressiveness.ant_table(trajectories))
    return report_failed(failed)


if __name__ == '__main__':
    sys.exit(run_figure(main))
