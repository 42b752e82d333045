"""The progress display, on a real pseudo-terminal and elsewhere."""
import contextlib
import fcntl
import io
import math
import os
import struct
import termios
import time

import pytest

from onpolicybaselines import logger
from onpolicybaselines.session.progress import Progress, training


def on_a_terminal(updates, total=1000):
    """What a terminal is sent."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    with open(slave, 'w') as terminal, Progress(total, file=terminal) as progress:
        for done, mean_return in updates:
            time.sleep(0.15)  # the bar is redrawn ten times a second at most
            progress.update(done, mean_return)
    with open(master, 'rb', buffering=0) as screen:
        return b''.join(_chunks(screen)).decode()


def _chunks(screen):
    """All that is left to read of a pseudo-terminal whose other end is closed: one read may give a part of it."""
    with contextlib.suppress(OSError):  # EIO: the end
        while chunk := screen.read(65536):
            yield chunk


def test_bar_on_a_terminal():
    text = on_a_terminal([(0, math.nan), (500, 12.31), (1024, 99.)])
    assert '50%' in text and 'EpRewMean=12.31' in text
    assert '1.00k/1.00k' in text and 'EpRewMean=99' in text and 'step/s' in text
    assert text.count('\r') >= 2 and '102%' not in text


def test_plain_lines_elsewhere():
    file = io.StringIO()
    with Progress(1000, file=file, interval=0) as progress:
        progress.update(0)
        progress.update(250)
        progress.update(500, 12.35)
        progress.update(1024, 99.)
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


@pytest.mark.parametrize(('total', 'said'), [(10**10, 1), (1000, 0), (0, 0)])
def test_days_are_said_before_they_are_spent(total, said, tmp_path):
    file = io.StringIO()
    with logger.scoped_configure(str(tmp_path), ['log']), Progress(total, file=file, interval=0) as progress:
        for done in (1, 2, 3):
            progress.update(done)
            time.sleep(0.01)
    text = (tmp_path / 'log.txt').read_text()
    assert text.count('At the pace of the first updates this run ends in ') == said
    assert (' days ' in file.getvalue()) is bool(said)


def test_without_a_known_end():
    file = io.StringIO()
    with Progress(0, file=file, interval=0) as progress:
        progress.update(500, 1.)
    assert file.getvalue().startswith('500 steps, ') and 'left' not in file.getvalue()
    assert '500step' in on_a_terminal([(500, 1.)], total=0)


def test_disabled_says_nothing():
    file = io.StringIO()
    with Progress(10, enabled=False, file=file) as progress:
        progress.update(10, 1.)
    assert file.getvalue() == ''


@pytest.mark.parametrize('steps, mean_return', [('TimestepsSoFar', 'EpRewMean'), ('total_timesteps', 'eprewmean'),
                                                ('misc/total_timesteps', 'eprewmean')])
def test_it_reads_the_log_of_any_algorithm(steps, mean_return, tmp_path):
    file = io.StringIO()
    with logger.scoped_configure(str(tmp_path), []), Progress(1000, file=file, interval=0) as progress:
        logger.get_current().output_formats.append(progress)
        for done in (0, 500, 900):
            logger.logkvs({steps: done, mean_return: done / 100, 'other': 1})
            logger.dumpkvs()
        logger.logkv('other', 2)
        logger.dumpkvs()
    lines = file.getvalue().splitlines()
    assert [line.split(',')[0] for line in lines] == ['500/1000 steps (50%)', '900/1000 steps (90%)',
                                                      '1000/1000 steps (100%)']
    assert lines[0].endswith('EpRewMean 5') and lines[2].endswith('EpRewMean 9')


def test_a_run_that_fails_does_not_pretend_to_end(tmp_path):
    file = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress(1000, file=file, interval=0) as progress:
        progress.update(500)
        raise KeyboardInterrupt
    assert len(file.getvalue().splitlines()) == 1


def test_training_that_fails_closes_the_environment(tmp_path):
    class Env:
        closed = 0

        def close(self):
            self.closed += 1

    env = Env()
    with logger.scoped_configure(str(tmp_path), []):
        with training(env, 10):
            assert len(logger.get_current().output_formats) == 1
        assert env.closed == 0
        with pytest.raises(ValueError), training(env, 10):
            raise ValueError
        assert env.closed == 1 and logger.get_current().output_formats == []
