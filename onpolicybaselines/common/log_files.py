"""Files that a run writes line by line: how they are begun, gone on with, and what is written into them."""
import contextlib
import csv
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any, TextIO

import numpy as np

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import replacing

STEPS = ('TimestepsSoFar', 'total_timesteps', 'misc/total_timesteps')  # what algorithms call them in their logs
KEEP = 'ONPOLICYBASELINES_KEEP_LOGS'


@contextlib.contextmanager
def kept_logs() -> Iterator[None]:
    """Logs that are opened in this context, and in processes begun in it, go on with the files that are there; each
    must then be given the state that says up to where."""
    os.environ[KEEP] = '1'
    try:
        yield
    finally:
        del os.environ[KEEP]


def open_log(filename: str, error: str = '') -> TextIO:
    """An empty file to write to, or the one that is there, see `kept_logs`.

    Raises UsageError, one line, if it cannot be: `error`, with the name and the reason in it.
    """
    try:
        return open(filename, 'a' if KEEP in os.environ else 'w', encoding='utf-8', newline='')
    except OSError as e:
        if not error:
            raise
        raise UsageError(error.format(filename, e.strerror)) from None


def position(file: TextIO) -> int:
    """How many bytes have been written, and are on the disk: a checkpoint that names them must find them."""
    file.flush()
    with contextlib.suppress(OSError):  # a pipe, say
        os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size


def cut(file: TextIO, size: int) -> None:
    """Forget what was written after so many bytes. Raises UsageError if there are fewer."""
    file.flush()
    cut_file(file.name, size)  # it is open for appending


def cut_file(name: str, size: int) -> None:
    """`cut`, of a file by its name."""
    _check_length(name, os.path.getsize(name) if os.path.exists(name) else 0, size, 'bytes')
    os.truncate(name, size)


def _check_length(name, now, then, unit):
    if now < then:
        raise UsageError(f'{name} has {now} {unit}, and had {then} at the checkpoint, so the run cannot go on: put the '
                         'file back, or begin anew')


def attempt(write: Callable, *args: Any) -> None:
    """write(*args), a method of something with a `file`, or an `f`. A full disk or a closed pipe is no reason to end a
    run, and is one line on stderr, the first time."""
    try:
        write(*args)
    except OSError as e:
        file = getattr(write.__self__, 'file', None) or getattr(write.__self__, 'f', None)
        name = getattr(file, 'name', type(write.__self__).__name__)
        if file is sys.stdout:
            give_up_stdout()
        if name not in _failed:
            _failed.add(name)
            with contextlib.suppress(OSError):
                print(f'cannot write to {name} ({e.strerror}): the run goes on', file=sys.stderr, flush=True)


_failed: set[str] = set()  # names of files


def give_up_stdout() -> None:
    """To nowhere from now on: what its buffer keeps would be an error at the end of the process, too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def count_rows(file: TextIO) -> int:
    """Rows of a CSV file, its header not counted."""
    file.flush()
    with open(file.name, encoding='utf-8', newline='') as fh:
        return max(sum(1 for _ in csv.reader(fh)) - 1, 0)


def rewrite_table(file: TextIO, keys: list[str], rows: int | None = None) -> TextIO:
    """The CSV file with other columns, some at the end more or fewer, and all or only the first of its rows. A reader,
    or a crash, meets a whole one at any moment. Raises UsageError if there are fewer rows."""
    file.flush()
    text: dict[str, Any] = {'encoding': 'utf-8', 'newline': ''}
    with open(file.name, **text) as old, replacing(file.name, **text) as new:
        lines = csv.reader(old)
        next(lines, None)  # the old header; none in a new file
        writer = csv.writer(new, lineterminator='\n')
        kept = [row for i, row in enumerate(lines) if rows is None or i < rows]
        _check_length(file.name, len(kept), rows or 0, 'rows')
        writer.writerows([keys, *((row + [''] * len(keys))[:len(keys)] for row in kept)] if keys else [])
    file.close()
    return open(file.name, 'a', **text)


def all_or_none(files: Iterable[Any]) -> list[Any]:
    """All that are made one after the other; those before one that fails are closed."""
    with contextlib.ExitStack() as opened:
        made = []
        for file in files:
            made.append(file)
            opened.callback(file.close)
        opened.pop_all()
    return made


@contextlib.contextmanager
def log_folder(dir: str) -> Iterator[None]:
    """Make `dir`, and turn any failure to write there into one clear line."""
    try:
        os.makedirs(dir, exist_ok=True)
        if not os.access(dir, os.W_OK | os.X_OK):
            raise PermissionError(None, 'permission denied')
        yield
    except OSError as e:
        raise UsageError(f'cannot write logs to {dir} ({e.strerror}); choose another folder with '
                         'logger.configure(dir=...) or OPENAI_LOGDIR') from None


def plain(val: Any) -> Any:
    """NumPy and TensorFlow values as Python numbers or nested lists; all else as it is."""
    if hasattr(val, 'dtype'):
        arr = np.asarray(val)
        return arr.item() if arr.size == 1 else arr.tolist()
    return val


def strict_json(val: Any) -> Any:
    """`plain`, with NaN and the infinities, which JSON lacks, as None."""
    val = plain(val)
    if isinstance(val, float) and not math.isfinite(val):
        return None
    if isinstance(val, (list, tuple)):
        return [strict_json(v) for v in val]
    if isinstance(val, Mapping):
        return {str(k): strict_json(v) for k, v in val.items()}
    return val


def logged(kvs: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """The value of the first of the `names` in a row of a log, NaN without one."""
    return next((float(kvs[name]) for name in names if name in kvs), math.nan)


def step_of(kvs: Mapping[str, Any], dump: int) -> int:
    """At which time step a row of a log is; without one, the number of the dump."""
    steps = logged(kvs, STEPS)
    return dump if math.isnan(steps) else int(steps)


def progress_bar_aside(file: IO) -> contextlib.AbstractContextManager:
    """Take tqdm's bars off the terminal while `file` is written, if the program uses tqdm at all."""
    tqdm = getattr(sys.modules.get('tqdm'), 'tqdm', None)
    return contextlib.nullcontext() if tqdm is None else tqdm.external_write_mode(file=file)
