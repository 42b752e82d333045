"""Whole training runs: the same numbers with native steps and without."""
import csv
import json

import numpy as np
import pytest

pytest.importorskip('numba')

from onpolicybaselines import logger, run  # noqa: E402
from onpolicybaselines.common.tf_util import load_variables  # noqa: E402
from onpolicybaselines.native import NativeVecEnv  # noqa: E402


def train(folder, *words):
    """What a run leaves behind, but times: rows of progress.csv and of monitor files, the model, the VecEnv's class."""
    made = []

    def watched(env_fns, *args):
        made.append(native_vec_env(env_fns, *args))
        return made[-1]
    from onpolicybaselines.common import cmd_util
    native_vec_env = cmd_util.native_vec_env
    with logger.scoped_configure(f'{folder}_scoped', ['log']), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cmd_util, 'native_vec_env', watched)
        run.main(['run', '--seed=1', f'--log_path={folder}', f'--save_path={folder}/model.npz', *words])
    arrays, _ = load_variables(str(folder / 'model.npz'))
    return {
        'progress': [{k: v for k, v in row.items() if k not in ('TimeElapsed', 'fps', 'misc/time_elapsed')}
                     for row in rows(folder / 'progress.csv')],
        'monitor': {path.name: [(row['r'], row['l']) for row in rows(path)] for path in folder.glob('*.monitor.csv')},
        'arrays': {name: array.tolist() for name, array in arrays.items()},
    }, [type(venv) for venv in made]


def rows(path):
    with open(path, newline='') as fh:
        return list(csv.DictReader(line for line in fh if not line.startswith('#')))


@pytest.mark.parametrize('words', [
    ('--alg=trpo_mpi', '--env=Hopper-v5', '--num_timesteps=3000', '--timesteps_per_batch=500'),
    pytest.param(('--alg=trpo_mpi', '--env=HalfCheetah-v5', '--policy=flow', '--num_timesteps=1500',
                  '--timesteps_per_batch=500'), marks=pytest.mark.slow),
    ('--alg=trpo_mpi', '--env=Reacher-v5', '--policy=gmm', '--num_timesteps=1000', '--timesteps_per_batch=500'),
    ('--alg=a2c', '--env=Walker2d-v5', '--num_env=2', '--num_timesteps=3000', '--reward_scale=0.1'),
    ('--alg=acktr_cont', '--env=rllab/Hopper-v0', '--num_timesteps=3000', '--timesteps_per_batch=500'),
    ('--alg=ppo2', '--env=Hopper-v5', '--num_env=2', '--num_timesteps=1536', '--nsteps=256', '--noptepochs=1'),
], ids=' '.join)
def test_same_run_with_and_without(words, tmp_path):
    """progress.csv, monitor files and the model, to the last digit."""
    native, made = train(tmp_path / 'native', *words)
    assert made == [NativeVecEnv]
    plain, made = train(tmp_path / 'plain', *words, '--native=False')
    assert made == []
    assert len(native['progress']) > 1 and native['monitor']
    np.testing.assert_equal(native, plain)
    assert json.loads((tmp_path / 'plain' / 'config.json').read_text())['args']['native'] is False
