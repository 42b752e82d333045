"""The trained models in results/zoo."""
import json
import math
from pathlib import Path

import gymnasium as gym
import pytest

import onpolicybaselines
from onpolicybaselines import logger, run

ZOO = Path(__file__).parents[1] / 'results/zoo'
MODELS = [pytest.param(path, id=str(path.parent.relative_to(ZOO))) for path in sorted(ZOO.glob('*/*/best_model.npz'))]


def evaluation(path):
    return json.loads(path.with_name('best_model.evaluation.json').read_text())


def test_a_flow_and_a_gaussian_of_every_task():
    assert ({path.relative_to(ZOO) for path in ZOO.glob('*/*')}
            == {Path(task.name, policy) for task in ZOO.iterdir() for policy in ('flow', 'gaussian')})
    assert sum(path.stat().st_size for path in ZOO.rglob('*')) < 1_500_000


@pytest.mark.parametrize('path', MODELS)
def test_a_model_says_what_it_is_and_acts(path):
    config, task = json.loads(path.with_name('config.json').read_text()), path.parents[1].name
    assert (config['args']['env'], config['args']['policy']) == (task, path.parent.name)
    assert evaluation(path)['env'] == task and evaluation(path)['episodes'] == 100
    env = gym.make(task)
    action, _ = onpolicybaselines.load(path).predict(env.reset(seed=0)[0], deterministic=True)
    assert env.action_space.contains(action)


@pytest.mark.slow
@pytest.mark.parametrize('path', MODELS)
def test_an_evaluation_again_gives_the_returns(path, tmp_path):
    """Of other starts: the means of two times 100 episodes are four standard errors apart at most, but for one test in
    16,000."""
    then = evaluation(path)
    with logger.scoped_configure(str(tmp_path / 'scoped'), []):
        run.main(['run', f'--env={then["env"]}', f'--load_path={path}', '--num_timesteps=0', '--eval_episodes=100',
                  '--seed=2', f'--log_path={tmp_path / "run"}'])
    now = json.loads((tmp_path / 'run/evaluation.json').read_text())
    assert abs(now['mean'] - then['mean']) <= 4 * math.sqrt((now['std']**2 + then['std']**2) / 100)
