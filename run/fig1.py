"""Figure 1: how far Gaussians and flows of one KL divergence, or of one entropy, spread (paper, section 4.2)."""
import os
import sys
from collections.abc import Sequence

from onpolicybaselines.common.files import replacing
from run.experiments.command_line import parse_args, run_figure
from run.experiments.measured import measured
from run.experiments.spread import PANELS, SEEDS, SPREADS, measure


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    args = parse_args('fig1', __doc__.splitlines()[0], SEEDS, argv)
    if args.dry_run:
        print(f'{len(PANELS)} panels × 2 families × initial spreads {SPREADS} × {args.seeds} seeds into '
              + os.path.join(args.folder, 'fig1.json'))
        return
    found = measured(args, 'fig1', measure)
    if found is None:
        return
    rows, arrays = found
    from run.plots import spread  # here, because it takes Matplotlib
    spread.draw(rows, arrays, os.path.join(args.folder, 'fig1.png'))
    with replacing(os.path.join(args.folder, 'fig1.md'), encoding='utf-8') as fh:
        fh.write(spread.report(rows))


if __name__ == '__main__':
    sys.exit(run_figure(main))
