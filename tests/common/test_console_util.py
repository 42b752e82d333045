import subprocess

import numpy as np
import pytest

from onpolicybaselines.common import console_util


@pytest.mark.parametrize('x, text', [
    (1.5, '1.50000'), (-2e-5, '-2.00e-05'), (12345.0, '1.23e+04'), (0.0, '0.00000'), (float('nan'), 'nan'),
    (np.float32(0.25), '0.25000'), (np.array(0.25), '0.25000'), (np.array(3), '3'), (7, '7'), ('word', 'word')
])
def test_fmt_item(x, text):
    assert console_util.fmt_item(x, 12) == text.rjust(12)


def test_fmt_item_of_an_array():
    with pytest.raises(ValueError, match=r'shape \(2,\)'):
        console_util.fmt_item(np.zeros(2), 8)


def test_fmt_row():
    assert console_util.fmt_row(4, ['a', 12]) == '   a |   12'
    assert console_util.fmt_row(4, ['a', 12], header=True).split('\n')[1] == '-' * 11


def test_colorize():
    assert console_util.colorize('x', 'red', bold=True) == '\x1b[31;1mx\x1b[0m'
    assert console_util.colorize('x', 'red', highlight=True) == '\x1b[41mx\x1b[0m'


def test_ccap_prints_quoted_and_runs_unless_dry(tmp_path, capsys):
    console_util.ccap(['touch', 'a b'], cwd=tmp_path)
    assert "CMD: touch 'a b'" in capsys.readouterr().out and (tmp_path / 'a b').exists()
    console_util.ccap(['touch', 'c'], dry=True, cwd=tmp_path)
    assert 'DRY: touch c' in capsys.readouterr().out and not (tmp_path / 'c').exists()
    with pytest.raises(subprocess.CalledProcessError):
        console_util.ccap(['false'])


def test_git_commit(tmp_path):
    def git(*args):
        command = ['git', '-c', 'user.name=n', '-c', 'user.email=e', *args]
        return subprocess.check_output(command, cwd=tmp_path, text=True)
    git('init', '-q')
    git('commit', '-q', '--allow-empty', '-m', 'a message')
    commit = console_util.get_git_commit(tmp_path)
    assert len(commit) >= 4 and git('rev-parse', 'HEAD').startswith(commit)
    assert console_util.get_git_commit_message(tmp_path) == 'a message'


def test_timed_nests_and_survives_an_exception(capsys):
    with pytest.raises(KeyError), console_util.timed('outer'), console_util.timed('inner'):
        raise KeyError
    with console_util.timed('next'):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert [line.count('\t') for line in lines] == [0, 1, 1, 0, 0, 0]
    assert ['done in' in line for line in lines] == [False, False, True, True, False, True]
