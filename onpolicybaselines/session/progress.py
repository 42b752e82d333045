"""How far a run is: a bar on a terminal, a line now and then elsewhere."""
import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from onpolicybaselines import logger
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.common.vec_env import VecEnv

# what algorithms call them in their logs
STEPS = ('TimestepsSoFar', 'total_timesteps', 'misc/total_timesteps')
RETURN = ('EpRewMean', 'eprewmean')
DAY = 24 * 3600.
LONG = 2.0  # days, from which on a line says what a run will take


def logged(kvs: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """The value of the first of the `names` in a row of a log, NaN without one."""
    return next((float(kvs[name]) for name in names if name in kvs), math.nan)


@contextlib.contextmanager
def training(env: VecEnv, total_timesteps: int) -> Iterator[None]:
    """While a model is trained: rank 0 shows how far it is, and an exception closes the environments."""
    outputs = logger.get_current().output_formats
    with Progress(total_timesteps, enabled=rank() == 0) as progress:
        outputs.append(progress)
        try:
            yield
        except BaseException:
            env.close()
            raise
        finally:
            outputs.remove(progress)


class Progress(logger.KVWriter):
    """Steps done of `total` (0: no known end), steps per second, time left and mean return.

    On a terminal it is a bar that stays below the log; elsewhere a plain line every `interval` seconds and at the end.
    It appears with the first update, and not at all if not `enabled`. As an output of the logger it is updated by
    whatever logs STEPS and RETURN.
    """

    def __init__(self, total: int, enabled: bool = True, file: TextIO | None = None, interval: float = 10.0):
        self._total = total
        self._enabled = enabled
        self._file = sys.stderr if file is None else file
        self._interval = interval
        self._bar = None
        self._start = self._last = time.monotonic()
        self._shown = (0, math.nan)
        self._first: tuple[float, int] | None = None  # when the first update was done, and its steps
        self._is_paced = False

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Update from a row of a log."""
        done = logged(kvs, STEPS)
        if not math.isnan(done):
            self.update(int(done), logged(kvs, RETURN))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, mean_return: float = math.nan) -> None:
        """`done` steps so far, with the mean return of the latest episodes."""
        if not self._enabled:
            return
        self._shown = done, mean_return
        self._say_if_long(done)
        if self._file.isatty():
            self._draw(done, mean_return)
        elif done and self._is_due(done):
            self._last = time.monotonic()
            print(self._line(done, mean_return), file=self._file, flush=True)

    def _say_if_long(self, done):
        """One line, as soon as there are two updates to tell their pace from, without what comes before the first."""
        if self._first is None:
            self._first = time.monotonic(), done
        elif done > self._first[1] and not self._is_paced:
            self._is_paced = True
            then, before = self._first
            days = (self._total - done) * (time.monotonic() - then) / (done - before) / DAY
            if days > LONG:
                logger.warn(f'At the pace of the first updates this run ends in {days:.3g} days')

    def _draw(self, done, mean_return):
        if self._bar is None:
            self._bar = tqdm(total=self._total or None, unit='step', file=self._file, dynamic_ncols=True,
                             smoothing=0.1, unit_scale=True)
            self._bar.start_t = self._bar.last_print_t = self._bar.start_t - (time.monotonic() - self._start)
        self._bar.set_postfix_str(f'EpRewMean={mean_return:.4g}', refresh=False)
        self._bar.update((min(done, self._total) if self._total else done) - self._bar.n)

    def _is_due(self, done):
        is_first = self._last == self._start
        return is_first or done >= self._total > 0 or time.monotonic() - self._last >= self._interval

    def _line(self, done, mean_return):
        rate = done / (time.monotonic() - self._start)
        if not self._total:
            return f'{done} steps, {rate:.0f} steps/s, EpRewMean {mean_return:.4g}'
        days, seconds = divmod(max(self._total - done, 0) / rate, DAY)
        left = f'{days:.0f} days ' * (days > 0) + time.strftime('%H:%M:%S', time.gmtime(seconds))
        return (f'{done}/{self._total} steps ({done / self._total:.0%}), {rate:.0f} steps/s, {left} left, '
                f'EpRewMean {mean_return:.4g}')

    def __enter__(self):
        return self

    def __exit__(self, exc_type: type | None, *_: Any):
        done, mean_return = self._shown
        if exc_type is None and 0 < done < self._total:  # the last updates need not have been logged
            self.update(self._total, mean_return)
        self.close()
