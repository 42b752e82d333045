"""Generated mistakes: whatever is typed, or stands in a file, is right or is one line, and nothing is overwritten."""
import contextlib
import io
import json
import os

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from onpolicybaselines import logger, run
from onpolicybaselines.bench import LoadMonitorResultsError, load_results
from onpolicybaselines.common.checkpoint import Keeper, read_state, write_state
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import write_arrays
from onpolicybaselines.session import options
from onpolicybaselines.session.record import read_config, words_of

CASES = settings(max_examples=40, derandomize=True, deadline=None, database=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = ('nan', 'inf', '-inf', '0', '-1', '1e12', '1e30', '1e400', '0.5', '', 'word', 'None', 'True', '[]', '[1, 2]',
           '[(32, 8, 4)]', '9' * 5000, '\n', '\x00', 'é', '__import__("os")', '(' * 300)
SPEC = {'network': 'mlp', 'value_network': 'copy', 'policy': 'flow', 'normalize_observations': True, 'num_hidden': 32,
        'flow_layers': 2}
MONITOR = '# {"t_start": 10.0, "env_id": "Hopper-v5"}\nr,l,t\n1.5,10,1.0\n2.5,20,2.0\n3.5,30,3.0\n'


class ReachedTraining(Exception):
    """The input is good."""


def names():
    flags = [action.dest for action in run.common_arg_parser()._actions if action.dest not in ('log_path', 'help')]
    keywords = [name for alg in ('a2c', 'acktr', 'acktr_cont', 'trpo_mpi')
                for name in options.learn_keywords(options.declared_learn(alg))]
    return sorted({*flags, *keywords, *options.policy_keywords('flow'), *options.network_keywords('mlp')})


WORDS = st.one_of(
    st.builds('--{}={}'.format, st.sampled_from(names()), st.sampled_from(NUMBERS)),
    st.builds('--{}'.format, st.sampled_from(names())),
    st.builds('--alg={}'.format, st.sampled_from(['a2c', 'acktr', 'acktr_cont', 'trpo_mpi', 'ppo2', ''])),
    st.builds('--env={}'.format, st.sampled_from(['Hopper-v5', 'CartPole-v1', 'GymV21Environment-v0', 'Hopper', ':',
                                                  '.:a', 'nowhere:Env-v0', 'Hopper-v99', ''])),
    st.text(max_size=8).filter(lambda text: not text.startswith('-h')))


def damaged(content):
    """Bytes that were `content`, changed in ways that crashes, editors and other programs have."""
    places = st.integers(0, len(content))
    some = st.binary(max_size=30) | st.sampled_from([b'\n', b',', b'"', b'\0', b'nan', b'null', b'1e999', b'{}', b'[]',
                                                      b'\xff\xfe', b'-1', b'#', b'word'])
    return st.one_of(
        places.map(lambda i: content[:i]), places.map(lambda i: content[i:]), st.binary(max_size=200),
        st.builds(lambda i, new: content[:i] + new + content[i:], places, some),
        st.builds(lambda i, new: content[:i] + new + content[i + len(new):], places, some),
        st.builds(lambda i, j: content[:max(i, j)] + content[min(i, j):], places, places))


def ends_of(words):
    """(status or None where training would begin, what is on stderr)."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            run.main(['run', *words])
        except SystemExit as e:
            return e.code, err.getvalue()
        except ReachedTraining:
            pass
        finally:
            logger.reset()
    return None, err.getvalue()


@pytest.fixture
def no_training(monkeypatch):
    def train(*_):
        raise ReachedTraining
    monkeypatch.setattr(run, 'train', train)


@pytest.fixture
def chdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('OPENAI_LOGDIR', str(tmp_path / 'log'))


@CASES
@given(words=st.lists(WORDS, min_size=1, max_size=4))
def test_whatever_is_typed(words, no_training, chdir, tmp_path):
    run_of_before = {'model.npz': b'a model', 'progress.csv': b'a\n1\n'}
    folder = tmp_path / 'before'
    folder.mkdir(exist_ok=True)
    for name, content in run_of_before.items():
        (folder / name).write_bytes(content)
    words = [word for word in words if word.partition('=')[0] not in ('--overwrite', '--resume')]
    status, err = ends_of([*words, f'--log_path={folder}'])
    assert status == 2 and err.startswith('error: ') and err.count('\n') == 1, (words, status, err)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == run_of_before


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'model.npz'
    write_arrays(path, {'pi/w': np.ones(3)}, {'spec': SPEC, 'version': '1'})
    return path


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=4)


@CASES
@given(data=st.data())
def test_whatever_stands_in_a_model(model, data, no_training, tmp_path):
    path = tmp_path / 'damaged.npz'
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(model.read_bytes())))
    else:
        spec = data.draw(st.one_of(JSON, st.builds(lambda name, value: {**SPEC, name: value}, st.sampled_from([*SPEC]),
                                                   JSON)))
        write_arrays(path, {'pi/w': np.ones(3)}, {'spec': spec})
    args = run.common_arg_parser().parse_args([f'--load_path={path}'])
    learn = options.declared_learn('trpo_mpi')
    try:
        options.check(args, learn, {}, 'mlp', {})
    except UsageError as e:
        assert '\n' not in str(e)


@CASES
@given(data=st.data())
def test_whatever_stands_in_a_checkpoint(data, tmp_path):
    write_state(str(tmp_path / 'good.npz'), {'a': np.arange(5.), 'b': {'c': 3}})
    path = tmp_path / 'damaged.npz'
    content = (tmp_path / 'good.npz').read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    try:
        state = read_state(str(path))
    except ValueError as e:
        assert '\n' not in str(e)
    else:
        np.testing.assert_array_equal(state['a'], np.arange(5.))
        assert state['b'] == {'c': 3}


@CASES
@given(data=st.data())
def test_whatever_stands_in_a_config(data, tmp_path):
    config = {'command': ['python', '-m', 'onpolicybaselines.run', '--env=Hopper-v5'], 'ranks': 1, 'options': {},
              'args': {'seed': 1, 'num_timesteps': 100}, 'versions': {'python': '3.11'}}
    if data.draw(st.booleans()):
        content = data.draw(damaged(json.dumps(config).encode()))
    else:
        content = json.dumps({**config, data.draw(st.sampled_from([*config])): data.draw(JSON)}).encode()
    (tmp_path / 'config.json').write_bytes(content)
    try:
        words = words_of(read_config(str(tmp_path)))
    except UsageError as e:
        assert '\n' not in str(e) and str(tmp_path) in str(e)
    else:
        assert all(isinstance(word, str) for word in words)


@CASES
@given(data=st.data())
def test_whatever_stands_in_a_log(data, tmp_path, capsys):
    content = data.draw(damaged(MONITOR.encode()))
    (tmp_path / '0.monitor.csv').write_bytes(content)
    try:
        episodes = load_results(str(tmp_path))
    except LoadMonitorResultsError as e:
        assert '\n' not in str(e) and str(tmp_path) in str(e)
    else:
        assert {'r', 'l', 't'} <= set(episodes.columns)
        assert np.isfinite(episodes[['r', 'l', 't']].to_numpy('float64')).all() and (episodes.l > 0).all()
    table = MONITOR.partition('\n')[2].encode()
    (tmp_path / 'progress.csv').write_bytes(data.draw(damaged(table)))
    try:
        frame = logger.read_csv(str(tmp_path / 'progress.csv'))
    except ValueError as e:
        assert '\n' not in str(e) and str(tmp_path) in str(e)
    else:
        assert len(set(frame.columns)) == len(frame.columns)


def test_read_only_folders_and_folders_in_the_place_of_files(no_training, chdir, tmp_path):
    (tmp_path / 'run/config.json').mkdir(parents=True)
    (tmp_path / 'file').touch()
    for words in (['--resume', f'--log_path={tmp_path}/run'], [f'--log_path={tmp_path}/file'],
                  ['--log_path=/proc/run'], [f'--log_path={tmp_path}/file/run'],
                  [f'--log_path={tmp_path}/new', f'--save_path={tmp_path}'],
                  [f'--log_path={tmp_path}/new', '--save_path='],
                  [f'--log_path={tmp_path}/new', '--save_path=/proc/model.npz']):
        status, err = ends_of(words)
        assert status == 2 and err.count('\n') == 1, (words, status, err)
    assert os.path.isdir(tmp_path / 'run/config.json')


def test_environments_of_another_kind(no_training, chdir):
    gym.register('OnlyVector-v0', vector_entry_point='gymnasium.envs.classic_control.cartpole:CartPoleVectorEnv')
    try:
        status, err = ends_of(['--env=OnlyVector-v0'])
        assert status == 2 and 'gymnasium.make_vec' in err and err.count('\n') == 1
        assert ends_of(['--env=CartPole-v1'])[0] is None  # the others are found beside it
    finally:
        del gym.registry['OnlyVector-v0']
    status, err = ends_of(['--env=GymV21Environment-v0'])
    assert (status, err) == (2, "error: gymnasium has no environment 'GymV21Environment-v0'\n")


def test_a_full_disk_leaves_the_last_checkpoint_whole(small_disk, tmp_path):
    with small_disk(tmp_path / 'disk', '1m'), logger.scoped_configure(str(tmp_path / 'log'), ['log']):
        keeper = Keeper(str(tmp_path / 'disk/checkpoints'))
        assert keeper.write(1, lambda: {'a': np.arange(5.)})
        (tmp_path / 'disk/other').write_bytes(b'\0' * 900_000)
        assert not keeper.write(2, lambda: {'a': np.zeros(50_000)})
        path, = (tmp_path / 'disk/checkpoints').iterdir()
        np.testing.assert_array_equal(read_state(str(path))['run']['a'], np.arange(5.))
        log = (tmp_path / 'log/log.txt').read_text()
    assert log.count('Checkpoints cannot be written') == 1 and 'No space left on device' in log
