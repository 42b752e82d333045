"""Diagnostics of a run: key/value tables and messages, sent to any number of output formats.

Files in the run folder: log.txt, progress.csv, progress.json, tb/. Source: openai/baselines `logger.py`.
"""
import csv
import datetime
import functools
import json
import os
import os.path as osp
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from onpolicybaselines.common import log_files, mpi_util, mpi_world, tables
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.extras import need
from onpolicybaselines.common.state import State

if TYPE_CHECKING:
    import pandas

DEBUG = 10
INFO = 20
WARN = 30
ERROR = 40

DISABLED = 50


class KVWriter(object):
    """An output format that records tables of key/value pairs."""

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Record the values of one dump; must not change `kvs`."""
        raise NotImplementedError

    def state(self) -> State:
        """How far the record goes."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there, in a file opened in `log_files.kept_logs`. Raises ValueError if the file is shorter."""


class SeqWriter(object):
    """An output format that records messages."""

    def writeseq(self, seq: Iterable[str]) -> None:
        """Record the words of one message."""
        raise NotImplementedError


class HumanOutputFormat(KVWriter, SeqWriter):
    """Tables and messages for the eye, in a text file (given by name, truncated) or an open stream."""

    def __init__(self, filename_or_file: str | TextIO) -> None:
        if isinstance(filename_or_file, str):
            self.file = log_files.open_log(filename_or_file)
            self.own_file = True
        elif hasattr(filename_or_file, 'write'):
            self.file = filename_or_file
            self.own_file = False
        else:
            raise ValueError('expected a file name or an open text file, got %r' % (filename_or_file,))

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Write one framed table, keys in alphabetical order; an empty dict writes nothing."""
        key2str = {}
        for (key, val) in kvs.items():
            val = log_files.plain(val)
            if isinstance(val, (int, float)):
                valstr = '%-8.3g' % val
            else:
                valstr = str(val)
            key2str[key] = self._truncate(valstr)  # by its whole key: two long ones may look alike once cut

        if len(key2str) == 0:
            return
        else:
            keywidth = max(len(self._truncate(key)) for key in key2str)
            valwidth = max(map(len, key2str.values()))

        dashes = '-' * (keywidth + valwidth + 7)
        lines = [dashes]
        for (key, val) in sorted(key2str.items(), key=lambda kv: kv[0].lower()):
            lines.append('| %-*s | %-*s |' % (keywidth, self._truncate(key), valwidth, val))
        lines.append(dashes)
        self.writeseq(['\n'.join(lines)])

    def _truncate(self, s: str) -> str:
        maxlen = 30
        return s[:maxlen - 3] + '...' if len(s) > maxlen else s

    def writeseq(self, seq: Iterable[str]) -> None:
        """Write the words on one line, a space between each two."""
        with log_files.progress_bar_aside(self.file):
            self.file.write(' '.join(seq) + '\n')
            self.file.flush()

    def close(self) -> None:
        """Close the file, unless it was given open."""
        if self.own_file:
            self.file.close()

    def state(self) -> State:
        """See KVWriter.state."""
        return {'size': log_files.position(self.file)} if self.own_file else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See KVWriter.set_state. What the text of a log has lost is no reason not to go on."""
        if self.own_file:
            log_files.cut(self.file, min(state['size'], log_files.position(self.file)))


class JSONOutputFormat(KVWriter):
    """One strict JSON object a line; NaN and infinities are null, objects JSON does not know are strings."""

    def __init__(self, filename: str) -> None:
        self.file = log_files.open_log(filename)

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Append one line; an empty dict writes nothing."""
        if not kvs:
            return
        kvs = {k: log_files.strict_json(v) for k, v in sorted(kvs.items())}
        self.file.write(json.dumps(kvs, allow_nan=False, default=str) + '\n')
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def state(self) -> State:
        """See KVWriter.state."""
        return {'size': log_files.position(self.file)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See KVWriter.set_state."""
        log_files.cut(self.file, state['size'])


class CSVOutputFormat(KVWriter):
    """One row a dump under a header of all keys seen so far; missing values are empty cells."""

    def __init__(self, filename: str) -> None:
        self.file = log_files.open_log(filename)
        self.keys: list[str] = []

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Append one row, after widening the table if there are new keys; an empty dict writes nothing."""
        if not kvs:
            return
        extra_keys = list(kvs.keys() - self.keys)
        extra_keys.sort()
        if extra_keys:
            self.keys.extend(extra_keys)
            self.file = log_files.rewrite_table(self.file, self.keys)
        csv.writer(self.file, lineterminator='\n').writerow([log_files.plain(kvs.get(k)) for k in self.keys])
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def state(self) -> State:
        """See KVWriter.state."""
        return {'keys': list(self.keys), 'rows': log_files.count_rows(self.file)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See KVWriter.set_state."""
        self.keys = list(state['keys'])
        self.file = log_files.rewrite_table(self.file, self.keys, state['rows'])


class TensorBoardOutputFormat(KVWriter):
    """Scalars for TensorBoard; the step is that of the environments, where the dump has it (`log_files.STEPS`), or else
    the number of the dump, from 1. Text and arrays are left out."""

    def __init__(self, dir: str) -> None:
        need('tensorboard')
        import tensorflow as tf
        os.makedirs(dir, exist_ok=True)
        self.dir = dir
        self.step = 1
        self.tf = tf
        self.writer = tf.summary.create_file_writer(dir)

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Write every number in `kvs` at its step; an empty dict is no dump."""
        if not kvs:
            return
        with self.writer.as_default(step=log_files.step_of(kvs, self.step)):  # flushed on leaving
            for key in sorted(kvs):
                val = log_files.plain(kvs[key])
                if isinstance(val, (int, float)):
                    self.tf.summary.scalar(key, float(val))
        self.step += 1

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()

    def state(self) -> State:
        """See KVWriter.state."""
        return {'step': self.step}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """See KVWriter.set_state; steps that come again are in a second file, which readers take for the truth."""
        self.step = state['step']


def make_output_format(format: str, ev_dir: str, log_suffix: str = '') -> KVWriter:
    """The output format called `format`, writing into `ev_dir` (created if need be).

    Raises UsageError for an unknown name and for a folder that cannot be written.
    """
    with log_files.log_folder(ev_dir):
        if format == 'stdout':
            return HumanOutputFormat(sys.stdout)
        elif format == 'log':
            return HumanOutputFormat(osp.join(ev_dir, 'log%s.txt' % log_suffix))
        elif format == 'json':
            return JSONOutputFormat(osp.join(ev_dir, 'progress%s.json' % log_suffix))
        elif format == 'csv':
            return CSVOutputFormat(osp.join(ev_dir, 'progress%s.csv' % log_suffix))
        elif format == 'tensorboard':
            return TensorBoardOutputFormat(osp.join(ev_dir, 'tb%s' % log_suffix))
        else:
            raise UsageError('unknown log format %r: use one of stdout, log, json, csv, tensorboard' % format)


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


@contextmanager
def profile_kv(scopename: str) -> Iterator[None]:
    """Add the wall time spent inside (seconds) to the diagnostic `wait_<scopename>` of this iteration."""
    logkey = 'wait_' + scopename
    tstart = time.perf_counter()
    try:
        yield
    finally:
        get_current().name2val[logkey] += time.perf_counter() - tstart


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
    CURRENT: Any = None  # the logger behind the free functions

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
        oldval, cnt = self.name2val[key], self.name2cnt[key]
        self.name2val[key] = oldval * (cnt / (cnt + 1)) + val / (cnt + 1) if cnt else val
        self.name2cnt[key] = cnt + 1

    def dumpkvs(self) -> dict[str, Any]:
        """Write and forget all values; returns them (averaged over `comm`; empty on ranks above 0)."""
        if self.comm is None:
            d = self.name2val
        else:
            d = mpi_util.mpi_weighted_mean(self.comm,
                {name: (val, self.name2cnt.get(name, 1))
                    for (name, val) in self.name2val.items()})
        out = dict(d)
        for fmt in self.output_formats:
            if isinstance(fmt, KVWriter):
                log_files.attempt(fmt.writekvs, d)
        self.name2val.clear()
        self.name2cnt.clear()
        return out

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

    def state(self) -> State:
        """The values since the last dump, and how far each output goes."""
        return {'name2val': dict(self.name2val), 'name2cnt': dict(self.name2cnt),
                'outputs': {str(i): fmt.state() for i, fmt in enumerate(self.output_formats)
                            if isinstance(fmt, KVWriter) and fmt.state()}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the same outputs. Raises ValueError for others."""
        if len(self.output_formats) <= max(map(int, state['outputs']), default=-1):
            raise ValueError('the state is of a logger with more outputs, OPENAI_LOG_FORMAT and OPENAI_LOGDIR must not '
                             'change')
        self.name2val = defaultdict(float, state['name2val'])
        self.name2cnt = defaultdict(int, state['name2cnt'])
        for i, part in state['outputs'].items():
            self.output_formats[int(i)].set_state(part)

    # Misc
    # ----------------------------------------
    def _do_log(self, args: Iterable[object]) -> None:
        for fmt in self.output_formats:
            if isinstance(fmt, SeqWriter):
                log_files.attempt(fmt.writeseq, map(str, args))


def get_rank_without_mpi_import() -> int:
    """MPI rank as the launcher's environment has it (0 without one); importing mpi4py would start MPI."""
    for varname, _ in mpi_world.LAUNCHER_VARIABLES:
        if varname in os.environ:
            return int(os.environ[varname])
    return 0


def configure(dir: str | None = None, format_strs: Iterable[str] | None = None, comm: Any = None,
              log_suffix: str = '') -> None:
    """Make a new current logger, closing the last one, unless `reset` may still return to it.

    dir: run folder; else the environment's OPENAI_LOGDIR, else a new folder in the system's temporary one.
    format_strs: any of stdout, log, json, csv, tensorboard; else the environment's OPENAI_LOG_FORMAT
        (default 'stdout,log,csv'), or OPENAI_LOG_FORMAT_MPI (default 'log') on MPI ranks above 0.
    comm: MPI communicator to average the diagnostics over.
    log_suffix: added to the file names; ranks above 0 also add '-rank001' and so on.
    Raises UsageError for an unknown format and for a folder that cannot be written.
    """
    if dir is None:
        dir = os.getenv('OPENAI_LOGDIR')
    if dir is None:
        dir = osp.join(tempfile.gettempdir(),
            datetime.datetime.now().strftime('openai-%Y-%m-%d-%H-%M-%S-%f'))
    dir = os.path.expanduser(dir)
    with log_files.log_folder(dir):
        pass

    rank = get_rank_without_mpi_import()
    if rank > 0:
        log_suffix = log_suffix + '-rank%03i' % rank

    if format_strs is None:
        if rank == 0:
            format_strs = os.getenv('OPENAI_LOG_FORMAT', 'stdout,log,csv').split(',')
        else:
            format_strs = os.getenv('OPENAI_LOG_FORMAT_MPI', 'log').split(',')
    format_strs = filter(None, format_strs)
    output_formats = log_files.all_or_none(make_output_format(f, dir, log_suffix) for f in format_strs)

    if Logger.CURRENT not in (None, Logger.DEFAULT):
        Logger.CURRENT.close()
    Logger.CURRENT = Logger(dir=dir, output_formats=output_formats, comm=comm)
    if output_formats:
        log('Logging to %s' % dir)


def _configure_default_logger() -> None:
    if Logger.DEFAULT is None:
        configure()
        Logger.DEFAULT = Logger.CURRENT
    Logger.CURRENT = Logger.DEFAULT


def reset() -> None:
    """Close the current logger and go back to the default one; nothing to do before any `configure`."""
    if Logger.CURRENT is not Logger.DEFAULT:
        if Logger.CURRENT is not None:
            Logger.CURRENT.close()
        Logger.CURRENT = Logger.DEFAULT
        if Logger.CURRENT is not None:
            log('Reset logger')


@contextmanager
def scoped_configure(dir: str | None = None, format_strs: Iterable[str] | None = None,
                     comm: Any = None) -> Iterator[None]:
    """`configure` for the length of a `with` block; the logger of before comes back, still open."""
    prevlogger = Logger.CURRENT
    Logger.CURRENT = None
    try:
        configure(dir=dir, format_strs=format_strs, comm=comm)
        yield
    finally:
        if Logger.CURRENT not in (None, Logger.DEFAULT):
            Logger.CURRENT.close()
        Logger.CURRENT = prevlogger


# ================================================================
# Readers
# ================================================================

def read_json(fname: str) -> 'pandas.DataFrame':
    """`progress.json` as a frame, one row a dump; nulls are NaN. A last line that a crash cut is none.

    Raises ValueError, one line with the file's name and the number of the first line that is not JSON.
    """
    return tables.read_dumps(fname)


def read_csv(fname: str) -> 'pandas.DataFrame':
    """`progress.csv[.gz]` as a frame, one row a dump; a last line that a crash cut is none.

    Raises ValueError, one line with the file's name, if it is damaged or nothing was dumped yet.
    """
    need('pandas')
    with tables.naming(fname):
        return tables.table(tables.read_lines(fname))


def read_tb(path: str) -> 'pandas.DataFrame':
    """TensorBoard scalars as a frame: a row a step, its index, one column a tag, NaN where nothing was written.

    path: an event file, or a folder with event files. Raises ValueError if there is none.
    """
    need('pandas')
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
    return pandas.DataFrame({tag: pandas.Series(tag2vals[tag]) for tag in sorted(tag2vals)}).sort_index()
