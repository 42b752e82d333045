"""Tables that runs write, read strictly: their values, or one line that says what is wrong with the file."""
import contextlib
import csv
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from onpolicybaselines.common.extras import need

if TYPE_CHECKING:
    import pandas

RUN_TOGETHER = re.compile(r'-?\d+\.\d+(e[-+]?\d+)?-?(\d+)?\.\d+.*')  # of two writers in one file


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Whatever is wrong with a file is a ValueError of one line: what it is, which has its name, and why."""
    try:
        yield
    except (ValueError, OSError, EOFError, zlib.error, csv.Error, RecursionError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else ' '.join(str(e).split())
        raise ValueError(f'{what}: {reason or type(e).__name__}') from None


def read_text(fname: str) -> str:
    """The text in UTF-8 of a file, which is compressed if its name ends in .gz. For use within `naming`."""
    if not os.path.isfile(fname):
        raise ValueError('it is no file')
    with (gzip.open if fname.endswith('.gz') else open)(fname, 'rb') as fh:
        text = fh.read().decode('utf-8')
    if '\0' in text:
        raise ValueError('it is no text')
    return text


def read_lines(fname: str) -> str:
    """`read_text` without a last line that a crash cut."""
    text = read_text(fname)
    return text[:text.rfind('\n') + 1]


def table(text: str, first_line: int = 1) -> 'pandas.DataFrame':
    """What is below the header of comma-separated values; first_line: its number in the file.

    Raises ValueError for no header, or one that has a name twice, for rows with more or fewer fields than it, and for
    words in a column of numbers.
    """
    import pandas
    (line, names), *rows = _rows(text, first_line)
    if '' in names or len(set(names)) < len(names) or any(map(_is_number, names)):
        raise ValueError(f'line {line} is no header, of names that differ')
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f'line {line} has {len(row)} fields, the header {len(names)}')
    frame = pandas.read_csv(io.StringIO(text), index_col=False, float_precision='round_trip', low_memory=False)
    check_numbers(frame, [line for line, _ in rows])
    return frame


def _rows(text, first_line):
    """[(number of its last line, fields)] of the rows that are not blank."""
    reader = csv.reader(io.StringIO(text, newline=''), strict=True)
    rows = [(first_line + reader.line_num - 1, row) for row in reader if row]
    if not rows:
        raise ValueError('it is empty')
    return rows


def check_numbers(frame: 'pandas.DataFrame', lines: Iterable[int]) -> None:
    """Raise ValueError for a column with both numbers and words, or with nothing but numbers that run together; lines:
    where in the file its rows are."""
    lines = list(lines)
    for name, column in frame.select_dtypes(exclude=['number', 'bool']).items():
        values = [(line, value) for line, value, there in zip(lines, column, column.notna(), strict=True) if there]
        words = [(line, value) for line, value in values if not _is_number(value)]
        if 0 < len(words) < len(values):
            raise ValueError(f'line {words[0][0]} has {str(words[0][1])[:40]!r} in {name!r}, a column of numbers')
        if len(values) == 1 and RUN_TOGETHER.fullmatch(str(values[0][1])):
            raise ValueError(f'line {values[0][0]} has {values[0][1]!r} in {name!r}, numbers that run together')


def _is_number(value):
    try:
        float(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def read_episodes(fname: str) -> tuple[dict[str, Any], 'pandas.DataFrame']:
    """(header, episodes) of a file of `bench.Monitor`.

    Raises ValueError, one line with the file's name, unless `t_start` and all r, l and t are finite numbers, and l
    counts.
    """
    with naming(f'{fname} is not a monitor file'):
        firstline, _, text = read_lines(fname).partition('\n')
        if not firstline.startswith('#'):
            raise ValueError('the first line is not "#" and a JSON header')
        header = json.loads(firstline[1:])
        _check_header(header)
        frame = table(text, first_line=2)
        if not {'r', 'l', 't'} <= set(frame.columns):
            raise ValueError('one of the columns r, l, t is missing')
        return header, _check_episodes(frame)


def _check_header(header):
    if not isinstance(header, dict):
        raise ValueError('the first line is not "#" and a JSON object')
    t_start, env_id = header.get('t_start'), header.get('env_id')
    if type(t_start) not in (int, float) or not abs(t_start) < 1e15:
        raise ValueError(f'"t_start" is no time: {t_start!r}')
    if not isinstance(env_id, (str, type(None))):
        raise ValueError(f'"env_id" is no name: {env_id!r}')


def _check_episodes(frame):
    if frame.empty:
        return frame
    for name in ('r', 'l', 't'):
        if frame[name].dtype.kind not in 'if' or not frame[name].abs().lt(float('inf')).all():
            raise ValueError(f'the column {name!r} is not all finite numbers')
    if not (frame.l.gt(0) & frame.l.lt(2**53) & (frame.l % 1).eq(0)).all():
        raise ValueError("the column 'l' is not all numbers of steps")
    return frame.astype({'l': 'int64'})


def read_dumps(fname: str) -> 'pandas.DataFrame':
    """A file of JSON objects, one a line; nulls are NaN, a last line that a crash cut is left out.

    Raises ValueError, one line with the file's name.
    """
    need('pandas')
    import pandas
    with naming(fname):
        lines = {i: line for i, line in enumerate(read_lines(fname).split('\n'), 1) if line.strip()}
    dumps = []
    for i, line in lines.items():
        with naming(f'{fname}, line {i}'):
            dumps.append(_dump(line))
    with naming(fname):
        frame = pandas.DataFrame(dumps)
        check_numbers(frame, lines)
        return frame


def _dump(line):
    try:
        return {name: float('nan') if value is None else value for name, value in json.loads(line).items()}
    except (json.JSONDecodeError, AttributeError) as e:
        raise ValueError(f'not valid JSON ({getattr(e, "msg", "no object")})') from None
