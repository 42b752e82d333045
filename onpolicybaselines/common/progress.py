"""How far a run is: a bar on a terminal, a line now and then elsewhere."""
import math
import sys
import time
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Steps done of `total`, steps per second, time left and mean return.

    On a terminal it is a bar that stays below the log; elsewhere a plain line every `interval` seconds and at the end.
    """

    def __init__(self, total: int, file: TextIO | None = None, interval: float = 10.0):
        self._total = total
        self._file = sys.stderr if file is None else file
        self._interval = interval
        self._done = 0
        self._start = self._last = time.monotonic()
        self._bar = tqdm(total=total, unit='step', file=self._file, dynamic_ncols=True, smoothing=0.1,
                         unit_scale=True) if self._file.isatty() else None

    def update(self, done: int, mean_return: float = math.nan) -> None:
        """`done` steps so far, with that mean episode return (EpRewMean; NaN before the first episode ends)."""
        first, self._done = self._done == 0, done
        if self._bar is not None:
            self._bar.set_postfix_str(f'EpRewMean={mean_return:.4g}', refresh=False)
            self._bar.update(min(done, self._total) - self._bar.n)
        elif done and (first or done >= self._total or time.monotonic() - self._last >= self._interval):
            self._last = time.monotonic()
            print(self._line(mean_return), file=self._file, flush=True)

    def _line(self, mean_return):
        rate = self._done / (time.monotonic() - self._start)
        left = time.strftime('%H:%M:%S', time.gmtime(max(self._total - self._done, 0) / rate))
        return (f'{self._done}/{self._total} steps ({self._done / self._total:.0%}), {rate:.0f} steps/s, '
                f'{left} left, EpRewMean {mean_return:.4g}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Leave the terminal in order."""
        if self._bar is not None:
            self._bar.close()
