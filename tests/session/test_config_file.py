"""Options from a file."""
import json

import numpy as np
import pytest
import yaml

from onpolicybaselines import run
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays
from onpolicybaselines.session.config_file import with_config, words_of_file

CONTENT = {'env': 'CartPole-v1', 'alg': 'a2c', 'seed': None, 'play': True, 'deterministic': False, 'lr': 1e-3,
           'max_grad_norm': None, 'convs': [[32, 8, 4], [64, 3, 1]]}
WORDS = ['--env=CartPole-v1', '--alg=a2c', '--play', '--lr=0.001', '--max_grad_norm=None',
         '--convs=((32, 8, 4), (64, 3, 1))']


@pytest.mark.parametrize('name, text', [('file.json', json.dumps(CONTENT)), ('f.yaml', json.dumps(CONTENT)),
                                        ('file.yml', yaml.safe_dump(CONTENT, sort_keys=False))])
def test_names_and_values_become_words(name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    assert words_of_file(str(path)) == WORDS
    assert with_config(['--lr=1', f'--config={path}', '--x']) == [*WORDS, '--lr=1', '--x']
    assert with_config(['--lr', '1', '--config', str(path)]) == [*WORDS, '--lr', '1']


def test_numbers_as_they_are_written(tmp_path):
    """For YAML 1.1, `1e6` is a text."""
    path = tmp_path / 'file.yml'
    path.write_text('num_timesteps: 1e6\nlr: 3e-4\n# a comment\nlayer_norm: yes\n')
    assert words_of_file(str(path)) == ['--num_timesteps=1e6', '--lr=3e-4', '--layer_norm=True']


@pytest.mark.parametrize('name, text, fault', [
    ('c.json', '{', 'cannot be read'), ('c.yaml', 'a: [', 'cannot be read'), ('c.yaml', 'a: b: c', 'cannot be read'),
    ('c.yaml', '- a', 'expected options'), ('c.json', '[1]', 'expected options'), ('c.yaml', '', 'expected options'),
    ('c.yaml', '1: 2', 'expected options'), ('c.yaml', 'net: {a: 1}', 'net is no option with a value'),
    ('c.yaml', 'config: other', 'config is no option'), ('c.yaml', 'play: 3', 'play must be true or false'),
    ('c.json', '{"command": 3, "args": {}}', 'a damaged record of a run'),
    ('c.yaml', b'\xff\xfe\x00', 'cannot be read'), ('c.json', '[' * 100_000, 'cannot be read')])
def test_bad_files_are_one_line(name, text, fault, tmp_path):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=fault) as e:
        with_config([f'--config={path}'])
    assert '\n' not in str(e.value) and str(path) in str(e.value)


@pytest.mark.parametrize('words', [['--config=/no/such/file.yaml'], ['--config'], ['--config=.']])
def test_no_file(words):
    with pytest.raises(UsageError):
        with_config(words)


def test_a_run_is_repeated_by_its_own_record(tmp_path, capsys):
    path = tmp_path / 'file.yaml'
    path.write_text('env: Pendulum-v1\nnum_timesteps: 64\ntimesteps_per_batch: 32\nnum_layers: 1\nmax_kl: 0.5\n')
    run.main(['run', f'--config={path}', f'--log_path={tmp_path}/1', '--max_kl=0.02'])
    config = json.loads((tmp_path / '1/config.json').read_text())
    assert config['options'] == {'timesteps_per_batch': 32, 'num_layers': 1, 'max_kl': 0.02}
    assert '--config' not in config['launch'] and '--num_layers=1' in config['command']
    run.main(['run', f'--config={tmp_path}/1/config.json', f'--log_path={tmp_path}/2'])
    (one, _), (other, _) = (read_arrays(str(tmp_path / n / 'model.npz')) for n in '12')
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    assert 'Logging to' in capsys.readouterr().out and not (tmp_path / '1/2').exists()
