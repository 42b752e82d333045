"""A script that starts its own MPI ranks (upstream: baselines/common/mpi_fork.py)."""
import os
import shutil
import subprocess
import sys

from onpolicybaselines.common.mpi_world import launched_size


def mpi_fork(n: int, bind_to_core: bool = False) -> str:
    """Run the present command again as n MPI ranks, with one BLAS thread each, and wait for them.

    Returns 'parent' to the process that waited and 'child' to the ranks (also where n <= 1 or this process is
    a rank already). The mpirun beside the Python interpreter comes before those on the PATH.

    Raises RuntimeError if there is no mpirun, subprocess.CalledProcessError if the ranks fail.
    """
    if n<=1 or launched_size() > 0 or os.getenv("IN_MPI") is not None:
        return "child"
    places = os.path.dirname(sys.executable) + os.pathsep + os.environ.get('PATH', os.defpath)
    mpirun = shutil.which('mpirun', path=places)
    if mpirun is None:
        raise RuntimeError("found no mpirun; pip install 'onpolicybaselines[mpi]'")
    env = os.environ.copy()
    env.update(
        MKL_NUM_THREADS="1",
        OMP_NUM_THREADS="1",
        IN_MPI="1"
    )
    args = [mpirun, "-np", str(n)]
    if bind_to_core:
        args += ["-bind-to", "core"]
    args += [sys.executable] + sys.orig_argv[1:] # keeps what sys.argv has lost: -m, -c, the interpreter's options
    subprocess.check_call(args, env=env)
    return "parent"
