"""Logs of finished runs with numbers of six digits, half as many bytes to commit: `python -m run.shrink results/why`.

Seconds have two decimals. A run leaves all digits; the tables and plots of those that remain are the same.
"""
import argparse
import csv
import gzip
import io
import pathlib
import re
import sys
from collections.abc import Sequence

from onpolicybaselines.common.files import replacing

LOGS = 'progress.csv.gz', '[0-9]*.monitor.csv.gz'
SECONDS = 't', 'TimeElapsed', 'time/time_elapsed', 'misc/time_elapsed'
NUMBER = re.compile(r'-?\d+(\.\d*)?(e[-+]?\d+)?$')


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
    if not NUMBER.match(cell) or cell.isdigit():
        return cell
    return min(cell, form % float(cell), key=len)


def main(argv: Sequence[str]) -> None:
    """The command line `argv` (as sys.argv)."""
    parser = argparse.ArgumentParser(prog='python -m run.shrink', description=__doc__.partition(',')[0])
    parser.add_argument('folder', type=pathlib.Path, nargs='+', help='with the runs of a figure, or of several')
    for folder in parser.parse_args(argv[1:]).folder:
        for path in sorted(path for name in LOGS for path in folder.rglob(name)):
            with gzip.open(path, 'rt', encoding='utf-8', newline='') as fh:
                text = fh.read()
            short = shortened(text)
            if short != text:
                with replacing(str(path), 'wb') as target, \
                        gzip.GzipFile(filename='', mode='wb', fileobj=target, mtime=0) as packed:
                    packed.write(short.encode())


if __name__ == '__main__':
    main(sys.argv)
