"""Files that are whole or not there, and the revision of the code that wrote them."""
import contextlib
import errno
import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.state import negative

_META = '__meta__'
TEMPORARY = '.tmp'  # ends the name of a file that is being written
NO_FILE = 'it is no file, and is not replaced by one'


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = 'w', **kwargs) -> Iterator[IO]:
    """Open a file that takes the place of `path`, in one step, when all is written; after an exception the old one, if
    any, is still there. Folders that are missing are made; of a link, the file that it leads to is replaced.

    Raises FileExistsError where there is something else than a file, such as a folder or a device.
    """
    path = os.path.realpath(os.path.expanduser(path))
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(errno.EEXIST, NO_FILE, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tempfile.NamedTemporaryFile(mode, dir=os.path.dirname(path), suffix=TEMPORARY, delete=False, **kwargs) as fh:
        try:
            yield fh
            fh.flush()
            os.fsync(fh.fileno())
            os.chmod(fh.name, 0o644)
            os.replace(fh.name, path)
            _sync_folder(os.path.dirname(path))
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fh.name)
            raise


def _sync_folder(folder):
    """That a file has its new name is to be on the disk, too."""
    with contextlib.suppress(OSError):  # file systems need not know of it
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def check_writable(path: str | os.PathLike) -> None:
    """Make the folder of `path`, and raise UsageError, one line, if `replacing` would fail there."""
    try:
        if not str(path) or os.path.basename(path) in ('', '.', '..'):
            raise FileNotFoundError(None, 'it names no file')
        file = os.path.realpath(os.path.expanduser(path))
        if os.path.exists(file) and not os.path.isfile(file):
            raise FileExistsError(None, NO_FILE)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with tempfile.TemporaryFile(dir=os.path.dirname(file)):
            pass
    except (OSError, ValueError) as e:  # ValueError: a zero byte
        raise UsageError(f'cannot write to {str(path)!r} ({getattr(e, "strerror", None) or e})') from None


def wait_for_first(file: IO) -> None:
    """Lock an open file: the process that comes first goes on, the others wait until it has closed it or has ended, and
    then go on together.

    Raises OSError on file systems without locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(file, fcntl.LOCK_SH)


def write_arrays(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], meta: dict | None = None) -> None:
    """Write named arrays of numbers (and `meta`, JSON) as npz; an existing file survives a failure.

    Raises ValueError or TypeError for what are no numbers and no JSON.
    """
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    for name, value in arrays.items():
        if not _is_numeric(value) or name == _META:
            raise ValueError(f'{name!r} cannot be saved: {value.dtype} is no array of numbers')
    with replacing(path, 'wb') as fh:
        members: dict[str, Any] = {**arrays, _META: np.array(json.dumps(meta or {}))}
        np.savez(fh, **members)


def read_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays by name, meta) of a file of `write_arrays`. Nothing in the file is ever executed.

    Raises UsageError, one line, for a file that is not there or is not such a file.
    """
    file = os.path.expanduser(path)
    if not os.path.isfile(file):
        raise UsageError(f'no model file at {str(path)!r}')
    try:
        with open(file, 'rb') as fh, np.load(fh, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        meta = json.loads(arrays.pop(_META).item())
        for name, value in arrays.items():
            if not _is_numeric(value):
                raise ValueError(f'{name} is of {value.dtype}, which are no numbers')
        if not isinstance(meta, dict):
            raise ValueError(f'its description is of type {type(meta).__name__}')
    except Exception as e:  # whatever a foreign or damaged file makes numpy, zipfile and json raise
        reason = ' '.join(f'{type(e).__name__}: {e}'.split())
        raise UsageError(f'{str(path)!r} is not a model file written by --save_path ({reason})') from e
    return arrays, meta


def check_fits(path: str | os.PathLike, meta: dict, found: Mapping[str, np.ndarray],
               expected: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError, naming the first fault, if the arrays `found` in a file have not the names and shapes of those
    `expected`, or hold numbers that no run leaves: not finite, or counts and variances below 0."""
    path = os.fspath(path)
    here, there = ({name: np.shape(value) for name, value in arrays.items()} for arrays in (expected, found))
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            raise UsageError(f'{path!r} does not fit this policy: {name} is {there.get(name, "missing")} in the file '
                             f'and {here.get(name, "missing")} here; it was saved with {meta.get("spec")}')
    for name, value in found.items():
        if np.iscomplexobj(value) and not np.iscomplexobj(expected[name]):
            raise UsageError(f'{path!r} is damaged: {name} has complex numbers')
        if not np.isfinite(value).all():
            raise UsageError(f'{path!r} is damaged: {name} has numbers that are not finite')
    if negative(found):
        raise UsageError(f'{path!r} is damaged: {negative(found)} is negative')


def _is_numeric(array):
    return isinstance(array, np.ndarray) and array.dtype.kind in 'biufc'


def git_revision(folder: str | os.PathLike, abbrev: int = 40) -> str | None:
    """Commit of the checkout that `folder` is in, with '-dirty' if it was changed; None outside one."""
    try:
        command = ['git', 'describe', '--always', '--dirty', f'--abbrev={abbrev}', '--exclude=*']
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
