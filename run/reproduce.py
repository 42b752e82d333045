"""Train what is missing of an experiment, then draw what there is."""
import os
import sys
from collections.abc import Callable, Sequence

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.extras import need
from run.experiments.command_line import default_folder, figure_parser, print_lines
from run.experiments.experiment import Experiment
from run.experiments.jobs import OLD, report_failed, run_jobs


def _parse(experiment, argv):
    parser = figure_parser(experiment.name, experiment.title, experiment.seeds, any_steps=True)
    parser.add_argument('--tasks', nargs='+', choices=experiment.tasks, default=[*experiment.tasks], metavar='TASK',
                        help=f'of {" ".join(experiment.tasks)} (default: all)')
    parser.add_argument('--methods', nargs='+', choices=experiment.methods, default=[*experiment.methods],
                        metavar='METHOD', help=f'of {" ".join(experiment.methods)} (default: all)')
    args = parser.parse_args(argv)
    args.methods = [*dict.fromkeys(args.methods)]
    if args.folder is None:
        args.folder = (os.path.join('runs', f'steps-{args.steps}', experiment.name) if args.steps
                       else default_folder(experiment.name, args.scale))
    return args


def draw_curves(experiment: Experiment, folder: str) -> None:
    """Curves and tables of the finished runs."""
    from run.plots import curves  # here, because workers import the figures, too
    curves.draw(experiment, folder)


def main(experiment: Experiment, argv: Sequence[str] | None = None,
         draw: Callable[[Experiment, str], None] = draw_curves) -> int:
    """The command line of a figure: train what is missing, then draw(experiment, folder) what there is.

    Returns the exit status: 1 if a run failed, 2 after bad input, 130 after Ctrl-C.
    """
    args = _parse(experiment, argv)
    tasks = {task: args.steps or experiment.steps(task, args.scale) for task in args.tasks}
    seeds = args.seeds or (experiment.smoke_seeds if args.scale == 'smoke' else experiment.seeds)
    jobs = experiment.jobs(args.folder, tasks, args.methods, seeds)
    if args.dry_run:
        print_lines(job.command for job in jobs if not job.finished())
        return 0
    shorter = sum(0 < job.finished_steps() < job.steps for job in jobs)
    if shorter and not args.plot_only:
        print(f'{shorter} finished runs have fewer steps and are trained anew; until then they are kept in *{OLD}',
              file=sys.stderr)
    try:
        need('matplotlib', 'pandas', 'rliable')
        if not args.plot_only:
            need(*experiment.needs)
        failed = [] if args.plot_only else run_jobs(jobs, args.workers)
    except (UsageError, OSError) as e:  # OSError: a folder that cannot be written
        print(f'error: {e}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        finished = sum(job.finished() for job in jobs)
        print(f'interrupted: {finished} of {len(jobs)} runs are finished; the same command trains the others',
              file=sys.stderr)
        return 130
    status = report_failed(failed)
    draw(experiment, args.folder)
    return status
