"""How far a run is: a bar on a terminal, a line now and then elsewhere."""
import argparse
import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from onpolicybaselines import logger
from onpolicybaselines.common.log_files import STEPS, logged
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.common.vec_env import VecEnv
from onpolicybaselines.session.terminal import launchers_terminal
from onpolicybaselines.session.track import tracking

RETURN = ('EpRewMean', 'eprewmean')  # what algorithms call it in their logs
DAY = 24 * 3600.
LONG = 2.0  # days, from which on a line says what a run will take


@contextlib.contextmanager
def training(env: VecEnv, args: argparse.Namespace) -> Iterator[None]:
    """While a model is trained: rank 0 shows how far it is, and tells others (`tracking`); an exception closes the
    environments."""
    outputs = logger.get_current().output_formats
    with tracking(args), _display(args) as progress:
        outputs.append(progress)
        try:
            yield
        except BaseException:
            env.close()
            raise
        finally:
            outputs.remove(progress)


def _display(args):
    enabled = rank() == 0 and args.progress != 'none'
    terminal = launchers_terminal()
    bar = args.progress == 'bar' or args.progress == 'auto' and (sys.stderr.isatty() or terminal is not None)
    # by pipes, the launcher of MPI hands on stdout and stderr in any order: the log goes to the first
    file = sys.stdout if bar and not sys.stderr.isatty() else sys.stderr
    return Progress(args.num_timesteps, enabled, file, bar=bar, columns=terminal and terminal.columns)


class Progress(logger.KVWriter):
    """Steps done of `total` (0: no known end), steps per second, time left and mean return.

    A bar (`bar`, or by default if the file is a terminal) of so many `columns` (by default all of the terminal) that
    stays below the log; else a plain line every `interval` seconds and at the end. It appears with the first update,
    and not at all if not `enabled`. As an output of the logger it is updated by whatever logs STEPS and RETURN.

    The first update of a process compiles, which no later one does: speed and time left are reckoned from those after
    it, in the last `window` seconds. One that has taken `patience` seconds is said to, and again after twice as many.
    """

    def __init__(self, total: int, enabled: bool = True, file: TextIO | None = None, interval: float = 10.0,
                 bar: bool | None = None, columns: int | None = None, window: float = 60.0,
                 patience: float = 60.0):
        self._total = total
        self._enabled = enabled
        self._file = sys.stderr if file is None else file
        self._interval = interval
        self._is_bar = self._file.isatty() if bar is None else bar
        self._window = window
        self._columns = columns
        self._bar = None
        self._start = self._last = time.monotonic()
        self._points: deque[tuple[float, int]] = deque()  # (time, steps) of updates
        self._shown = (0, math.nan)
        self._is_paced = False
        self._heard = threading.Event()
        if enabled:
            threading.Thread(target=self._wait_for_first, args=[patience], daemon=True).start()

    def _wait_for_first(self, patience):
        while not self._heard.wait(patience):
            logger.warn(f'No update after {time.monotonic() - self._start:.0f} s: large batches or networks, many '
                        'environments, fits or epochs take long, and options say how large and how many (--help)')
            patience *= 2

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Update from a row of a log."""
        done = logged(kvs, STEPS)
        if not math.isnan(done):
            self.update(int(done), logged(kvs, RETURN))

    def close(self) -> None:
        """Leave the bar as it is."""
        self._heard.set()
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, mean_return: float = math.nan) -> None:
        """`done` steps so far, with the mean return of the latest episodes."""
        if not self._enabled or not done:
            return
        self._heard.set()
        done = min(done, self._total or done)  # the last batch may go beyond
        self._shown = done, mean_return
        now = time.monotonic()
        self._points.append((now, done))
        while self._points[0][0] < now - self._window and len(self._points) > 2:
            self._points.popleft()
        self._say_if_long()
        if self._is_bar:
            self._draw(done, mean_return)
        elif self._is_due(done):
            self._last = now
            print(self._line(done, mean_return), file=self._file, flush=True)

    def _say_if_long(self):
        """One line, as soon as there are two updates to tell their pace from, without what comes before the first."""
        rate = self._rate()
        if rate is not None and not self._is_paced:
            self._is_paced = True
            days = (self._total - self._shown[0]) / rate / DAY
            if days > LONG:
                logger.warn(f'At the pace of the first updates this run ends in {days:.3g} days')

    def _rate(self):
        """Steps per second between the updates of the window; None while there is but one."""
        (start, first), (now, last) = self._points[0], self._points[-1]
        return None if last == first or now == start else (last - first) / (now - start)

    def _draw(self, done, mean_return):
        is_new = self._bar is None
        if is_new:
            self._bar = tqdm(total=self._total or None, initial=done, unit='step', file=self._file,
                             ncols=self._columns, dynamic_ncols=self._columns is None, smoothing=0.1, unit_scale=True)
            self._bar.start_t -= time.monotonic() - self._start
        self._bar.set_postfix_str(f'EpRewMean={mean_return:.4g}', refresh=is_new)
        self._bar.update(done - self._bar.n)

    def _is_due(self, done):
        is_first = self._last == self._start
        return is_first or done >= self._total > 0 or time.monotonic() - self._last >= self._interval

    def _line(self, done, mean_return):
        share = f'/{self._total} steps ({done / self._total:.0%})' if self._total else ' steps'
        return f'{done}{share}, {self._speed(done)}, EpRewMean {mean_return:.4g}'

    def _speed(self, done):
        rate = self._rate()
        if rate is None:
            return f'the first update took {self._points[-1][0] - self._start:.0f} s'
        if not self._total:
            return f'{rate:.0f} steps/s'
        days, seconds = divmod((self._total - done) / rate, DAY)
        return f'{rate:.0f} steps/s, ' + f'{days:.0f} days ' * (days > 0) + f'{tqdm.format_interval(seconds)} left'

    def __enter__(self):
        return self

    def __exit__(self, exc_type: type | None, *_: Any):
        done, mean_return = self._shown
        if exc_type is None and 0 < done < self._total:  # the last updates need not have been logged
            self.update(self._total, mean_return)
        self.close()
