"""Packages that only some uses need: where one is missing, a line says how to install it."""
import importlib.util
import sys
from typing import NoReturn

from onpolicybaselines.common.errors import UsageError

# by the name of the import: the extra of setup.py that brings it
EXTRAS = {'matplotlib': 'plots', 'pandas': 'plots', 'rliable': 'figures', 'imageio': 'video', 'imageio_ffmpeg': 'video',
          'pygame': 'video', 'ale_py': 'atari', 'cv2': 'atari', 'numba': 'fast', 'mpi4py': 'mpi', 'wandb': 'track',
          'pygments': 'diff', 'stable_baselines3': 'bench', 'sb3_contrib': 'bench'}


class NotInstalled(UsageError, ImportError):  # noqa: N818
    """A package that only some uses need is missing."""


def is_installed(package: str) -> bool:
    """Whether it can be imported, without doing so."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def need(*packages: str) -> None:
    """Raise NotInstalled, one line with the command that installs them, unless all of these packages are there.

    >>> need('json', 'csv')
    """
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        raise NotInstalled(f'{" and ".join(missing)} {"are" if missing[1:] else "is"} not installed: '
                           + how_to_install(*missing))


def how_to_install(*packages: str) -> str:
    """The command that installs packages, by the names of their imports.

    >>> how_to_install('numba', 'tensorboard')
    "pip install 'onpolicybaselines[fast]' tensorboard"
    """
    extras = ','.join(dict.fromkeys(EXTRAS[package] for package in packages if package in EXTRAS))
    return ' '.join(['pip install', *([f"'onpolicybaselines[{extras}]'"] if extras else []),
                     *(package for package in packages if package not in EXTRAS)])


def needed_by_module(*packages: str) -> NoReturn:
    """For a module whose import of one of the packages failed: raise NotInstalled; but in a program of ours that was
    started by `python -m`, and cannot go on, print the line, and exit with status 2."""
    spec = getattr(sys.modules['__main__'], '__spec__', None)
    try:
        need(*packages)
    except NotInstalled as e:
        if spec is None or spec.name.partition('.')[0] not in ('onpolicybaselines', 'run'):
            raise
        print(f'error: {e}', file=sys.stderr)
        sys.exit(2)
    raise  # noqa: PLE0704 (what it failed by is something else)
