"""Checkpoints: all that a run needs to go on to the bit, in files that are whole or not there.

Within `checkpointing(folder)` a `learn` writes them there, one file a rank, and ends with one at SIGINT, SIGTERM and
SIGHUP; within `checkpointing(folder, resume=True)` it goes on from the last one. Files hold arrays and JSON, nothing
that could be run, and a checksum of it.
"""
import contextlib
import contextvars
import glob
import hashlib
import json
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.env_state import NoStateError
from onpolicybaselines.common.errors import Interrupted, UsageError
from onpolicybaselines.common.files import TEMPORARY, read_arrays, write_arrays
from onpolicybaselines.common.log_files import cut_file, kept_logs
from onpolicybaselines.common.mpi_world import allgather, allmax, get_comm, rank, size
from onpolicybaselines.common.state import (
    State,
    Stateful,
    flatten,
    generator_state,
    global_generators,
    set_generator_state,
    unflatten,
)
from onpolicybaselines.common.vec_env import VecEnv

FOLDER = 'checkpoints'
KEPT = 2  # of them
SHARE = 0.01  # of the time may go into checkpoints
LEAST = 10.0  # seconds between two
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 1.0  # seconds after which a signal is another one: a launcher may hand on what the terminal has sent already

_keeper: contextvars.ContextVar = contextvars.ContextVar('the Keeper of this run', default=None)


@contextlib.contextmanager
def checkpointing(folder: str | None = None, interval: int | None = None, resume: bool = False) -> Iterator[None]:
    """Within, one `learn` writes checkpoints into `folder`, the last KEPT of which stay, and a last one at its end.

    folder: None is `checkpoints` in the logger's.
    interval: updates from one to the next; None: so many that they take SHARE of the time, LEAST seconds at least.
    resume: go on from the last one, on as many ranks and with the same arguments, total_timesteps may be larger. The
    logger and the environments are to be made within, so that their files go on, too. If one cannot be read, the log
    says so and the one before is taken. Raises UsageError if there is none.

    At SIGINT, SIGTERM and SIGHUP all ranks end after the update under way, by Interrupted, which is a SystemExit. Where
    that update fails, as when the signal went to the processes of the environments, too, the checkpoint before stays.
    """
    keeper = Keeper(folder, interval)
    if resume:
        keeper.read()
    token = _keeper.set(keeper)
    try:
        with handling(keeper.note), kept_logs() if resume else contextlib.nullcontext():
            yield
    except Exception as e:
        if not keeper.signum:
            raise
        keeper.say_failure(e)
        raise Interrupted(keeper.signum) from e
    finally:
        _keeper.reset(token)


@contextlib.contextmanager
def handling(handler: Callable) -> Iterator[None]:
    """`handler(signum, frame)` is called at SIGNALS, those that are ignored left out; in the main thread alone."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {s: signal.signal(s, handler) for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, signal.SIG_DFL if old is None else old)


def settled(name: str, value: Any) -> Any:
    """`value`, a JSON value that is chosen by the length of a run; where one goes on, what it chose before."""
    keeper = _keeper.get()
    return value if keeper is None else keeper.settled.setdefault(name, value)


class Checkpoints:
    """What a `learn` has that changes, and when it is saved; nothing happens outside of `checkpointing`.

    env: its environments; collector: what holds their last observations, if anything; callback: may have a state, too,
    and be another one when the run goes on; parts: all else, each with `state` and `set_state`, or a deque of numbers
    or of dicts of numbers.
    """

    def __init__(self, env: VecEnv, collector: Stateful | None = None, callback: Callable | None = None,
                 **parts: Stateful | deque):
        self.updates = 0
        self.elapsed = 0.0  # seconds, of the run up to the checkpoint that it goes on from
        self._env, self._collector, self._parts = env, collector, parts
        self._callback = callback if isinstance(callback, Stateful) else None
        self._counters: tuple = ()
        self._saved = None  # number of updates at the last checkpoint
        self._begun = self._last = time.monotonic()
        self._cost = self._costs = 0.0  # seconds, of the last checkpoint and of all
        self._keeper = _keeper.get()
        if self._keeper is not None:
            self._keeper.take(self)

    def resume(self, *counters: Any) -> tuple:
        """The counters, numbers or arrays, of the checkpoint from which the run goes on, after everything else has gone
        back to it; in a new run they themselves. Raises UsageError if the checkpoint is of another run, or logs have
        lost lines since."""
        state = self._keeper and self._keeper.state
        if state is None:
            return counters
        try:
            self._set_state(state)
        except UsageError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise UsageError(f'the checkpoint in {self._keeper.folder} is of another run: '
                             f'{" ".join(str(e).split())}') from e
        self._keeper.state = None
        for line in self._keeper.lines:
            logger.log(line)
        logger.log(f'Going on after update {self.updates}')
        if state['env'] is None:
            logger.warn('The environments are started anew: their state could not be taken. This run is not exactly '
                        'the one that never stopped')
        return tuple(_from_json(state['counters'][str(i)]) for i in range(len(counters)))

    def after_update(self, *counters: Any) -> None:
        """Save, if it is due or the run is to end. Every rank must call it, after each update, with the counters as
        `resume` is to give them. Raises Interrupted, on all ranks together."""
        if self._keeper is None:
            return
        self.updates += 1
        self._counters = counters
        due, signum = allmax([self._is_due(), self._keeper.signum])
        if due or signum:
            self._save()
        if signum:
            self._keeper.say_end(signum, self._saved == self.updates)
            raise Interrupted(signum, together=True)

    def _is_due(self):
        interval = self._keeper.interval
        if interval is not None:
            return self.updates % interval == 0
        return time.monotonic() - self._last >= max(LEAST, self._cost / SHARE)

    def save(self) -> None:
        """Write the last checkpoint, at the end of a run, and into the log what all of them took. Every rank must call
        it."""
        if self._keeper is None or not self.updates:
            return
        self._save()
        if self._keeper.count:
            logger.log(f'{self._keeper.count} checkpoints were written, the last one of {self._keeper.bytes} bytes, in '
                       f'{self._costs:.2g} s, {self._costs / (time.monotonic() - self._begun):.2%} of the time')

    def _save(self):
        """Unless nothing has happened since the last one."""
        if self._saved == self.updates:
            return
        start = time.monotonic()
        if self._keeper.write(self.updates, self._state):
            self._saved = self.updates
        self._last = time.monotonic()
        self._cost = self._last - start
        self._costs += self._cost

    def _state(self):
        env = self._env_state()
        return {
            'updates': self.updates, 'elapsed': self.elapsed + time.monotonic() - self._begun,
            'num_envs': self._env.num_envs, 'env': env,
            'monitors': self._monitors() if env is None else {},
            'collector': self._collector.state() if env is not None and self._collector is not None else None,
            'parts': {name: _part_state(part) for name, part in self._parts.items()},
            'callback': None if self._callback is None else self._callback.state(),
            'counters': {str(i): _to_json(value) for i, value in enumerate(self._counters)},
            'settled': dict(self._keeper.settled), 'logger': logger.get_current().state(), **_global_state()}

    def _set_state(self, state):
        if state['num_envs'] != self._env.num_envs:
            raise ValueError(f'it has {state["num_envs"]} environments, this one {self._env.num_envs}')
        if state['parts'].keys() != self._parts.keys():
            raise ValueError('it is of another algorithm')
        for name, part in self._parts.items():
            _set_part_state(part, state['parts'][name])
        if state['env'] is not None:
            self._env.set_state(state['env'])
            if self._collector is not None:
                self._collector.set_state(state['collector'])
        if self._callback is not None and state.get('callback') is not None:
            self._callback.set_state(state['callback'])
        for name, length in state['monitors'].items():
            cut_file(os.path.join(logger.get_dir(), name), length)
        self.updates = self._saved = state['updates']
        self.elapsed = state['elapsed']
        logger.get_current().set_state(state['logger'])
        _set_global_state(state)

    def _env_state(self):
        try:
            return self._env.state()
        except NoStateError as e:
            self._keeper.warn_once(f'{e}. A run that goes on from a checkpoint will start the environments anew, and '
                                   'not be exactly this one')
            return None

    def _monitors(self):
        """Bytes of the files of this rank's environments."""
        files = glob.glob(os.path.join(glob.escape(logger.get_dir()), f'{rank()}.*monitor.csv'))
        return {os.path.basename(file): os.path.getsize(file) for file in files}


def _part_state(part):
    return {'items': _to_json(list(part))} if isinstance(part, deque) else part.state()


def _set_part_state(part, state):
    if isinstance(part, deque):
        part.clear()
        part.extend(state['items'])
    else:
        part.set_state(state)


def _to_json(value):
    """Numbers of numpy as Python's, in lists and dicts, too; whole arrays as they are."""
    if isinstance(value, Mapping):
        return {name: _to_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _from_json(value):
    return value.copy() if isinstance(value, np.ndarray) else value


def _global_state():
    """Of the generators that belong to nobody; TensorFlow's operations that draw by themselves hide theirs."""
    import tensorflow as tf
    return {**{name: generator_state(generator) for name, generator in global_generators().items()},
            'tensorflow': tf.random.get_global_generator().state.numpy()}


def _set_global_state(state):
    import tensorflow as tf
    for name, generator in global_generators().items():
        set_generator_state(generator, state[name])
    tf.random.get_global_generator().reset(state['tensorflow'])


class Keeper:
    """The checkpoints of a run in their folder, and the signal, if any, that asked the run to end."""

    def __init__(self, folder: str | None = None, interval: int | None = None):
        self._folder, self.interval = folder, interval
        self.signum = 0
        self.state: State | None = None  # to be gone back to
        self.settled: State = {}
        self.lines: list[str] = []  # for the log, once it goes on
        self.run: Checkpoints | None = None
        self.count = self.bytes = 0  # of checkpoints; of the last one's file
        self._noted = 0.0
        self._said: set[str] = set()
        self._kept: list[int] = []

    @property
    def folder(self) -> str:
        """Where they are."""
        return os.path.join(logger.get_dir(), FOLDER) if self._folder is None else os.path.expanduser(self._folder)

    def take(self, run: Checkpoints) -> None:
        """Save this run. Raises UsageError for a second one."""
        if self.run is not None:
            raise UsageError(f'the checkpoints in {self.folder} are of one run: another one needs a folder of its own')
        self.run = run

    def note(self, signum: int, frame: Any) -> None:
        """The handler of signals: the first is for `after_update`; another one, or one before there is anything to
        save, ends the rank at once."""
        if self.run is None or self.signum and time.monotonic() - self._noted > AGAIN:
            raise Interrupted(signum)
        if not self.signum:
            self.signum, self._noted = signum, time.monotonic()
            self._print(f'{signal.Signals(signum).name}: ending after this update, with a checkpoint; once more ends '
                        'at once')

    def say_end(self, signum: int, saved: bool) -> None:
        """One line on stderr, from the first rank."""
        what = f'saved in {self.folder}' if saved else 'but the last checkpoint could not be written'
        self._print(f'{signal.Signals(signum).name}: ended after update {self.run.updates}, {what}')

    def say_failure(self, error: Exception) -> None:
        """One line for what happens after a signal, as when that went to the processes of the environments, too."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        self._print(f'{signal.Signals(self.signum).name}: ended without another checkpoint ({reason})')

    def _print(self, line):
        if rank() == 0:
            with contextlib.suppress(OSError):
                os.write(2, f'{line}\n'.encode())  # a handler must not print

    def warn_once(self, line: str) -> None:
        """A line in the log, the first time."""
        if line not in self._said:
            self._said.add(line)
            logger.warn(line)

    def write(self, updates: int, state: Callable[[], State]) -> bool:
        """The checkpoint after so many updates, of all ranks; whether it is there. The last KEPT ones stay."""
        error = None
        try:
            write_state(self._path(updates), {'rank': rank(), 'ranks': size(), 'run': state()})
        except OSError as e:
            error = e.strerror or str(e)
        errors = [e for e in allgather(error) if e]
        if errors:  # what the others have written is incomplete
            self.warn_once(f'Checkpoints cannot be written to {self.folder}: {errors[0]}')
            return False
        self.count += 1
        self.bytes = os.path.getsize(self._path(updates))
        self._kept = [*self._kept, updates][-KEPT:]
        for name in self._names():
            number, of = _parse(name)
            if of == rank() and number not in self._kept:
                with contextlib.suppress(OSError):
                    os.remove(os.path.join(self.folder, name))
        return True

    def read(self) -> None:
        """Find the last checkpoint that all ranks can read. Raises UsageError if there is none."""
        if rank() == 0:
            for name in glob.glob(os.path.join(glob.escape(self.folder), f'*{TEMPORARY}')):
                os.remove(name)  # of a run that was killed
        for updates in from_first(found, self.folder):
            state, fault = self._read(updates)
            faults = {r: f for r, f in enumerate(allgather(fault)) if f}
            if not faults:
                self.state, self.settled, self._kept = state['run'], dict(state['run']['settled']), [updates]
                return
            r, fault = next(iter(faults.items()))
            self.lines.append(f'The checkpoint after update {updates} is not used: the file of rank {r} {fault}')
        raise UsageError('; '.join([f'no checkpoint in {self.folder} to go on from', *self.lines]))

    def _read(self, updates):
        try:
            state = read_state(self._path(updates))
        except FileNotFoundError:
            return None, 'is missing'
        except ValueError as e:
            return None, f'is damaged ({e})'
        if state['ranks'] != size():
            return None, f'is of a run of {state["ranks"]} ranks, and this one has {size()}'
        return state, None

    def _path(self, updates):
        return os.path.join(self.folder, f'{updates:08d}.{rank()}.npz')

    def _names(self):
        return [name for name in os.listdir(self.folder) if _parse(name)]


def _parse(name):
    """(number of updates, rank) of the name of a checkpoint's file."""
    match = re.fullmatch(r'(\d{8,})\.(\d+)\.npz', name)
    return match and (int(match[1]), int(match[2]))


def found(folder: str) -> list[int]:
    """The numbers of updates of the checkpoints in a folder, the last one first; each may lack ranks."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted({_parse(name)[0] for name in names if _parse(name)}, reverse=True)


def has_checkpoint(folder: str, ranks: int) -> bool:
    """Whether a checkpoint of all ranks was ever finished in a folder, be it damaged now."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return any(all(f'{updates:08d}.{r}.npz' in names for r in range(ranks)) for updates in found(folder))


def from_first(function: Callable, *args: Any) -> Any:
    """What the function gives on the first rank, on all."""
    value = function(*args) if rank() == 0 else None
    return value if get_comm() is None else get_comm().bcast(value)


def write_state(path: str, state: State) -> None:
    """A state as a file, whole or not at all. Raises OSError."""
    arrays, rest = flatten(state)
    text = json.dumps(rest)
    write_arrays(path, arrays, {'state': text, 'checksum': _checksum(arrays, text)})


def read_state(path: str) -> State:
    """What `write_state` wrote. Raises FileNotFoundError, or ValueError for a file that was changed since."""
    if not os.path.isfile(path):
        raise FileNotFoundError(path)
    try:
        arrays, meta = read_arrays(path)
    except UsageError as e:
        raise ValueError('it cannot be read') from e
    if meta.get('checksum') != _checksum(arrays, str(meta.get('state'))):
        raise ValueError('its checksum is wrong')
    return unflatten(arrays, json.loads(meta['state']))


def _checksum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array: Any = np.ascontiguousarray(arrays[name])
        digest.update(repr((name, array.dtype.str, arrays[name].shape)).encode())
        digest.update(array.reshape(-1).view('uint8'))
    return digest.hexdigest()
