"""The MPI world, and what its ranks do together.

mpi4py is imported only where an MPI launcher started the process: single runs need no MPI at all. `comm` is
an mpi4py communicator; None stands for `get_comm()`.
A process that a rank starts (an environment worker, say) is no rank: it must not inherit LAUNCHER_VARIABLES.
"""
from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from onpolicybaselines.common.errors import Interrupted
from onpolicybaselines.common.mpi_watch import end_all, watched

if TYPE_CHECKING:
    from mpi4py import MPI
    from numpy.typing import ArrayLike

# (rank, size) as launchers hand them to the processes they start: MPICH, Intel MPI; Open MPI; MVAPICH; PMIx
LAUNCHER_VARIABLES = (('PMI_RANK', 'PMI_SIZE'), ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
                      ('MV2_COMM_WORLD_RANK', 'MV2_COMM_WORLD_SIZE'), ('PMIX_RANK', 'SLURM_NTASKS'))


def launched_size() -> int:
    """Number of processes the MPI launcher started (at least), from the environment; 0 without one."""
    for (rank_var, size_var) in LAUNCHER_VARIABLES:
        if rank_var in os.environ:
            return int(os.environ.get(size_var, int(os.environ[rank_var]) + 1))
    return 0


def get_comm() -> MPI.Intracomm | None:
    """Return COMM_WORLD, or None where no MPI launcher started this process (and nobody imported mpi4py.MPI).

    In a world of several, its collective calls are watched, and an exception that nothing catches ends all ranks, see
    `mpi_watch.watched`.
    Raises RuntimeError if a launcher started several processes but mpi4py is missing or belongs to another
    MPI: each process would silently train alone.
    """
    mpi = sys.modules.get('mpi4py.MPI')
    if mpi is None:
        nprocs = launched_size()
        if nprocs == 0:
            return None
        # MPICH polls a thousand times before it yields the core, which more ranks than cores need
        os.environ.setdefault('MPIR_CVAR_POLLS_BEFORE_YIELD', '1')
        try:
            from mpi4py import MPI as mpi
        except (ImportError, RuntimeError) as e:  # RuntimeError: mpi4py found no MPI library
            if nprocs == 1:
                return None
            raise RuntimeError(f'an MPI launcher started {nprocs} processes, but mpi4py does not work ({e}); '
                               "pip install 'onpolicybaselines[mpi]'") from e
        if nprocs > 1 and mpi.COMM_WORLD.size == 1:
            library = mpi.Get_library_version().splitlines()[0]
            raise RuntimeError(f'an MPI launcher started {nprocs} processes, but mpi4py sees only one: its '
                               f'library belongs to another MPI; use the mpirun of {library}')
    return watched(mpi.COMM_WORLD)


def rank() -> int:
    """This process's number in the MPI world; 0 without MPI."""
    comm = get_comm()
    return 0 if comm is None else comm.Get_rank()


def size() -> int:
    """Number of processes in the MPI world; 1 without MPI."""
    comm = get_comm()
    return 1 if comm is None else comm.Get_size()


def allsum(x: ArrayLike, comm: MPI.Intracomm | None = None) -> np.ndarray:
    """Sum of x over the ranks, the same to the bit on all of them; without MPI a copy.

    float32 and float64 keep their dtype, all else becomes float64. Shapes must agree on all ranks.
    """
    x = np.asarray(x)
    out = np.array(x, x.dtype if x.dtype in ('float32', 'float64') else 'float64', order='C')
    comm = get_comm() if comm is None else comm
    if comm is not None:
        comm.Allreduce(sys.modules['mpi4py.MPI'].IN_PLACE, out)
    return out


def allmean(x: np.ndarray) -> np.ndarray:
    """Mean of x over the ranks; see `allsum`."""
    out = allsum(x)
    out /= size()
    return out


def allmax(x: Sequence[int]) -> list[int]:
    """The largest of each of the integers over the ranks; without MPI they themselves."""
    comm = get_comm()
    if comm is None:
        return list(x)
    out = np.array(x, 'int64')
    comm.Allreduce(sys.modules['mpi4py.MPI'].IN_PLACE, out, op=sys.modules['mpi4py.MPI'].MAX)
    return out.tolist()


def allgather(x: Any) -> list:
    """x of every rank, in order of rank; [x] without MPI."""
    comm = get_comm()
    return [x] if comm is None else comm.allgather(x)


def allgather_arrays(vectors: Sequence[ArrayLike]) -> list[tuple[np.ndarray, ...]]:
    """(vector, ...) of every rank, in order of rank: numbers, as float64, in messages of their size.

    The vectors of a rank are of one length, which may be another on each. Without MPI they keep their type.
    """
    comm = get_comm()
    if comm is None:
        return [tuple(map(np.asarray, vectors))]
    rows = np.array(vectors, 'float64').T.copy()  # [length, number of vectors]
    lengths = np.empty(comm.Get_size(), 'int64')
    comm.Allgather(np.array([len(rows)]), lengths)
    everyone = np.empty((lengths.sum(), len(vectors)))
    comm.Allgatherv(rows, (everyone, lengths * len(vectors)))
    return [tuple(part.T) for part in np.split(everyone, np.cumsum(lengths)[:-1])]


def check_synced(theta: np.ndarray, what: str, comm: MPI.Intracomm | None = None) -> None:
    """Raise RuntimeError, on all ranks, if the vector `theta` of any rank differs from that of rank 0."""
    comm = get_comm() if comm is None else comm
    if comm is None:
        return
    thetaroot = theta.copy()
    comm.Bcast(thetaroot, root=0)
    same = np.array_equal(thetaroot, theta, equal_nan=True)
    with np.errstate(invalid='ignore'):  # inf - inf
        diff = 0.0 if same else float(np.abs(thetaroot - theta).max())
    diffs = enumerate(comm.allgather(diff))
    faults = ', '.join(f'rank {i} (largest difference {d:g})' for (i, d) in diffs if d != 0)
    if faults:
        raise RuntimeError(f'{what}: the parameters are not those of rank 0 on {faults}; ranks must all '
                           'start from the same ones (sync) and then make the same updates')


@contextmanager
def abort_on_exception() -> Iterator[None]:
    """An exception that leaves this context ends ALL ranks with status 1, after its traceback is printed.

    Python would end this rank alone and leave the others waiting for it in their next collective call.
    Anything but a successful `sys.exit` counts, Ctrl-C included, but not the end of all of them together that a signal
    asked for (`Interrupted`). In a world of one exceptions pass as usual.
    """
    comm = get_comm()
    try:
        yield
    except Interrupted as e:
        if e.together or comm is None or comm.Get_size() == 1:
            raise
        abort(e.code, f'rank {comm.Get_rank()} was ended by {e.signum.name}: ending all {comm.Get_size()} ranks')
    except (Exception, KeyboardInterrupt, SystemExit) as e:
        exits_well = isinstance(e, SystemExit) and e.code in (None, 0)
        if exits_well or comm is None or comm.Get_size() == 1:
            raise
        abort(1, f'{traceback.format_exc()}rank {comm.Get_rank()} failed: ending all {comm.Get_size()} ranks')


def abort(status: int, message: str) -> NoReturn:
    """End ALL ranks with `status` after `message` is printed on stderr."""
    sys.stdout.flush()
    comm = get_comm()
    if comm is not None and comm.Get_size() > 1:
        end_all(comm, status, message)
    print(message, file=sys.stderr, flush=True)
    sys.exit(status)
