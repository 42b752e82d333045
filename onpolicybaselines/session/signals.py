"""The end of a run by a signal: one line, and the status that shells have for it."""
import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

from onpolicybaselines.common.checkpoint import handling
from onpolicybaselines.common.errors import Interrupted
from onpolicybaselines.common.mpi_world import size


def ended_by_signals(main: Callable) -> Callable:
    """Decorator: SIGINT, SIGTERM and SIGHUP end it, without a traceback, by Interrupted; while it trains, after a
    checkpoint of all ranks, see `checkpointing`."""
    @functools.wraps(main)
    def ending(*args):
        with handling(_end):
            try:
                return main(*args)
            except Interrupted as e:
                if not e.together and e.__cause__ is None and size() == 1:
                    print(f'{e.signum.name}: ended', file=sys.stderr)
                raise
            except KeyboardInterrupt:  # of a part that has its own handler
                raise Interrupted(signal.SIGINT) from None
    return ending


def _end(signum: int, frame: Any) -> None:
    raise Interrupted(signum)
