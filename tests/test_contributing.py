"""The walk-throughs of CONTRIBUTING.md, followed as written in a copy of the repository."""
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SECTIONS = dict(re.findall(r'^## ([^\n]*)\n(.*?)(?=^## |\Z)', (ROOT / 'CONTRIBUTING.md').read_text(), re.M | re.S))
# a line that names a file and ends with a colon, then what is in it or changes in it; or commands
BLOCK = re.compile(r'(?:^[^`\n]*`([\w/.]+)`[^\n]*(?:\n[^\n]+)*:\n\n)?^```(\w+)\n(.*?)^```$', re.M | re.S)


def apply(path, change):
    """Replace the lines of a diff without numbers: those that begin with ' ' or '-' by those with ' ' or '+'."""
    lines = [line if line.strip() else ' \n' for line in change.splitlines(keepends=True)]
    before, after = (''.join(line[1:] for line in lines if line[0] in kinds) for kinds in (' -', ' +'))
    text = path.read_text()
    assert text.count(before) == 1, f'{path.name} has not once:\n{before}'
    path.write_text(text.replace(before, after))


@pytest.fixture
def copy(tmp_path):
    ignored = shutil.ignore_patterns('__pycache__', 'golden')
    for name in ('onpolicybaselines', 'run', 'tests'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ('setup.cfg', 'setup.py', 'ruff.toml', 'Makefile', 'README.md', 'UPSTREAM.md'):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def follow(section, folder):
    """Do what the section says; lines with a path/to/... are the reader's."""
    blocks = BLOCK.findall(SECTIONS[section])
    assert len(blocks) == SECTIONS[section].count('\n```') / 2
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH']
    for file, language, text in blocks:
        if language == 'sh':
            for command in text.splitlines():
                if 'path/to/' not in command:
                    result = subprocess.run(command, shell=True, cwd=folder, env={**os.environ, 'PATH': path},
                                            capture_output=True, text=True)
                    assert result.returncode == 0, f'{command}\n{result.stdout}\n{result.stderr}'
        elif language == 'diff':
            apply(folder / file, text)
        else:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)


@pytest.mark.parametrize('section', SECTIONS)
def test_walk_through(section, copy):
    follow(section, copy)
    if importlib.util.find_spec('ruff'):
        ruff = subprocess.run([sys.executable, '-m', 'ruff', 'check', '.'], cwd=copy, capture_output=True, text=True)
        assert ruff.returncode == 0, ruff.stdout


def test_there_are_four():
    assert list(SECTIONS) == ['Add an action distribution', 'Add an algorithm', 'Add an environment',
                              'Change a mirrored file']
