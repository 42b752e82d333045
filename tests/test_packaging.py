"""The package as others get it: a wheel, used as a library away from the checkout."""
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

LIBRARY_USE = '''
import gymnasium as gym
import onpolicybaselines
from onpolicybaselines.trpo_mpi import trpo_mpi
assert {site!r} in onpolicybaselines.__file__
for policy in ('gaussian', 'gmm'):  # twice in one process
    env = gym.make('Pendulum-v1')
    pi = trpo_mpi.learn(network='mlp', env=env, total_timesteps=128, timesteps_per_batch=64, policy=policy, seed=0)
    print(policy, pi.act(env.reset()[0]).shape)
'''


def test_wheel_builds_installs_and_learns(tmp_path):
    source, wheels, site = tmp_path / 'source', tmp_path / 'wheels', tmp_path / 'site'
    source.mkdir()
    shutil.copytree(ROOT / 'onpolicybaselines', source / 'onpolicybaselines',
                    ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    subprocess.run([*pip, 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', wheels, source], check=True)
    wheel, = wheels.glob('onpolicybaselines-*.whl')
    subprocess.run([*pip, 'install', '--no-deps', '--target', site, wheel], check=True)
    modules = {p.relative_to(ROOT) for p in (ROOT / 'onpolicybaselines').rglob('*.py')}
    assert modules == {p.relative_to(site) for p in (site / 'onpolicybaselines').rglob('*.py')}
    assert (site / 'onpolicybaselines/py.typed').exists()
    script = subprocess.run([site / 'bin/onpolicybaselines', '--gama=1'], env={**os.environ, 'PYTHONPATH': str(site)},
                            capture_output=True, text=True, check=False)
    assert (script.returncode, script.stderr) == (2, 'error: unknown option --gama; did you mean --gamma?\n')
    result = subprocess.run([sys.executable, '-c', LIBRARY_USE.format(site=str(site))], cwd=tmp_path, text=True,
                            env={**os.environ, 'PYTHONPATH': str(site), 'OPENAI_LOGDIR': str(tmp_path / 'log')},
                            capture_output=True, timeout=200, check=False)
    assert result.returncode == 0, result.stderr
    assert 'gaussian (1, 1)' in result.stdout and 'gmm (1, 1)' in result.stdout


def test_the_image_copies_files_that_exist_and_installs_extras_that_do():
    text = (ROOT / 'Dockerfile').read_text()
    copied = [name for names in re.findall(r'^COPY (.*) \S+$', text, re.M) for name in names.split()]
    assert {'setup.py', 'constraints.txt', 'onpolicybaselines'} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    extras, = re.findall(r"'\.\[(.*)\]'", text)
    assert set(extras.split(',')) <= set(importlib.metadata.metadata('onpolicybaselines').get_all('Provides-Extra'))
