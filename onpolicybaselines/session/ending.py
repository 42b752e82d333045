"""How a run ends that cannot go on: one line on stderr, on one rank, and the end of all ranks."""
import functools
import sys
import time
from collections.abc import Callable

import gymnasium as gym

from onpolicybaselines.common.errors import EnvironmentFault, UsageError
from onpolicybaselines.common.mpi_world import abort, abort_on_exception, get_comm, rank
from onpolicybaselines.common.vec_env.children import OF_ONE_LINE
from onpolicybaselines.logger import get_rank_without_mpi_import


def one_line_errors(make: Callable) -> Callable:
    """Decorator: what is wrong with an environment is a UsageError, but for what it does against the rules."""
    @functools.wraps(make)
    def checked(*args, **kwargs):
        try:
            return make(*args, **kwargs)
        except EnvironmentFault:
            raise
        except (gym.error.Error, ImportError, ValueError, TypeError, RuntimeError, AttributeError) as e:
            raise UsageError(' '.join(str(e).split())) from e
    return checked


def _check_mpi():
    """Without MPI no rank could end the others; but all fail alike."""
    try:
        get_comm()
    except RuntimeError as e:
        if get_rank_without_mpi_import() == 0:
            print(f'error: {e}', file=sys.stderr)
        sys.exit(2)


def ends_all_ranks(main: Callable) -> Callable:
    """Decorator: an exception is the end of all ranks. Status 2, and one line, for bad input; 1, and one line, for
    numbers that are not finite and other faults of an environment."""
    @functools.wraps(main)
    def ending(*args):
        _check_mpi()
        with abort_on_exception():
            try:
                return main(*args)
            except OF_ONE_LINE as e:
                if rank() > 0:
                    time.sleep(3)  # rank 0 mostly fails alike: let it say so alone
                abort(1 if isinstance(e, (FloatingPointError, EnvironmentFault)) else 2, f'error: {e}')
    return ending
