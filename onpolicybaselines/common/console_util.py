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
    out = " | ".join(fmt_item(x, width) for x in row)
    if header: out = out + "\n" + "-"*len(out)
    return out


def fmt_item(x: Any, l: int) -> str:
    """Format one item right-aligned to `l` characters.

    Floats get five decimals, or scientific notation outside [1e-4, 1e4].
    Raises ValueError for an array that is not 0-d.
    """
    if isinstance(x, np.ndarray):
        if x.ndim != 0:
            raise ValueError(f'fmt_item formats scalars, got an array of shape {x.shape}')
        x = x.item()
    if isinstance(x, (float, np.floating)):
        v = abs(x)
        if (v < 1e-4 or v > 1e+4) and v > 0:
            rep = "%7.2e" % x
        else:
            rep = "%7.5f" % x
    else: rep = str(x)
    return " "*(l - len(rep)) + rep


color2num = dict(
    gray=30,
    red=31,
    green=32,
    yellow=33,
    blue=34,
    magenta=35,
    cyan=36,
    white=37,
    crimson=38
)


def colorize(string: str, color: str = 'green', bold: bool = False, highlight: bool = False) -> str:
    """Wrap `string` in the ANSI codes of a colour of `color2num`; `highlight` colours the background."""
    attr = []
    num = color2num[color]
    if highlight: num += 10
    attr.append(str(num))
    if bold: attr.append('1')
    return '\x1b[%sm%s\x1b[0m' % (';'.join(attr), string)


def print_cmd(cmd: str | Sequence[str], dry: bool = False) -> None:
    """Print a shell command, quoted so that it can be pasted back; `dry` marks it as not executed."""
    if isinstance(cmd, str):
        pass
    else:
        cmd = ' '.join(shlex.quote(arg) for arg in cmd)
    print(colorize(('CMD: ' if not dry else 'DRY: ') + cmd))


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
    print(colorize('\t'*MESSAGE_DEPTH + '=: ' + msg, color='magenta'))
    tstart = time.time()
    MESSAGE_DEPTH += 1
    try:
        yield
    finally:
        MESSAGE_DEPTH -= 1
        print(colorize('\t'*MESSAGE_DEPTH + "done in %.3f seconds"%(time.time() - tstart), color='magenta'))
