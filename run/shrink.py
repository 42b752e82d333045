"""Logs of finished runs with numbers of six digits, half as many bytes to commit: `python -m run.shrink results/why`.

Seconds have two decimals. A run leaves all digits; the tables and plots of those that remain are the same.
"""
import argparse
import csv
import io
import pathlib
import sys
from collections.abc import Sequence

from onpolicybaselines.common.tables import read_text
from run.experiments.jobs import write_compressed

LOGS = 'progress.csv.gz', '[0-9]*.monitor.csv.gz'  # of one environment, or of several
SECONDS = 't', 'TimeElapsed', 'time/time_elapsed', 'misc/time_elapsed'


def shortened(text: str) -> str:
    """The text of a log, CSV after a first line that may be a comment, with fewer digits; what is short stays."""
    comment, end, table = text.partition('\n') if text.startswith('#') else ('', '', text)
    head, *rows = csv.reader(io.StringIO(table))
    forms = ['%.2f' if name in SECONDS else '%.6g' for name in head]
    out = io.StringIO()
    csv.writer(out, lineterminator='\n').writerows(
        [head, *([_short(cell, form) for cell, form in zip(row, forms, strict=True)] for row in rows)])
    return comment + end + out.getvalue()


def _short(cell, form):
    try:
        return cell if cell.isdigit() else min(cell, form % float(cell), key=len)
    except ValueError:  # a word
        return cell


def main(argv: Sequence[str]) -> None:
    """The command line `argv` (as sys.argv)."""
    parser = argparse.ArgumentParser(prog='python -m run.shrink', description=__doc__.partition(',')[0])
    parser.add_argument('folder', type=pathlib.Path, nargs='+', help='with the runs of a figure, or of several')
    for folder in parser.parse_args(argv[1:]).folder:
        for path in sorted(str(path) for name in LOGS for path in folder.rglob(name)):
            text = read_text(path)
            short = shortened(text)
            if short != text:
                write_compressed(path, short.encode())


if __name__ == '__main__':
    main(sys.argv)
