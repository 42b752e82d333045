"""Diagnostics of a run: key/value tables and messages, sent to any number of output formats.

Files in the run folder: log.txt, progress.csv, progress.json, tb/. Source: openai/baselines `logger.py`.
"""
import abc
import contextlib
import csv
import datetime
import functools
import json
import math
import os
import os.path as osp
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from onpolicybaselines.common import mpi_util, mpi_world
from onpolicybaselines.common.errors import UsageError

if TYPE_CHECKING:
    import pandas

DEBUG = 10
INFO = 20
WARN = 30
ERROR = 40

DISABLED = 50


class KVWriter(abc.ABC):
    """An output format that records tables of key/value pairs."""

    @abc.abstractmethod
    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Record the values of one dump; must not change `kvs`."""


class SeqWriter(abc.ABC):
    """An output format that records messages."""

    @abc.abstractmethod
    def writeseq(self, seq: Iterable[str]) -> None:
        """Record the words of one message."""


def _plain(val: Any) -> Any:
    """NumPy and TensorFlow values as Python numbers or nested lists; all else as it is."""
    if hasattr(val, 'dtype'):
        arr = np.asarray(val)
        return arr.item() if arr.size == 1 else arr.tolist()
    return val


def _strict_json(val: Any) -> Any:
    """`_plain`, with NaN and the infinities, which JSON lacks, as None."""
    val = _plain(val)
    if isinstance(val, float) and not math.isfinite(val):
        return None
    if isinstance(val, (list, tuple)):
        return [_strict_json(v) for v in val]
    if isinstance(val, Mapping):
        return {str(k): _strict_json(v) for k, v in val.items()}
    return val


def _progress_bar_aside(file: TextIO) -> contextlib.AbstractContextManager:
    """Take tqdm's bars off the terminal while `file` is written, if the program uses tqdm at all."""
    tqdm = getattr(sys.modules.get('tqdm'), 'tqdm', None)
    return contextlib.nullcontext() if tqdm is None else tqdm.external_write_mode(file=file)


class HumanOutputFormat(KVWriter, SeqWriter):
    """Tables and messages for the eye, in a text file (given by name, truncated) or an open stream."""

    def __init__(self, filename_or_file: str | TextIO) -> None:
        if isinstance(filename_or_file, str):
            self.file = open(filename_or_file, 'w', encoding='utf-8')
            self.own_file = True
        elif hasattr(filename_or_file, 'write'):
            self.file = filename_or_file
            self.own_file = False
        else:
            raise ValueError(f'expected a file name or an open text file, got {filename_or_file!r}')

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Write one framed table, keys in alphabetical order; an empty dict writes nothing."""
        if not kvs:
            return
        # Pairs rather than a dict: two long keys may look the same once cut.
        rows = [(self._truncate(key), self._truncate(self._format(_plain(val)))) for key, val in kvs.items()]
        rows.sort(key=lambda row: row[0].lower())
        keywidth = max(len(key) for key, _ in rows)
        valwidth = max(len(val) for _, val in rows)
        dashes = '-' * (keywidth + valwidth + 7)
        lines = [f'| {key:<{keywidth}} | {val:<{valwidth}} |' for key, val in rows]
        self._write('\n'.join([dashes, *lines, dashes]))

    def writeseq(self, seq: Iterable[str]) -> None:
        """Write the words on one line, a space between each two."""
        self._write(' '.join(seq))

    def close(self) -> None:
        """Close the file, unless it was given open."""
        if self.own_file:
            self.file.close()

    def _write(self, text: str) -> None:
        with contextlib.nullcontext() if self.own_file else _progress_bar_aside(self.file):
            self.file.write(text + '\n')
            self.file.flush()

    @staticmethod
    def _format(val: Any) -> str:
        return '%-8.3g' % val if isinstance(val, (int, float)) else str(val)

    @staticmethod
    def _truncate(s: str) -> str:
        maxlen = 30
        return s[:maxlen - 3] + '...' if len(s) > maxlen else s


class JSONOutputFormat(KVWriter):
    """One strict JSON object a line; NaN and infinities are null, objects JSON does not know are strings."""

    def __init__(self, filename: str) -> None:
        self.file = open(filename, 'w', encoding='utf-8')

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Append one line; an empty dict writes nothing."""
        if not kvs:
            return
        row = {key: _strict_json(kvs[key]) for key in sorted(kvs)}
        self.file.write(json.dumps(row, allow_nan=False, default=str) + '\n')
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class CSVOutputFormat(KVWriter):
    """One row a dump under a header of all keys seen so far; missing values are empty cells."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.keys: list[str] = []
        self._open('w')

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Append one row, after widening the table if there are new keys; an empty dict writes nothing."""
        if not kvs:
            return
        extra_keys = sorted(kvs.keys() - set(self.keys))
        if extra_keys:
            self._add_columns(extra_keys)
        self.writer.writerow([_plain(kvs.get(key)) for key in self.keys])
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _open(self, mode: str) -> None:
        self.file = open(self.filename, mode, encoding='utf-8', newline='')
        self.writer = csv.writer(self.file, lineterminator='\n')

    def _add_columns(self, extra_keys: list[str]) -> None:
        """Rewrite the table with more columns; a reader, or a crash, meets a whole one at any moment."""
        self.file.close()
        widened = self.filename + '.tmp'
        with (open(self.filename, encoding='utf-8', newline='') as old,
              open(widened, 'w', encoding='utf-8', newline='') as new):
            rows = csv.reader(old)
            next(rows, None)  # the old header; none in a new file
            writer = csv.writer(new, lineterminator='\n')
            self.keys.extend(extra_keys)
            writer.writerow(self.keys)
            writer.writerows(row + [''] * len(extra_keys) for row in rows)
        os.replace(widened, self.filename)
        self._open('a')


class TensorBoardOutputFormat(KVWriter):
    """Scalars for TensorBoard; the step is the number of the dump, from 1. Text and arrays are left out."""

    def __init__(self, dir: str) -> None:
        import tensorflow as tf
        os.makedirs(dir, exist_ok=True)
        self.dir = dir
        self.step = 1
        self.tf = tf
        self.writer = tf.summary.create_file_writer(dir)

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Write every number in `kvs` at the current step; an empty dict does not advance it."""
        if not kvs:
            return
        with self.writer.as_default(step=self.step):  # flushed on leaving
            for key in sorted(kvs):
                val = _plain(kvs[key])
                if isinstance(val, (int, float)):
                    self.tf.summary.scalar(key, float(val))
        self.step += 1

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()


_OUTPUT_FORMATS: dict[str, Callable[[str, str], KVWriter]] = {
    'stdout': lambda ev_dir, suffix: HumanOutputFormat(sys.stdout),
    'log': lambda ev_dir, suffix: HumanOutputFormat(osp.join(ev_dir, f'log{suffix}.txt')),
    'json': lambda ev_dir, suffix: JSONOutputFormat(osp.join(ev_dir, f'progress{suffix}.json')),
    'csv': lambda ev_dir, suffix: CSVOutputFormat(osp.join(ev_dir, f'progress{suffix}.csv')),
    'tensorboard': lambda ev_dir, suffix: TensorBoardOutputFormat(osp.join(ev_dir, f'tb{suffix}')),
}


@contextlib.contextmanager
def _log_dir(dir: str) -> Iterator[None]:
    """Create `dir`, and turn any failure to write there into one clear line."""
    try:
        os.makedirs(dir, exist_ok=True)
        if not os.access(dir, os.W_OK | os.X_OK):
            raise PermissionError(None, 'permission denied')
        yield
    except OSError as e:
        raise UsageError(f'cannot write logs to {dir} ({e.strerror}); choose another folder with '
                         'logger.configure(dir=...) or OPENAI_LOGDIR') from None


def make_output_format(format: str, ev_dir: str, log_suffix: str = '') -> KVWriter:
    """The output format called `format`, writing into `ev_dir` (created if need be).

    Raises UsageError for an unknown name and for a folder that cannot be written.
    """
    if format not in _OUTPUT_FORMATS:
        raise UsageError(f'unknown log format {format!r}: use one of {", ".join(_OUTPUT_FORMATS)}')
    with _log_dir(ev_dir):
        return _OUTPUT_FORMATS[format](ev_dir, log_suffix)


# ================================================================
# API
# ================================================================

def logkv(key: str, val: Any) -> None:
    """Set the value of one diagnostic for this iteration; the last call before a dump wins."""
    get_current().logkv(key, val)


def logkv_mean(key: str, val: float) -> None:
    """As `logkv`, but calls between two dumps are averaged."""
    get_current().logkv_mean(key, val)


def logkvs(d: Mapping[str, Any]) -> None:
    """`logkv` for every item of `d`."""
    for k, v in d.items():
        logkv(k, v)


def dumpkvs() -> dict[str, Any]:
    """Write this iteration's diagnostics to all outputs, forget them, and return them."""
    return get_current().dumpkvs()


def getkvs() -> dict[str, Any]:
    """The diagnostics gathered since the last dump (the live dict)."""
    return get_current().name2val


def log(*args: object, level: int = INFO) -> None:
    """Write the args on one line, separated by spaces, if `level` reaches the logger's own."""
    get_current().log(*args, level=level)


def debug(*args: object) -> None:
    """`log` at level DEBUG."""
    log(*args, level=DEBUG)


def info(*args: object) -> None:
    """`log` at level INFO."""
    log(*args, level=INFO)


def warn(*args: object) -> None:
    """`log` at level WARN."""
    log(*args, level=WARN)


def error(*args: object) -> None:
    """`log` at level ERROR."""
    log(*args, level=ERROR)


def set_level(level: int) -> None:
    """Let the current logger pass messages of `level` (DEBUG ... DISABLED) and above."""
    get_current().set_level(level)


def set_comm(comm: Any) -> None:
    """Average the current logger's diagnostics over the MPI communicator `comm` (None: do not)."""
    get_current().set_comm(comm)


def get_dir() -> str:
    """The current logger's run folder."""
    return get_current().get_dir()


record_tabular = logkv
dump_tabular = dumpkvs


@contextlib.contextmanager
def profile_kv(scopename: str) -> Iterator[None]:
    """Add the wall time spent inside (seconds) to the diagnostic `wait_<scopename>` of this iteration."""
    tstart = time.perf_counter()
    try:
        yield
    finally:
        get_current().name2val['wait_' + scopename] += time.perf_counter() - tstart


def profile(n: str) -> Callable[[Callable], Callable]:
    """Decorator: `profile_kv(n)` around every call of a function."""
    def decorator_with_name(func: Callable) -> Callable:
        @functools.wraps(func)
        def func_wrapper(*args: Any, **kwargs: Any) -> Any:
            with profile_kv(n):
                return func(*args, **kwargs)
        return func_wrapper
    return decorator_with_name


# ================================================================
# Backend
# ================================================================

def get_current() -> 'Logger':
    """The logger behind the free functions; without `configure`, one with the default settings."""
    if Logger.CURRENT is None:
        _configure_default_logger()
    return Logger.CURRENT


class Logger(object):
    """Gathers the diagnostics of one iteration at a time and hands them to its output formats.

    comm: MPI communicator over which dumps are averaged; rank 0 then has all values, the others none.
    """

    DEFAULT = None  # what `reset` goes back to: the logger made on first use without `configure`
    CURRENT = None  # the logger behind the free functions

    def __init__(self, dir: str, output_formats: list[KVWriter], comm: Any = None) -> None:
        self.name2val: dict[str, Any] = defaultdict(float)  # values of this iteration
        self.name2cnt: dict[str, int] = defaultdict(int)    # number of values in each mean
        self.level = INFO
        self.dir = dir
        self.output_formats = output_formats
        self.comm = comm

    # Logging API, forwarded
    # ----------------------------------------
    def logkv(self, key: str, val: Any) -> None:
        """Set a value; a mean begun under this key is forgotten."""
        self.name2val[key] = val
        self.name2cnt.pop(key, None)

    def logkv_mean(self, key: str, val: float) -> None:
        """Fold `val` into the mean under `key`."""
        cnt = self.name2cnt[key]
        self.name2val[key] = self.name2val[key] * (cnt / (cnt + 1)) + val / (cnt + 1) if cnt else val
        self.name2cnt[key] = cnt + 1

    def dumpkvs(self) -> dict[str, Any]:
        """Write and forget all values; returns them (averaged over `comm`; empty on ranks above 0)."""
        if self.comm is None:
            d = dict(self.name2val)
        else:
            d = dict(mpi_util.mpi_weighted_mean(
                self.comm, {name: (val, self.name2cnt.get(name, 1)) for name, val in self.name2val.items()}))
        for fmt in self.output_formats:
            if isinstance(fmt, KVWriter):
                fmt.writekvs(d)
        self.name2val.clear()
        self.name2cnt.clear()
        return d

    def log(self, *args: object, level: int = INFO) -> None:
        """Write a message if `level` reaches the logger's own."""
        if self.level <= level:
            self._do_log(args)

    # Configuration
    # ----------------------------------------
    def set_level(self, level: int) -> None:
        """Set the lowest level of messages that are written."""
        self.level = level

    def set_comm(self, comm: Any) -> None:
        """Set the MPI communicator to average over (None: do not)."""
        self.comm = comm

    def get_dir(self) -> str:
        """The run folder."""
        return self.dir

    def close(self) -> None:
        """Close all outputs; closing twice is harmless."""
        for fmt in self.output_formats:
            fmt.close()

    # Misc
    # ----------------------------------------
    def _do_log(self, args: Iterable[object]) -> None:
        for fmt in self.output_formats:
            if isinstance(fmt, SeqWriter):
                fmt.writeseq(map(str, args))


def get_rank_without_mpi_import() -> int:
    """MPI rank as the launcher's environment has it (0 without one); importing mpi4py would start MPI."""
    for varname, _ in mpi_world.LAUNCHER_VARIABLES:
        if varname in os.environ:
            return int(os.environ[varname])
    return 0


def _make_logger(dir: str | None, format_strs: Iterable[str] | None, comm: Any, log_suffix: str) -> Logger:
    if dir is None:
        dir = os.getenv('OPENAI_LOGDIR')
    if dir is None:
        dir = osp.join(tempfile.gettempdir(), datetime.datetime.now().strftime('openai-%Y-%m-%d-%H-%M-%S-%f'))
    dir = osp.expanduser(dir)

    rank = get_rank_without_mpi_import()
    if rank > 0:
        log_suffix = log_suffix + '-rank%03i' % rank
    if format_strs is None:
        if rank == 0:
            format_strs = os.getenv('OPENAI_LOG_FORMAT', 'stdout,log,csv').split(',')
        else:
            format_strs = os.getenv('OPENAI_LOG_FORMAT_MPI', 'log').split(',')

    with _log_dir(dir), contextlib.ExitStack() as opened:  # a bad format closes those before it
        output_formats = []
        for f in filter(None, format_strs):
            output_formats.append(make_output_format(f, dir, log_suffix))
            opened.callback(output_formats[-1].close)
        opened.pop_all()
    return Logger(dir=dir, output_formats=output_formats, comm=comm)


def _replace_current(logger: Logger | None) -> None:
    """Make `logger` the current one; the one it replaces is closed, unless `reset` may still return to it."""
    if Logger.CURRENT not in (None, Logger.DEFAULT, logger):
        Logger.CURRENT.close()
    Logger.CURRENT = logger


def configure(dir: str | None = None, format_strs: Iterable[str] | None = None, comm: Any = None,
              log_suffix: str = '') -> None:
    """Make a new current logger, closing the last one.

    dir: run folder; else the environment's OPENAI_LOGDIR, else a new folder in the system's temporary one.
    format_strs: any of stdout, log, json, csv, tensorboard; else the environment's OPENAI_LOG_FORMAT
        (default 'stdout,log,csv'), or OPENAI_LOG_FORMAT_MPI (default 'log') on MPI ranks above 0.
    comm: MPI communicator to average the diagnostics over.
    log_suffix: added to the file names; ranks above 0 also add '-rank001' and so on.
    Raises UsageError for an unknown format and for a folder that cannot be written.
    """
    _replace_current(_make_logger(dir, format_strs, comm, log_suffix))
    log('Logging to %s' % Logger.CURRENT.dir)


def _configure_default_logger() -> None:
    if Logger.DEFAULT is None:
        Logger.DEFAULT = _make_logger(None, None, None, '')
        Logger.DEFAULT.log('Logging to %s' % Logger.DEFAULT.dir)
    Logger.CURRENT = Logger.DEFAULT


def reset() -> None:
    """Close the current logger and go back to the default one; nothing to do before any `configure`."""
    if Logger.CURRENT is not Logger.DEFAULT:
        _replace_current(Logger.DEFAULT)
        if Logger.CURRENT is not None:
            log('Reset logger')


@contextlib.contextmanager
def scoped_configure(dir: str | None = None, format_strs: Iterable[str] | None = None,
                     comm: Any = None) -> Iterator[None]:
    """`configure` for the length of a `with` block; the logger of before comes back, still open."""
    prevlogger = Logger.CURRENT
    Logger.CURRENT = _make_logger(dir, format_strs, comm, '')
    try:
        log('Logging to %s' % Logger.CURRENT.dir)
        yield
    finally:
        _replace_current(prevlogger)


# ================================================================
# Readers
# ================================================================

def read_json(fname: str) -> 'pandas.DataFrame':
    """`progress.json` as a frame, one row a dump; nulls are NaN.

    Raises ValueError naming the first line that is not JSON.
    """
    import pandas
    ds = []
    with open(fname, encoding='utf-8') as fh:
        for lineno, line in enumerate(fh, 1):
            try:
                ds.append({k: np.nan if v is None else v for k, v in json.loads(line).items()})
            except json.JSONDecodeError as e:
                raise ValueError(f'{fname}, line {lineno}: not valid JSON ({e.msg})') from None
    return pandas.DataFrame(ds)


def read_csv(fname: str) -> 'pandas.DataFrame':
    """`progress.csv` as a frame, one row a dump.

    Raises pandas.errors.EmptyDataError (a ValueError) if nothing was dumped yet.
    """
    import pandas
    return pandas.read_csv(fname, index_col=None)


def read_tb(path: str) -> 'pandas.DataFrame':
    """TensorBoard scalars as a frame: row i is step i + 1, one column a tag, NaN where nothing was written.

    path: an event file, or a folder with event files. Raises ValueError if there is none.
    """
    import pandas
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray
    fnames = [osp.join(path, f) for f in sorted(os.listdir(path))] if osp.isdir(path) else [path]
    fnames = [f for f in fnames if osp.basename(f).startswith('events.') and osp.isfile(f)]
    if not fnames:
        raise ValueError(f'{path} is neither a TensorBoard event file (events.*) nor a folder with one')
    tag2vals: dict[str, dict[int, float]] = defaultdict(dict)
    for event in (e for fname in fnames for e in EventFileLoader(fname).Load()):
        for v in event.summary.value if event.step > 0 else ():
            tag2vals[v.tag][event.step] = make_ndarray(v.tensor).item()
    maxstep = max((step for vals in tag2vals.values() for step in vals), default=0)
    frame = pandas.DataFrame({tag: pandas.Series(tag2vals[tag]) for tag in sorted(tag2vals)})
    return frame.reindex(range(1, maxstep + 1)).reset_index(drop=True)
