"""The folder in which XLA keeps what it has compiled: of its own for each processor and version, and checked before it
is read, since what is damaged in it would end a run, or be run."""
import contextlib
import hashlib
import importlib.metadata
import os
import os.path as osp
import platform
import re
import shutil
import time

from onpolicybaselines import logger
from onpolicybaselines.common.files import replacing

FLAG = '--tf_xla_persistent_cache_directory='
DIGEST = '.sha256'  # ends the name of the file that says what a file held when it was written
LOCK = '.lock'
LEAST_SPACE = 256 * 2**20  # bytes free, below which nothing is kept


def use_folder() -> None:
    """Have XLA keep what it compiles, before TensorFlow is imported; a line in the log if that cannot be."""
    if FLAG in os.environ.get('TF_XLA_FLAGS', ''):
        return
    folder = osp.join(os.environ.get('XDG_CACHE_HOME') or osp.expanduser('~/.cache'), 'onpolicybaselines', 'xla', key())
    try:
        if not osp.isabs(folder):
            raise OSError(None, 'there is no home: set XDG_CACHE_HOME')
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(None, 'permission denied')
        if shutil.disk_usage(folder).free < LEAST_SPACE:
            raise OSError(None, 'the disk is full')
    except OSError as e:
        logger.log(f'Nothing that XLA compiles is kept in {folder} ({e.strerror}): it is compiled in every run')
        return
    os.environ['TF_XLA_FLAGS'] = f'{os.environ.get("TF_XLA_FLAGS", "")} {FLAG}{folder}'.strip()


def key() -> str:
    """What compiled code is for: the processor with all that it can do, and TensorFlow's version."""
    processor = ''
    with contextlib.suppress(OSError), open('/proc/cpuinfo', encoding='utf-8', errors='replace') as fh:
        processor = ''.join(line for line in fh.read().partition('\n\n')[0].splitlines(keepends=True)
                            if line.startswith(('model name', 'flags', 'Features', 'CPU')))
    parts = (platform.system(), platform.machine(), processor, importlib.metadata.version('tensorflow'))
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:16]


def folder_in_use() -> str | None:
    """The folder that XLA was told of."""
    found = re.search(FLAG + r'(\S+)', os.environ.get('TF_XLA_FLAGS', ''))
    return found and found[1]


def check(folder: str) -> None:
    """Remove files that are not what XLA wrote, with a line in the log; once in a process."""
    if folder in _checked:
        return
    _checked.add(folder)
    damaged = [name for name in _entries(folder) if not _is_whole(osp.join(folder, name))]
    for name in damaged:
        _remove(osp.join(folder, name))
    if damaged:
        logger.log(f'{folder} had {len(damaged)} files that are damaged or of others: compiling anew')


_checked: set[str] = set()


def _is_whole(path):
    """Also one that another process has just written, and has not noted yet."""
    noted = _read(path + DIGEST)
    with contextlib.suppress(OSError):
        return noted == _digest(path) or noted is None and osp.isfile(path) and time.time() - osp.getmtime(path) < 60
    return False


def note(folder: str) -> None:
    """Say of new files what they hold, for `check`."""
    for name in _entries(folder):
        path = osp.join(folder, name)
        if not osp.exists(path + DIGEST) and osp.isfile(path):
            with replacing(path + DIGEST, 'wb') as fh:
                fh.write(_digest(path) or b'')


def clear(folder: str) -> None:
    """Remove all that is kept."""
    for name in _entries(folder):
        _remove(osp.join(folder, name))


def _entries(folder):
    return [name for name in os.listdir(folder) if not name.endswith((DIGEST, LOCK, '.tmp'))]


def _digest(path):
    content = _read(path)
    return None if content is None else hashlib.sha256(content).hexdigest().encode()


def _read(path):
    with contextlib.suppress(OSError), open(path, 'rb') as fh:
        return fh.read()


def _remove(path):
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if osp.isdir(path) and not osp.islink(path) else os.remove(path)
    with contextlib.suppress(OSError):
        os.remove(path + DIGEST)
