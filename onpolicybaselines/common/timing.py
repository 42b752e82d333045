"""Where the time of a run goes, for those who ask."""
import contextlib
import contextvars
import time
from collections import defaultdict
from collections.abc import Iterator

_seconds: contextvars.ContextVar = contextvars.ContextVar('seconds by name', default=None)


@contextlib.contextmanager
def timed(msg: str) -> Iterator[None]:
    """Within `timing`, count the seconds spent inside; else it does nothing."""
    seconds = _seconds.get()
    if seconds is None:
        yield
        return
    tstart = time.perf_counter()
    try:
        yield
    finally:
        seconds[msg] += time.perf_counter() - tstart


@contextlib.contextmanager
def timing() -> Iterator[defaultdict[str, float]]:
    """The seconds spent within by the name of the `timed` block, as they add up.

    >>> with timing() as seconds:
    ...     with timed('sleep'):
    ...         time.sleep(0.01)
    >>> seconds['sleep'] >= 0.01
    True
    """
    token = _seconds.set(defaultdict(float))
    try:
        yield _seconds.get()
    finally:
        _seconds.reset(token)
