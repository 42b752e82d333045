"""Evaluation on the command line."""
import json

import pytest

from onpolicybaselines import logger, run
from onpolicybaselines.common.files import read_arrays
from onpolicybaselines.common.seeds import environment_seed, evaluation_seed

BASE = ['--env=Pendulum-v1', '--env_type=mujoco', '--seed=1', '--timesteps_per_batch=200', '--num_hidden=8']


@pytest.fixture(autouse=True)
def own_logger(tmp_path_factory, monkeypatch):
    monkeypatch.delenv('OPENAI_LOGDIR', raising=False)
    with logger.scoped_configure(str(tmp_path_factory.mktemp('scoped')), ['log']):
        yield


def main(*words):
    return run.main(['run', *words])


def test_a_run_is_evaluated_and_the_best_model_kept(tmp_path):
    main(*BASE, '--num_timesteps=600', f'--log_path={tmp_path / "plain"}')
    folder = tmp_path / 'evaluated'
    main(*BASE, '--num_timesteps=400', f'--log_path={folder}', '--eval_interval=200', '--eval_episodes=3',
         '--save_best')
    main('--resume', f'--log_path={folder}', '--num_timesteps=600')
    log = (folder / 'log.txt').read_text()
    result = json.loads((folder / 'evaluation.json').read_text())
    assert result['episodes'] == len(result['returns']) == 3 and result['lengths'] == [200] * 3
    low, high = result['interval']
    assert low < result['mean'] < high < 0 and result['mean'] == pytest.approx(sum(result['returns']) / 3)
    assert 'Evaluation: mean return -' in log and '(95 % interval of the mean -' in log
    header, *rows = (folder / 'progress.csv').read_text().splitlines()
    at = header.split(',').index('eval/timesteps')
    assert [row.split(',')[at] for row in rows if row.split(',')[at]] == ['200', '400', '600']
    plain, _ = read_arrays(tmp_path / 'plain' / 'model.npz')
    arrays, _ = read_arrays(folder / 'model.npz')
    assert all((array == plain[name]).all() for name, array in arrays.items())  # and training was left as it is
    assert (folder / '0.monitor.csv').read_text().count(',200,') == 3
    read_arrays(folder / 'best_model.npz')

    model = tmp_path / 'model.npz'
    model.write_bytes((folder / 'model.npz').read_bytes())
    words = [*BASE, f'--load_path={model}', '--num_timesteps=0', '--eval_episodes=5', '--deterministic']
    main(*words)
    beside = json.loads((tmp_path / 'model.evaluation.json').read_text())
    assert beside['episodes'] == 5 and beside['deterministic'] and beside['model'] == str(model)
    main(*words, f'--log_path={tmp_path / "again"}')
    assert json.loads((tmp_path / 'again' / 'evaluation.json').read_text()) == beside


def test_ppo2_is_evaluated_by_raw_returns_of_normalised_observations(tmp_path):
    model = main('--alg=ppo2', '--env=Pendulum-v1', '--env_type=mujoco', '--seed=1', '--nsteps=200', '--nminibatches=2',
                 '--num_hidden=8', '--num_timesteps=200', f'--log_path={tmp_path}', '--eval_episodes=2')
    assert model.pi.normalizer is not None
    assert max(json.loads((tmp_path / 'evaluation.json').read_text())['returns']) < -500


def test_what_goes_together(tmp_path, capfd):
    with pytest.raises(SystemExit):
        main(*BASE, '--save_best', f'--log_path={tmp_path / "log"}')
    assert 'give --eval_interval, too' in capfd.readouterr().err


def test_environments_of_an_evaluation_have_seeds_of_their_own():
    seeds = {environment_seed(seed, rank, i) for seed in range(20) for rank in range(3) for i in range(3)}
    assert not seeds & {evaluation_seed(seed) for seed in range(20)} and evaluation_seed(None) is None
