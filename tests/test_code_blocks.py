"""The code in README and the guide runs, page by page, each in a folder of its own, with training cut short."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs/pages/guide').glob('*.md'))]
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```', re.M | re.S)
STEPS = 4096  # enough for an update of every command
KNOWN = {'python', 'sh', 'text'}  # text: what needs machines that a test has not, and outputs


def blocks(page, language):
    return [code for (name, code) in BLOCK.findall(page.read_text()) if name == language]


def shortened(code):
    """With fewer steps, episodes and updates."""
    code = re.sub(r'((?:num|total)_timesteps=)([\d_.e]+)', lambda m: m[1] + (
        m[2] if float(m[2]) <= STEPS else str(2 * STEPS if '--resume' in code else STEPS)), code)
    code = re.sub(r'eval_interval=[\d_]+', f'eval_interval={STEPS // 2}', code)
    return re.sub(r'eval_episodes=\d+', 'eval_episodes=2', code)


def having(language):
    return [pytest.param(page, id=page.stem) for page in PAGES if blocks(page, language)]


@pytest.fixture
def environ():
    bin = os.path.dirname(sys.executable)
    return {**os.environ, 'PATH': bin + os.pathsep + os.environ['PATH'], 'TF_CPP_MIN_LOG_LEVEL': '3',
            'PYTHONPATH': str(ROOT), 'NO_COLOR': '1'}


def test_every_block_says_what_it_is():
    for page in PAGES:
        assert {name for name, _ in BLOCK.findall(page.read_text())} <= KNOWN, page


@pytest.mark.parametrize('page', having('python'))
def test_python(page, tmp_path, environ):
    """The blocks of a page go on from one another."""
    script = tmp_path / 'page.py'
    script.write_text('\n'.join(map(shortened, blocks(page, 'python'))))
    result = subprocess.run([sys.executable, script], cwd=tmp_path, env=environ, capture_output=True, text=True,
                            timeout=300)
    assert result.returncode == 0, result.stderr
    if page.name == 'README.md':
        assert all((tmp_path / name).exists() for name in ('model.npz', 'best.npz', 'saved_model'))


@pytest.mark.slow  # a minute for a page
@pytest.mark.parametrize('page', having('sh'))
def test_commands(page, tmp_path, environ):
    """Targets of make are looked at, not made."""
    for path in ('Makefile', 'setup.py', 'constraints.txt', 'run', 'results'):
        (tmp_path / path).symlink_to(ROOT / path)
    code = shortened('\n'.join(blocks(page, 'sh')))
    code = re.sub(r'^make ', 'make --dry-run ', code, flags=re.M)
    result = subprocess.run([shutil.which('bash'), '-e', '-c', code], cwd=tmp_path, env=environ, capture_output=True,
                            text=True, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
