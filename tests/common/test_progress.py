"""The progress display, on a real pseudo-terminal and elsewhere."""
import contextlib
import fcntl
import io
import os
import struct
import termios
import time

from onpolicybaselines.common.progress import Progress


def on_a_terminal(updates, total=1000):
    """What a terminal is sent."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    with open(slave, 'w') as terminal, Progress(total, file=terminal) as progress:
        for done, returns in updates:
            time.sleep(0.15)  # the bar is redrawn ten times a second at most
            progress.update(done, returns)
    with open(master, 'rb', buffering=0) as screen:
        return b''.join(_chunks(screen)).decode()


def _chunks(screen):
    """All that is left to read of a pseudo-terminal whose other end is closed: one read may give a part of it."""
    with contextlib.suppress(OSError):  # EIO: the end
        while chunk := screen.read(65536):
            yield chunk


def test_bar_on_a_terminal():
    text = on_a_terminal([(0, []), (500, [12., 12.62]), (1024, [99.])])
    assert '50%' in text and 'EpRewMean=12.31' in text
    assert '1.00k/1.00k' in text and 'EpRewMean=99' in text and 'step/s' in text
    assert text.count('\r') >= 2 and '102%' not in text


def test_plain_lines_elsewhere():
    file = io.StringIO()
    with Progress(1000, file=file, interval=0) as progress:
        progress.update(0)
        progress.update(250)
        progress.update(500, [12., 12.7])
        progress.update(1024, [99.])
    lines = file.getvalue().splitlines()
    assert [line.split(',')[0] for line in lines] == ['250/1000 steps (25%)', '500/1000 steps (50%)',
                                                      '1024/1000 steps (102%)']
    assert lines[0].endswith('EpRewMean nan') and lines[1].endswith('EpRewMean 12.35')
    assert '00:00:0' in lines[1] and '\r' not in file.getvalue()


def test_plain_lines_are_few():
    file = io.StringIO()
    with Progress(1000, file=file, interval=3600) as progress:
        for done in range(0, 1001, 10):
            progress.update(done)
    assert len(file.getvalue().splitlines()) == 2  # the first update and the last


def test_without_a_known_end():
    file = io.StringIO()
    with Progress(0, file=file, interval=0) as progress:
        progress.update(500, [1.])
    assert file.getvalue().startswith('500 steps, ') and 'left' not in file.getvalue()
    assert '500step' in on_a_terminal([(500, [1.])], total=0)


def test_disabled_says_nothing():
    file = io.StringIO()
    with Progress(10, enabled=False, file=file) as progress:
        progress.update(10, [1.])
    assert file.getvalue() == ''
