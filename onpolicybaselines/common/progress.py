"""How far a run is: a bar on a terminal, a line now and then elsewhere."""
import sys
import time
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from tqdm import tqdm


class Progress:
    """Steps done of `total` (0: no known end), steps per second, time left and mean return.

    On a terminal it is a bar that stays below the log; elsewhere a plain line every `interval` seconds and at the end.
    It appears with the first update, and not at all if not `enabled`.
    """

    def __init__(self, total: int, enabled: bool = True, file: TextIO | None = None, interval: float = 10.0):
        self._total = total
        self._enabled = enabled
        self._file = sys.stderr if file is None else file
        self._interval = interval
        self._bar = None
        self._start = self._last = time.monotonic()

    def update(self, done: int, returns: Sequence[float] = ()) -> None:
        """`done` steps so far, with the latest episode returns, whose mean is EpRewMean."""
        if not self._enabled:
            return
        mean_return = np.mean(returns) if len(returns) else np.nan
        if self._file.isatty():
            self._draw(done, mean_return)
        elif done and self._is_due(done):
            self._last = time.monotonic()
            print(self._line(done, mean_return), file=self._file, flush=True)

    def _draw(self, done, mean_return):
        if self._bar is None:
            self._bar = tqdm(total=self._total or None, unit='step', file=self._file, dynamic_ncols=True,
                             smoothing=0.1, unit_scale=True)
        self._bar.set_postfix_str(f'EpRewMean={mean_return:.4g}', refresh=False)
        self._bar.update((min(done, self._total) if self._total else done) - self._bar.n)

    def _is_due(self, done):
        is_first = self._last == self._start
        return is_first or done >= self._total > 0 or time.monotonic() - self._last >= self._interval

    def _line(self, done, mean_return):
        rate = done / (time.monotonic() - self._start)
        if not self._total:
            return f'{done} steps, {rate:.0f} steps/s, EpRewMean {mean_return:.4g}'
        left = time.strftime('%H:%M:%S', time.gmtime(max(self._total - done, 0) / rate))
        return (f'{done}/{self._total} steps ({done / self._total:.0%}), {rate:.0f} steps/s, {left} left, '
                f'EpRewMean {mean_return:.4g}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()
