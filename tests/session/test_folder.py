"""Run folders: nobody loses what is in one."""
import json
import os
import shlex
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from onpolicybaselines import logger, run
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays
from onpolicybaselines.session.folder import locked, remove_run, save_model

BASE = ['--env=CartPole-v1', '--num_hidden=8', '--timesteps_per_batch=64', '--num_timesteps=128']


@pytest.fixture(autouse=True)
def own_logger(tmp_path_factory):
    with logger.scoped_configure(str(tmp_path_factory.mktemp('scoped')), []):
        yield


@pytest.fixture
def refused(capfd):
    """A function that runs the command line, and returns the one line that it is refused with."""
    def main(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as e:
            run.main(['run', *words])
        err = capfd.readouterr().err
        assert e.value.code == 2 and err.startswith('error: ') and err.count('\n') == 1, err
        return err
    return main


def train(folder, *words):
    return run.main(['run', *BASE, '--seed=1', f'--log_path={folder}', *words])


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file() and path.name != '.lock'}


def config_of(folder):
    return json.loads((folder / 'config.json').read_text())


def test_a_folder_that_is_not_empty_is_refused(tmp_path, refused, monkeypatch):
    (tmp_path / 'notes.txt').touch()
    before = content(tmp_path)
    assert '--resume goes on with the run in it, --overwrite removes its files' in refused(
        *BASE, f'--log_path={tmp_path}')
    monkeypatch.setenv('OPENAI_LOGDIR', str(tmp_path))
    assert 'is not empty' in refused(*BASE)
    assert content(tmp_path) == before


def test_overwrite_removes_the_earlier_run_and_nothing_else(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    train(tmp_path, '--overwrite')
    for name in ('1.monitor.csv', '0.2.monitor.csv', 'progress.json', 'log-rank001.txt'):
        (tmp_path / name).write_text('of an earlier run of more ranks')
    old = (tmp_path / '0.monitor.csv').read_bytes()
    train(tmp_path, '--overwrite', '--num_timesteps=64')
    assert {p.name for p in tmp_path.iterdir()} == {
        'notes.txt', 'config.json', 'progress.csv', 'log.txt', '0.monitor.csv', 'model.npz', 'checkpoints'}
    assert (tmp_path / 'notes.txt').read_text() == 'mine'
    assert (tmp_path / '0.monitor.csv').read_bytes() != old
    assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['00000001.0.npz']


def test_a_model_that_is_to_be_loaded_is_not_removed(tmp_path, refused):
    train(tmp_path)
    before = content(tmp_path)
    assert 'would be removed' in refused(*BASE, f'--log_path={tmp_path}', '--overwrite',
                                         f'--load_path={tmp_path}/model.npz')
    assert content(tmp_path) == before
    with pytest.raises(UsageError):
        remove_run(str(tmp_path), str(tmp_path / 'checkpoints/00000002.0.npz'))


def test_the_model_is_kept_in_the_folder_and_the_log_says_where(tmp_path):
    model = train(tmp_path)
    arrays, meta = read_arrays(tmp_path / 'model.npz')
    np.testing.assert_array_equal(arrays['pi/w'], model.arrays()['pi/w'])
    assert meta['spec']['network'] == 'mlp'
    assert f'Saved the model to {tmp_path}/model.npz' in (tmp_path / 'log.txt').read_text()


HOLD = """
import sys
from onpolicybaselines.session.folder import locked
with locked(sys.argv[1]):
    print('mine', flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize('way', ['end', 'kill'])
def test_two_runs_in_one_folder_are_noticed_and_a_dead_one_is_none(way, tmp_path, refused):
    with subprocess.Popen([sys.executable, '-c', HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        assert holder.stdout.readline() == 'mine\n'
        for words in ([], ['--overwrite'], ['--resume']):
            line = refused(*BASE, '--seed=1', f'--log_path={tmp_path}', *words)
            assert f'{tmp_path} is in use by another run, process {holder.pid} on ' in line or words == ['--resume']
        holder.kill() if way == 'kill' else holder.communicate()
        holder.wait()
    train(tmp_path)
    with locked(str(tmp_path)):
        assert 'is in use' in refused('--resume', f'--log_path={tmp_path}')


@pytest.mark.parametrize('path, reason', [
    ('', 'it names no file'), ('{}', 'it is no file'), ('/dev/null', 'it is no file'), ('{}/fifo', 'it is no file'),
    ('{}/file/model.npz', ''), ('/proc/model.npz', ''), ('{}/x/', 'it names no file')])
def test_an_unusable_save_path_is_refused_before_training(path, reason, tmp_path, refused):
    (tmp_path / 'file').touch()
    os.mkfifo(tmp_path / 'fifo')
    line = refused(*BASE, f'--log_path={tmp_path}/run', f'--save_path={path.format(tmp_path)}')
    assert 'cannot write to' in line and reason in line and not (tmp_path / 'run').exists()


def test_what_a_link_leads_to_is_written(tmp_path):
    (tmp_path / 'link.npz').symlink_to(tmp_path / 'there.npz')
    model = train(tmp_path / 'run', f'--save_path={tmp_path}/link.npz')
    assert (tmp_path / 'link.npz').is_symlink() and not (tmp_path / 'there.npz').is_symlink()
    arrays, _ = read_arrays(tmp_path / 'there.npz')
    np.testing.assert_array_equal(arrays['pi/w'], model.arrays()['pi/w'])
    with pytest.raises(FileExistsError, match='is no file, and is not replaced'):
        model.save('/dev/null')


def test_the_record_is_enough_to_repeat_a_run(tmp_path, capfd):
    """With the seed that was drawn, where none was given."""
    drawn = run.main(['run', *BASE, f'--log_path={tmp_path}/drawn'])
    config = config_of(tmp_path / 'drawn')
    words = shlex.split(config['launch'])
    assert words[:3] == ['python', '-m', 'onpolicybaselines.run'] and config['ranks'] == 1
    assert words[-1] == f'--seed={config["args"]["seed"]}' and config['args']['seed'] >= 0
    again = run.main(['run', *words[3:], f'--log_path={tmp_path}/again'])
    for name, array in drawn.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])
    other = run.main(['run', *BASE, f'--log_path={tmp_path}/other'])
    assert config_of(tmp_path / 'other')['args']['seed'] != config['args']['seed']
    assert any((array != other.arrays()[name]).any() for name, array in drawn.arrays().items())


# ---------------------------------------------------------------- going on

def test_resume_needs_the_folder_alone_and_steps_may_be_raised(tmp_path):
    whole = train(tmp_path / 'whole', '--num_timesteps=320')
    train(tmp_path / 'run', '--num_timesteps=192')
    run.main(['run', '--resume', f'--log_path={tmp_path}/run'])
    model = run.main(['run', '--resume', f'--log_path={tmp_path}/run', '--num_timesteps=320', '--env=CartPole-v1',
                      '--gamma=0.99'])
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, model.arrays()[name])
    config = config_of(tmp_path / 'run')
    assert config['args']['num_timesteps'] == 320 and len(config['resumed']) == 2
    os.rename(tmp_path / 'run', tmp_path / 'moved')
    run.main(['run', '--resume', f'--log_path={tmp_path}/moved'])
    assert config_of(tmp_path / 'moved')['args']['num_timesteps'] == 320
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('words, fault', [
    (['--num_timesteps=64'], 'may only be raised'), (['--gamma=0.9'], 'has gamma=0.99'),
    (['--env=Pendulum-v1'], 'has env=CartPole-v1'), (['--num_env=2'], 'has num_env=1'), (['--seed=2'], 'has seed=1'),
    (['--alg=a2c', '--nsteps=3'], ''), (['--overwrite'], 'only one of --resume and --overwrite'),
    (['--network=cnn'], '')], ids=str)
def test_another_run_is_refused(words, fault, tmp_path, refused):
    train(tmp_path)
    before = content(tmp_path)
    assert fault in refused('--resume', f'--log_path={tmp_path}', *words)
    assert content(tmp_path) == before


def test_nothing_to_go_on_with(tmp_path, refused, monkeypatch):
    monkeypatch.delenv('OPENAI_LOGDIR', raising=False)
    assert '--resume needs to know the folder' in refused('--resume')
    assert 'no run to resume' in refused('--resume', f'--log_path={tmp_path}/typo')
    assert not (tmp_path / 'typo').exists()
    (tmp_path / 'config.json').write_text('{"args": 1}')
    assert 'config.json cannot be read' in refused('--resume', f'--log_path={tmp_path}')
    (tmp_path / 'config.json').unlink()
    (tmp_path / 'config.json').mkdir()
    assert 'config.json cannot be read' in refused('--resume', f'--log_path={tmp_path}')


def test_the_whole_command_with_resume_begins_a_run_or_goes_on(tmp_path):
    """As for the queue of a cluster, which starts the same command again and again."""
    train(tmp_path, '--resume')
    rows = (tmp_path / 'progress.csv').read_text()
    train(tmp_path, '--resume')
    assert (tmp_path / 'progress.csv').read_text() == rows


def test_a_run_that_ended_before_its_first_checkpoint_begins_again(tmp_path):
    train(tmp_path)
    for path in (tmp_path / 'checkpoints').iterdir():
        path.unlink()
    run.main(['run', '--resume', f'--log_path={tmp_path}'])
    assert len((tmp_path / 'progress.csv').read_text().splitlines()) == 3
    assert (tmp_path / 'checkpoints/00000002.0.npz').exists()


def test_another_number_of_ranks_is_refused(tmp_path, mpirun):
    train(tmp_path)
    code = "import sys; from onpolicybaselines import run; run.main(['run', *sys.argv[1:]])"
    process = mpirun(2, code, '--resume', f'--log_path={tmp_path}')
    assert process.returncode == 2
    assert process.stderr.count('is of 1 MPI ranks, and goes on with as many, not 2') == 1


def test_a_model_that_cannot_be_saved_is_kept_elsewhere(tmp_path, monkeypatch):
    model, path = train(tmp_path / 'run'), str(tmp_path / ('x' * 300))
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    with pytest.raises(UsageError, match=r'cannot save the model to .*x \(File name too long\): it is in (.*)') as e:
        save_model(model, path)
    arrays, _ = read_arrays(str(e.value).split(' it is in ')[1])
    assert all(np.array_equal(arrays[name], value) for name, value in model.arrays().items())
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'nowhere'))
    for folder, end in [('run', f'--resume with --log_path={tmp_path}/run goes on from the last checkpoint'),
                        ('none', 'it is lost, and there is no checkpoint')]:
        with logger.scoped_configure(str(tmp_path / folder), []), pytest.raises(UsageError, match=f'{end}$'):
            save_model(model, path)


def test_resume_without_a_checkpoint_says_that_it_begins_anew(tmp_path, capfd):
    train(tmp_path)
    for path in (tmp_path / 'checkpoints').iterdir():
        path.unlink()
    capfd.readouterr()
    run.main(['run', '--resume', f'--log_path={tmp_path}'])
    assert capfd.readouterr().out.startswith(f'No checkpoint in {tmp_path} to go on from: the run begins anew\n')
