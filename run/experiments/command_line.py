"""The command line of the figures: options that all have, packages they need, exit status."""
import argparse
import contextlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence

from onpolicybaselines.common.errors import UsageError

SMOKE = 0.002  # scale of a figure that trains by no job: every path, nothing learned


def parse_scale(text: str) -> str:
    """'smoke', or a factor above 0, of --scale."""
    with contextlib.suppress(ValueError):
        if text == 'smoke' or 0 < float(text) < math.inf:
            return text if text == 'smoke' else f'{float(text):g}'
    raise argparse.ArgumentTypeError(f"{text} is neither a factor above 0 nor 'smoke'")


def parse_count(text: str) -> int:
    """A whole number above 0, such as 3 or 1e6."""
    with contextlib.suppress(ValueError):
        if float(text) > 0 and float(text).is_integer():
            return int(float(text))
    raise argparse.ArgumentTypeError(f'{text} is no whole number above 0')


def figure_parser(name: str, title: str, seeds: int, any_steps: bool = False) -> argparse.ArgumentParser:
    """The options that all figures have; `any_steps`: --steps, too."""
    parser = argparse.ArgumentParser(prog=f'python -m run.{name}', description=title)
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--scale', type=parse_scale, default='1', metavar='S', help="a factor on the paper's steps; or "
                        'smoke: a few steps and one seed, to try everything (default: 1)')
    if any_steps:
        length.add_argument('--steps', type=parse_count, metavar='N', help='time steps of every run')
    parser.add_argument('--seeds', type=parse_count, metavar='N', help=f'runs of each curve (default: {seeds})')
    parser.add_argument('--folder', help=f'of the results (default: results/{name} at scale 1, '
                        f'else runs/scale-S/{name}{f" or runs/steps-N/{name}" * any_steps})')
    parser.add_argument('-j', dest='workers', type=parse_count, default=_processors(), metavar='N',
                        help='training runs at a time (default: one for each processor)')
    parser.add_argument('--dry-run', action='store_true', help='print the commands of the runs that are not finished')
    parser.add_argument('--plot-only', action='store_true', help='train nothing, draw what there is')
    return parser


def _processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def default_folder(name: str, scale: str) -> str:
    """The folder of a figure's results: a committed one at full scale only."""
    return os.path.join('results' if scale == '1' else os.path.join('runs', f'scale-{scale}'), name)


def print_lines(lines: Iterable[str]) -> None:
    """To standard output, which may be closed early, as `| head` does."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, 'w')  # what the interpreter flushes at its end


def check_installed(*packages: str, extras: str = 'plots,figures') -> None:
    """Raises UsageError, with the line that installs them, for packages that plots or runs need, before hours of
    training."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} is not installed: pip install 'onpolicybaselines[{extras}]'")


def parse_args(name: str, title: str, seeds: int, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line of a figure that is no training curves; `scale` is a number, `folder` that of its results."""
    args = figure_parser(name, title, seeds).parse_args(argv)
    check_installed('matplotlib')
    args.folder = args.folder or default_folder(name, args.scale)
    smoke = args.scale == 'smoke'
    args.scale, args.seeds = SMOKE if smoke else float(args.scale), args.seeds or (1 if smoke else seeds)
    return args


def run_figure(main: Callable[[], int | None]) -> int:
    """main(); returns the exit status: main's, 130 after Ctrl-C, 2 after what a user can mend, said in a line."""
    try:
        return main() or 0
    except KeyboardInterrupt:
        print('interrupted; the same command begins again what was under way', file=sys.stderr)
        return 130
    except (UsageError, OSError) as e:
        print(f'error: {e}', file=sys.stderr)
        return 2
