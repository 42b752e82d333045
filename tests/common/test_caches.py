"""What is wrong with a cache costs a compilation and a line, never the run."""
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onpolicybaselines import logger
from onpolicybaselines.common import caches

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from onpolicybaselines import logger
from onpolicybaselines.session.start import start_tensorflow

logger.configure(sys.argv[1], format_strs=['log'])
start_tensorflow()
import numpy as np
import tensorflow as tf
from onpolicybaselines.common.compiled import compiled

for f in (lambda x: tf.tanh(tf.matmul(x, tf.sin(x))), lambda x: tf.cumsum(x) / x, lambda x: tf.exp(x) @ x):
    print(compiled(f, tf.TensorSpec([8, 8]), xla=True)(np.arange(64.).reshape(8, 8) + 1).tobytes().hex())
"""


def compile_there(tmp_path, **environment):
    """(what the program prints, its log)."""
    environment = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path / 'cache'), **environment}
    environment.pop('TF_XLA_FLAGS', None)
    out = subprocess.run([sys.executable, '-c', PROGRAM, str(tmp_path / 'log')], cwd=ROOT, env=environment,
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout, (tmp_path / 'log/log.txt').read_text()


def entries(tmp_path):
    folder, = (tmp_path / 'cache/onpolicybaselines/xla').iterdir()
    return [path for path in folder.iterdir() if not path.name.endswith((caches.DIGEST, caches.LOCK))]


def damage(path, how):
    content = path.read_bytes()
    if how == 'cut':
        path.write_bytes(content[:len(content) // 2])
    elif how == 'of others':
        path.write_text('shopping list\n')
    elif how == 'folder':
        path.unlink()
        path.mkdir()


def test_damaged_files_of_xla_are_compiled_anew(tmp_path):
    value, log = compile_there(tmp_path)
    assert 'compiling anew' not in log and len(entries(tmp_path)) == 3
    for path, how in zip(entries(tmp_path), itertools.cycle(['cut', 'of others', 'folder'])):
        damage(path, how)
    again, log = compile_there(tmp_path)
    assert again == value and log.count('compiling anew') == 1
    # those that are damaged, and look as if another process had just written them
    for path in entries(tmp_path):
        damage(path, 'cut')
        Path(f'{path}{caches.DIGEST}').unlink()
    again, log = compile_there(tmp_path)
    assert again == value and log.count('compiling anew') == 1


@pytest.mark.parametrize('environment', [
    {'XDG_CACHE_HOME': '/dev/null'}, {'XDG_CACHE_HOME': '/proc/nowhere'}, {'XDG_CACHE_HOME': 'relative'},
    {'XDG_CACHE_HOME': '', 'HOME': 'relative'}, {'XDG_CACHE_HOME': '', 'HOME': '/dev/null'}])
def test_no_folder_is_a_line(environment, tmp_path, monkeypatch):
    monkeypatch.delenv('TF_XLA_FLAGS', raising=False)
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with logger.scoped_configure(str(tmp_path / 'log'), ['log']):
        caches.use_folder()
    assert caches.folder_in_use() is None
    assert (tmp_path / 'log/log.txt').read_text().count('Nothing that XLA compiles is kept') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['log']


def test_home_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.delenv('TF_XLA_FLAGS', raising=False)
    monkeypatch.delenv('HOME')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    caches.use_folder()
    assert caches.folder_in_use() == str(tmp_path / 'onpolicybaselines/xla' / caches.key())


def test_other_flags_stay(tmp_path, monkeypatch):
    monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_clustering_debug=false')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    caches.use_folder()
    assert os.environ['TF_XLA_FLAGS'].startswith('--tf_xla_clustering_debug=false ')
    monkeypatch.setenv('TF_XLA_FLAGS', f'{caches.FLAG}/mine')
    caches.use_folder()
    assert caches.folder_in_use() == '/mine'


@pytest.mark.slow
def test_a_full_disk_is_a_line(small_disk, tmp_path):
    with small_disk(tmp_path / 'cache', '1m'):
        value, log = compile_there(tmp_path)
    assert 'the disk is full' in log
    assert value == compile_there(tmp_path, XDG_CACHE_HOME=str(tmp_path / 'other'))[0]
    with small_disk(tmp_path / 'later', '300m'):
        (tmp_path / 'later/filler').write_bytes(b'\0' * (40 * 2**20))
        assert compile_there(tmp_path, XDG_CACHE_HOME=str(tmp_path / 'later'))[0] == value
