"""The progress display, on a real pseudo-terminal and elsewhere."""
import contextlib
import fcntl
import io
import math
import os
import re
import struct
import subprocess
import sys
import termios
import time

import pytest

from onpolicybaselines import logger
from onpolicybaselines.common.cmd_util import common_arg_parser
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
                                                      '1000/1000 steps (100%)']
    assert lines[0].endswith('EpRewMean nan') and lines[1].endswith('EpRewMean 12.35')
    assert 'the first update took 0 s' in lines[0] and ' steps/s, 00:0' in lines[1] and '\r' not in file.getvalue()


def test_plain_lines_are_few():
    file = io.StringIO()
    with Progress(1000, file=file, interval=3600) as progress:
        for done in range(0, 1001, 10):
            progress.update(done)
    assert len(file.getvalue().splitlines()) == 2  # the first update and the last


def test_a_first_update_that_takes_long_is_said_to(tmp_path):
    def lines():
        return (tmp_path / 'log.txt').read_text().count('No update after ')

    with logger.scoped_configure(str(tmp_path), ['log']), Progress(1000, file=io.StringIO(), patience=0.2) as progress:
        deadline = time.monotonic() + 60
        while lines() < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        progress.update(1)
        said = lines()
        time.sleep(1)
    assert said >= 2 and lines() == said


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
    assert file.getvalue().startswith('500 steps, the first update took 0 s, EpRewMean 1')
    assert 'left' not in file.getvalue()
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

    env, arguments = Env(), common_arg_parser().parse_args(['--num_timesteps=10'])
    with logger.scoped_configure(str(tmp_path), []):
        with training(env, arguments):
            assert len(logger.get_current().output_formats) == 1
        assert env.closed == 0
        with pytest.raises(ValueError), training(env, arguments):
            raise ValueError
        assert env.closed == 1 and logger.get_current().output_formats == []


def test_what_compiling_took_is_not_in_the_time_left(monkeypatch):
    """Of a minute for the first update, and two seconds for each later one; then the latest ones count."""
    clock = [0.]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
    file = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Progress(1000, file=file, interval=0, window=10.) as progress:
        for seconds, done in [(60, 100), (2, 200), (2, 300), (20, 400), (20, 500)]:
            clock[0] += seconds
            progress.update(done)
        clock[0] += 1024
        progress.update(501)
        raise KeyboardInterrupt
    assert [line.split(', EpRewMean')[0].partition(', ')[2] for line in file.getvalue().splitlines()] == [
        'the first update took 60 s', '50 steps/s, 00:16 left', '50 steps/s, 00:14 left', '5 steps/s, 02:00 left',
        '5 steps/s, 01:40 left', '0 steps/s, 5 days 21:56:16 left']


def test_the_bar_leaves_out_the_first_update():
    """Of a second, four times as long as the others."""
    master, slave = os.openpty()
    with open(slave, 'w') as terminal, Progress(1000, file=terminal, columns=90) as progress:
        time.sleep(1)
        progress.update(100)
        for done in (200, 300):
            time.sleep(.25)
            progress.update(done)
    with open(master, 'rb', buffering=0) as screen:
        bars = b''.join(_chunks(screen)).decode().split('\r')
    assert any('100/1.00k [00:01<?,' in bar for bar in bars) and any('300/1.00k [00:01<00:01' in bar for bar in bars)


def test_as_asked_for(tmp_path, capsys):
    """With neither of the streams on a terminal, as under a launcher of MPI."""
    for word, out, err in [('auto', '', '500/1000 steps'), ('bar', '\r', ''), ('lines', '', '500/1000 steps'),
                           ('none', '', '')]:
        args = common_arg_parser().parse_args(['--num_timesteps=1000', f'--progress={word}'])
        with logger.scoped_configure(str(tmp_path), []), training(None, args):
            logger.logkv('TimestepsSoFar', 500)
            logger.dumpkvs()
        shown = capsys.readouterr()
        assert (out in shown.out and err in shown.err and bool(shown.out) is bool(out) and bool(shown.err) is bool(err))


RANK = """
import time
from onpolicybaselines import logger
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.session.progress import training
logger.configure({folder!r}, ['stdout'] if rank() == 0 else [])
with training(None, common_arg_parser().parse_args(['--num_timesteps=1000'])):
    for steps in (100, 500, 1024):
        logger.logkv('TimestepsSoFar', steps)
        logger.dumpkvs()
        time.sleep(.2)
"""


def test_a_bar_under_mpirun(tmp_path):
    """On the terminal of the launcher, as wide as that; none where its output goes elsewhere."""
    command = [os.path.join(os.path.dirname(sys.executable), 'mpirun'), '-np', '2', sys.executable, '-c',
               RANK.format(folder=str(tmp_path))]
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    with open(slave, 'w') as terminal:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, check=True)
    with open(master, 'rb', buffering=0) as screen:
        text = b''.join(_chunks(screen)).decode()
    bars = [part for part in re.split(r'[\r\n]+', text) if '%|' in part]
    assert '100%' in bars[-1] and '1.00k/1.00k' in bars[-1] and max(map(len, bars)) == 100
    elsewhere = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '%|' not in elsewhere.stdout + elsewhere.stderr
    assert [line.split(',')[0] for line in elsewhere.stderr.splitlines()] == ['100/1000 steps (10%)',
                                                                             '1000/1000 steps (100%)']
