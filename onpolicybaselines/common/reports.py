"""What learning from batches tells of itself: to the caller, and to the log."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.math_util import safemean
from onpolicybaselines.common.mpi_world import allmax, rank


def number_of_updates(total_timesteps: int, nbatch: int) -> int:
    """How many batches of nbatch steps there are in a run. Raises UsageError for a run that is too short for one."""
    if 0 < total_timesteps < nbatch:
        raise UsageError(f'total_timesteps={total_timesteps} is less than one batch of {nbatch} steps: nsteps of every '
                         'environment')
    return total_timesteps // nbatch


def call_back(callback: Callable | None, values: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    """callback(values, names), the locals and globals of a `learn`, whose `update` batches of `nbatch` steps are done;
    before the first one, those before `start`. Returns whether training is to stop, see `stops`.

    Added are what all algorithms have: `timesteps_so_far`, and `rewbuffer`, the returns in `epinfobuf`.
    """
    if callback is not None:
        values = {'timesteps_so_far': values.get('update', values.get('start', 1) - 1) * values['nbatch'],
                  'rewbuffer': [epinfo['r'] for epinfo in values['epinfobuf']], **values}
    return stops(callback, values, names)


def stops(callback: Callable | None, values: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    """callback(values, names), the locals and globals of a `learn`; whether that of any MPI rank returned False, upon
    which training stops, and the log says so. All ranks must call it, those that have no callback, too."""
    stop = callback is not None and callback(values, names) is False
    if not allmax([stop])[0]:
        return False
    steps = f' after {values["timesteps_so_far"]} time steps' if 'timesteps_so_far' in values else ''
    logger.log(f'Stopped by the callback{steps}')
    return True


def log_update(update: int, total_timesteps: int, fps: int, epinfobuf: Sequence[dict], **losses: float) -> None:
    """Log one line of a run: how far it is, what the update says of itself, and the last episodes."""
    logger.record_tabular("nupdates", update)
    logger.record_tabular("total_timesteps", total_timesteps)
    logger.record_tabular("fps", fps)
    for name, value in losses.items():
        logger.record_tabular(name, float(value))
    logger.record_tabular("eprewmean", safemean([epinfo['r'] for epinfo in epinfobuf]))
    logger.record_tabular("eplenmean", safemean([epinfo['l'] for epinfo in epinfobuf]))
    if rank() == 0:
        logger.dump_tabular()
