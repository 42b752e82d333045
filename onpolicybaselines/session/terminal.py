"""Where what this process prints is seen."""
import contextlib
import os

from onpolicybaselines.common.mpi_world import launched_size

LAUNCHERS = ('mpirun', 'mpiexec', 'mpiexec.hydra', 'orterun', 'prterun', 'srun')


def launchers_terminal() -> os.terminal_size | None:
    """The size of the terminal on which an MPI launcher, an ancestor of this process, shows what it is handed by pipes;
    None without such a launcher on this machine, and where its output goes elsewhere."""
    pid = os.getppid() if launched_size() > 0 else 0
    with contextlib.suppress(OSError, ValueError):  # no /proc, or processes of others
        while pid > 1:
            with open(f'/proc/{pid}/stat', encoding='utf-8') as fh:
                head, _, rest = fh.read().rpartition(')')
            if head.partition('(')[2] in LAUNCHERS:
                return _terminal({os.readlink(f'/proc/{pid}/fd/{fd}') for fd in (1, 2)})
            pid = int(rest.split()[1])
    return None


def _terminal(files):
    """The size of a terminal that all of the files are."""
    if len(files) > 1 or not files <= {file for file in files if file.startswith(('/dev/pts/', '/dev/tty'))}:
        return None
    fd = os.open(files.pop(), os.O_RDONLY | os.O_NOCTTY)
    try:
        return os.get_terminal_size(fd)
    finally:
        os.close(fd)
