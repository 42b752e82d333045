"""The command line on rllab's and Roboschool's tasks."""
import json

import pytest

from onpolicybaselines import logger, run
from onpolicybaselines.common.errors import UsageError


@pytest.mark.parametrize(('alg', 'env_id', 'options'), [
    ('trpo_mpi', 'rllab/Swimmer-v0', ['--timesteps_per_batch=200']),
    ('trpo_mpi', 'roboschool/Humanoid-v0', ['--timesteps_per_batch=200', '--policy=flow', '--flow_layers=1']),
    ('acktr', 'rllab/Walker2D-v0', ['--nsteps=100']),
    ('acktr_cont', 'roboschool/Hopper-v0', ['--timesteps_per_batch=200']),
])
def test_trains(alg, env_id, options, tmp_path, capsys):
    folder = tmp_path / 'run'
    with logger.scoped_configure(str(tmp_path / 'scoped'), ['log']):
        run.main(['run', f'--alg={alg}', f'--env={env_id}', '--num_timesteps=400', '--seed=0', f'--log_path={folder}',
                  *options])
    config = json.loads((folder / 'config.json').read_text())
    assert config['env_type'] == env_id.split('/')[0]
    assert len((folder / 'progress.csv').read_text().splitlines()) > 1
    assert '400 steps (10' in capsys.readouterr().err


@pytest.mark.parametrize('env_type', ['rllab', 'roboschool'])
@pytest.mark.parametrize('alg', ['acktr', 'trpo_mpi'])
def test_defaults_are_those_for_mujoco(alg, env_type):
    defaults = run.get_learn_function_defaults(alg, env_type)
    assert defaults and defaults == run.get_learn_function_defaults(alg, 'mujoco')


@pytest.mark.parametrize(('env_id', 'hint'), [('rllab/Swimer-v0', 'did you mean rllab/Swimmer-v0?'),
                                              ('rllab/Walker2d-v0', 'did you mean rllab/Walker2D-v0?'),
                                              ('roboschool/Hopper-v1', 'use --env=roboschool/Hopper-v0')])
def test_misspelt_ids_are_met_with_a_hint(env_id, hint):
    args = run.common_arg_parser().parse_args([f'--env={env_id}'])
    with pytest.raises(UsageError, match=hint.replace('?', r'\?')):
        run.get_env_type(args)
