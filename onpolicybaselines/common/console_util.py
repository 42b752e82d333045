"""Table rows, colours, echoed commands and timers for the terminal (upstream: common/console_util.py)."""
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

# ================================================================
# Misc
# ================================================================


def fmt_row(width: int, row: Sequence[Any], header: bool = False) -> str:
    """Join the items of `row`, right-aligned in `width` characters; a header is underlined with dashes."""
    out = ' | '.join(fmt_item(x, width) for x in row)
    return f'{out}\n{"-" * len(out)}' if header else out


def fmt_item(x: Any, l: int) -> str:
    """Format one item right-aligned to `l` characters.

    Floats get five decimals, or scientific notation outside [1e-4, 1e4].
    Raises ValueError for an array that is not 0-d.
    """
    if isinstance(x, np.ndarray):
        if x.ndim != 0:
            raise ValueError(f'fmt_item formats scalars, got an array of shape {x.shape}')
        x = x.item()
    if isinstance(x, float | np.floating):
        v = abs(x)
        rep = f'{x:7.2e}' if v > 0 and not 1e-4 <= v <= 1e4 else f'{x:7.5f}'
    else:
        rep = str(x)
    return rep.rjust(l)


color2num = dict(gray=30, red=31, green=32, yellow=33, blue=34, magenta=35, cyan=36, white=37, crimson=38)


def colorize(string: str, color: str = 'green', bold: bool = False, highlight: bool = False) -> str:
    """Wrap `string` in the ANSI codes of a colour of `color2num`; `highlight` colours the background."""
    attr = [str(color2num[color] + 10 * highlight)]
    if bold: attr.append('1')
    return f'\x1b[{";".join(attr)}m{string}\x1b[0m'


def print_cmd(cmd: str | Sequence[str], dry: bool = False) -> None:
    """Print a shell command, quoted so that it can be pasted back; `dry` marks it as not executed."""
    if not isinstance(cmd, str):
        cmd = shlex.join(cmd)
    print(colorize(('DRY: ' if dry else 'CMD: ') + cmd))


def get_git_commit(cwd: str | None = None) -> str:
    """Return the short hash of HEAD. Raises subprocess.CalledProcessError outside a repository."""
    return subprocess.check_output(['git', 'rev-parse', '--short', 'HEAD'], cwd=cwd, text=True).strip()


def get_git_commit_message(cwd: str | None = None) -> str:
    """Return the message of HEAD. Raises subprocess.CalledProcessError outside a repository."""
    return subprocess.check_output(['git', 'show', '-s', '--format=%B', 'HEAD'], cwd=cwd, text=True).strip()


def ccap(cmd: str | Sequence[str], dry: bool = False, env: dict[str, str] | None = None,
         **kwargs: Any) -> None:
    """Print a command and, unless `dry`, run it. Raises subprocess.CalledProcessError if it fails."""
    print_cmd(cmd, dry)
    if not dry:
        subprocess.check_call(cmd, env=env, **kwargs)


MESSAGE_DEPTH = 0


@contextmanager
def timed(msg: str) -> Iterator[None]:
    """Print `msg` on entry and the seconds spent on exit, indented by the depth of nesting."""
    global MESSAGE_DEPTH
    print(colorize('\t' * MESSAGE_DEPTH + '=: ' + msg, color='magenta'))
    tstart = time.perf_counter()
    MESSAGE_DEPTH += 1
    try:
        yield
    finally:
        MESSAGE_DEPTH -= 1
        took = time.perf_counter() - tstart
        print(colorize('\t' * MESSAGE_DEPTH + f'done in {took:.3f} seconds', color='magenta'))
