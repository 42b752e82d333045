"""Runs that end somewhere and go on are, to the bit, runs that never stopped."""
import csv
import os
import signal
import sys
import threading
from importlib import import_module

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines import logger
from onpolicybaselines.common import checkpoint
from onpolicybaselines.common.checkpoint import checkpointing, read_state, write_state
from onpolicybaselines.common.cmd_util import make_vec_env
from onpolicybaselines.common.errors import Interrupted, UsageError
from onpolicybaselines.common.vec_env import VecNormalize

TIMES = ('TimeElapsed', 'fps', 'misc/time_elapsed')
LEARN = {'trpo_mpi': 'trpo_mpi.trpo_mpi', 'a2c': 'a2c.a2c', 'acktr': 'acktr.acktr', 'acktr_cont': 'acktr.acktr_cont',
         'ppo2': 'ppo2.ppo2'}
TRPO = {'alg': 'trpo_mpi', 'network': 'mlp', 'num_hidden': 8, 'timesteps_per_batch': 96, 'max_iters': 5,
        'total_timesteps': 0, 'normalize_observations': True, 'ep_window': 5}
A2C = {'alg': 'a2c', 'network': 'mlp', 'num_hidden': 8, 'nsteps': 8, 'log_interval': 1}
PPO2 = {**A2C, 'alg': 'ppo2', 'nsteps': 96, 'total_timesteps': 480, 'noptepochs': 2, 'vec_normalize': True}
CONT = {'alg': 'acktr_cont', 'timesteps_per_batch': 60, 'total_timesteps': 450, 'vf_iters': 2}
FLOW = {'policy': 'flow', 'flow_layers': 1, 'flow_units': 4, 'flow_state_units': 8, 'num_hidden': None}

GAMES = {'network': 'cnn_small', 'num_hidden': None, 'type': 'atari', 'env': 'BreakoutNoFrameskip-v4'}

CASES = {
    'trpo': TRPO,
    'trpo 3 native': {**TRPO, 'num_env': 3},
    'trpo gymnasium': {**TRPO, 'native': False},
    'trpo 3 processes': {**TRPO, 'num_env': 3, 'native': False},
    'trpo gmm': {**TRPO, 'policy': 'gmm', 'ent_coef': 0.01},
    'trpo 3 gmm': {**TRPO, 'policy': 'gmm', 'num_env': 3},
    'trpo flow': {**TRPO, **FLOW},
    'trpo 3 flow': {**TRPO, **FLOW, 'num_env': 3},
    'trpo 1 game': {**TRPO, **GAMES, 'normalize_observations': False, 'timesteps_per_batch': 128},
    'trpo xla': {**TRPO, 'xla': True},
    'trpo rllab': {**TRPO, 'env': 'rllab/Hopper-v0'},
    'trpo roboschool': {**TRPO, 'env': 'roboschool/Hopper-v0'},
    'trpo classic': {**TRPO, 'env': 'CartPole-v1', 'native': False},
    'a2c': {**A2C, 'total_timesteps': 40, 'normalize_observations': True},
    'a2c 3 lstm': {**A2C, 'network': 'lstm', 'nlstm': 8, 'num_hidden': None, 'num_env': 3, 'total_timesteps': 120,
                   'env': 'CartPole-v1'},
    'a2c 2 games': {**A2C, **GAMES, 'nsteps': 64, 'num_env': 2, 'total_timesteps': 768},
    'a2c 3': {**A2C, 'num_env': 3, 'total_timesteps': 120},
    'a2c gmm': {**A2C, 'policy': 'gmm', 'total_timesteps': 40},
    'a2c 3 gmm': {**A2C, 'policy': 'gmm', 'num_env': 3, 'total_timesteps': 120},
    'a2c flow': {**A2C, **FLOW, 'value_network': 'copy', 'total_timesteps': 40},
    'a2c 3 flow': {**A2C, **FLOW, 'value_network': 'copy', 'num_env': 3, 'total_timesteps': 120},
    'acktr': {**A2C, 'alg': 'acktr', 'total_timesteps': 120},
    'acktr 3': {**A2C, 'alg': 'acktr', 'env': 'CartPole-v1', 'num_env': 3, 'total_timesteps': 360},
    'acktr 2 games': {**A2C, **GAMES, 'alg': 'acktr', 'nsteps': 32, 'num_env': 2, 'total_timesteps': 960},
    'acktr gmm': {**A2C, 'alg': 'acktr', 'policy': 'gmm', 'total_timesteps': 120},
    'acktr 3 gmm': {**A2C, 'alg': 'acktr', 'policy': 'gmm', 'num_env': 3, 'total_timesteps': 360},
    'acktr flow': {**A2C, **FLOW, 'alg': 'acktr', 'value_network': 'copy', 'total_timesteps': 120},
    'acktr 3 flow': {**A2C, **FLOW, 'alg': 'acktr', 'value_network': 'copy', 'num_env': 3, 'total_timesteps': 360},
    'ppo2': PPO2,
    'ppo2 3 native': {**PPO2, 'num_env': 3, 'nsteps': 32, 'normalize_observations': True},
    'ppo2 3 lstm': {**PPO2, 'network': 'lstm', 'nlstm': 8, 'num_hidden': None, 'num_env': 3, 'nsteps': 32,
                    'nminibatches': 3, 'env': 'CartPole-v1', 'lrschedule': 'linear'},
    'ppo2 gmm': {**PPO2, 'policy': 'gmm', 'value_network': 'copy', 'ent_coef': 0.01},
    'ppo2 flow': {**PPO2, **FLOW, 'value_network': 'copy'},
    'acktr_cont': {**CONT},
    'acktr_cont gmm': {**CONT, 'policy': 'gmm'},
    'acktr_cont flow': {**CONT, 'policy': 'flow', 'flow_layers': 1, 'flow_units': 4, 'flow_state_units': 8},
}


class Stop(Exception):
    """Ends a run from its callback."""


def train(folder, case, stop=None, resume=False, interval=2, call=lambda n: None):
    """Run `learn` in a folder, with checkpoints; stop: after how many calls of the callback it fails."""
    case = {'env': 'Hopper-v5', 'type': None, 'num_env': 1, 'native': True, 'dummy': False, 'vec_normalize': False,
            **case}
    alg, env_id, kind, num_env, native, dummy, normalized = (case.pop(name) for name in (
        'alg', 'env', 'type', 'num_env', 'native', 'dummy', 'vec_normalize'))
    kwargs = {name: value for name, value in case.items() if value is not None}
    learn = import_module(f'onpolicybaselines.{LEARN[alg]}').learn
    calls = 0

    def callback(*_):
        nonlocal calls
        calls += 1
        call(calls)
        if calls == stop:
            raise Stop

    with checkpointing(str(folder / 'checkpoints'), interval, resume), \
            logger.scoped_configure(str(folder), ['csv', 'log']):
        env = make_vec_env(env_id, kind, num_env, 1, native=native, force_dummy=dummy)
        env = VecNormalize(env) if normalized else env
        try:
            model = learn(env=env, seed=1, callback=callback, **kwargs)
        finally:
            env.close()
    return model


def result(folder, model):
    """What has to be the same: parameters, tables and episodes, times aside."""
    with open(folder / 'progress.csv', newline='') as fh:
        table = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(fh)]
    episodes = {path.name: [row[:2] for row in csv.reader(path.read_text().splitlines()[1:])]
                for path in sorted(folder.glob('*.monitor.csv'))}
    arrays = getattr(model, 'pi', model).arrays()
    return table, episodes, {name: value.tobytes() for name, value in arrays.items()}


def stopped(folder, case, stop, **kwargs):
    with pytest.raises(Stop):
        train(folder, case, stop, **kwargs)


# the rest has the same kinds of state
QUICK = ('trpo', 'trpo flow', 'trpo rllab', 'a2c 3 lstm', 'acktr 3', 'acktr_cont', 'ppo2 3 native')


@pytest.mark.parametrize('case', [
    pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES])
def test_a_run_that_goes_on_is_the_run_that_never_stopped(case, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    expected = result(whole, train(whole, CASES[case]))
    stopped(parts, CASES[case], 5)  # after update 4; in 2, at the latest, there is a checkpoint
    stopped(parts, CASES[case], 2, resume=True)
    assert result(parts, train(parts, CASES[case], resume=True)) == expected
    assert expected[0] and all(len(rows) > 1 for rows in expected[1].values())


ON_TWO_RANKS = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import test_checkpoint as t
from onpolicybaselines.common.mpi_world import rank, size

def main():
    for case in sys.argv[3:]:
        options, folder = dict(t.CASES[case]), pathlib.Path(sys.argv[2]) / case
        options['total_timesteps'] *= size()
        expected = t.result(folder / 'whole', t.train(folder / 'whole', options))
        for stop, resume in ((5, False), (2, True)):
            try:
                t.train(folder / 'parts', options, stop, resume)
            except t.Stop:
                pass
        assert t.result(folder / 'parts', t.train(folder / 'parts', options, resume=True)) == expected, case
        print(f'the same on rank {rank()}: {case}', flush=True)

if __name__ == '__main__':  # not in the processes of environments
    main()
"""


@pytest.mark.parametrize('cases', [
    pytest.param(cases, marks=pytest.mark.slow if len(cases) > 1 else (), id=', '.join(cases)) for cases in (
        ['trpo 3 native'], ['trpo', 'trpo gmm', 'trpo flow'], ['trpo gymnasium', 'a2c', 'a2c 3 lstm', 'a2c flow'],
        ['ppo2', 'ppo2 3 native', 'ppo2 3 lstm', 'ppo2 gmm'], ['acktr', 'acktr 3', 'acktr gmm'],
        ['acktr_cont', 'acktr_cont gmm', 'acktr_cont flow'],
        ['trpo 3 gmm', 'trpo 3 flow', 'trpo 3 processes'], ['a2c 3', 'a2c gmm', 'a2c 3 gmm', 'a2c 3 flow'],
        ['acktr 3 gmm', 'acktr flow', 'acktr 3 flow'])])
def test_two_ranks_go_on_as_if_they_had_never_stopped(cases, mpirun, tmp_path):
    process = mpirun(2, ON_TWO_RANKS, os.path.dirname(__file__), tmp_path, *cases, timeout=600)
    assert process.returncode == 0, process.stderr[-3000:]
    for case in cases:
        assert {f'the same on rank {rank}: {case}' in process.stdout for rank in range(2)} == {True}


# ---------------------------------------------------------------- the same seed

DIGESTS = """
import hashlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
import test_checkpoint as t
from onpolicybaselines.common.mpi_world import rank, size

def main():
    for case in sys.argv[3:]:
        options, folder = dict(t.CASES[case]), pathlib.Path(sys.argv[2]) / case
        options['total_timesteps'] *= size()
        table, episodes, arrays = t.result(folder, t.train(folder, options))
        parts = [table, {k: v for k, v in episodes.items() if k.startswith(f'{rank()}.')}, arrays]
        (folder / f'{rank()}.digest').write_text(hashlib.sha256(repr(parts).encode()).hexdigest())

if __name__ == '__main__':  # not in the processes of environments
    main()
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('ranks', [1, 2])
@pytest.mark.parametrize('alg', [*LEARN, 'games'])
def test_the_same_seed_gives_the_same_bits(alg, ranks, mpirun, tmp_path):
    """In other processes, where even the order of sets is another."""
    cases = [case for case in CASES if ('games' if 'game' in case else CASES[case]['alg']) == alg]
    for name in ('one', 'other'):
        process = mpirun(ranks, DIGESTS, os.path.dirname(__file__), tmp_path / name, *cases, timeout=1800)
        assert process.returncode == 0, process.stderr[-3000:]
    one, other = ({(path.parent.name, path.name): path.read_text() for path in (tmp_path / name).glob('*/*.digest')}
                  for name in ('one', 'other'))
    assert one == other and len(one) == ranks * len(cases)


# ---------------------------------------------------------------- the files

SHORT = {**TRPO, 'env': 'CartPole-v1'}


def names(folder):
    return sorted(path.name for path in (folder / 'checkpoints').iterdir())


def test_the_last_two_are_kept_and_the_last_update_is_one(tmp_path):
    train(tmp_path, SHORT)
    assert names(tmp_path) == ['00000004.0.npz', '00000005.0.npz']


def test_what_was_altered_or_cut_is_noticed_and_the_one_before_taken(tmp_path):
    stopped(tmp_path, SHORT, 5, interval=1)
    expected = result(tmp_path / 'whole', train(tmp_path / 'whole', SHORT))
    last = tmp_path / 'checkpoints/00000004.0.npz'
    data = last.read_bytes()
    np_random = np.random.default_rng(0)
    for at in np_random.integers(0, len(data), 40):
        last.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        try:
            assert same_state(read_state(last), data, tmp_path)  # a byte that means nothing
        except ValueError:
            pass
    last.write_bytes(data[:len(data) // 2])
    assert result(tmp_path, train(tmp_path, SHORT, resume=True)) == expected
    assert 'The checkpoint after update 4 is not used: the file of rank 0 is damaged' in (
        tmp_path / 'log.txt').read_text()


def same_state(state, data, tmp_path):
    (tmp_path / 'as_it_was.npz').write_bytes(data)
    return repr(state) == repr(read_state(tmp_path / 'as_it_was.npz'))


def test_without_any_that_can_be_read_it_says_so(tmp_path):
    with pytest.raises(UsageError, match='^no checkpoint in .*/checkpoints to go on from$'):
        train(tmp_path, SHORT, resume=True)
    stopped(tmp_path, SHORT, 2, interval=1)
    (tmp_path / 'checkpoints/00000001.0.npz').write_bytes(b'cposix\nsystem\n')
    with pytest.raises(UsageError, match='^no checkpoint .* update 1 is not used: the file of rank 0 is damaged'):
        train(tmp_path, SHORT, resume=True)


def test_a_changed_state_is_found_by_its_checksum(tmp_path):
    path = tmp_path / 'a.npz'
    write_state(path, {'x': np.arange(3), 'y': [1.5, None]})
    state = read_state(path)
    np.testing.assert_array_equal(state.pop('x'), np.arange(3))
    assert state == {'y': [1.5, None]}
    from onpolicybaselines.common.files import read_arrays, write_arrays
    arrays, meta = read_arrays(path)
    write_arrays(path, {'x': arrays['x'] + 1}, meta)
    with pytest.raises(ValueError, match='checksum'):
        read_state(path)


def test_a_disk_that_is_full_is_a_line_and_training_goes_on(tmp_path):
    """Files may grow to 16 kB only, which logs do not reach."""
    code = """
        import pathlib, resource, signal, sys
        sys.path.insert(0, sys.argv[1])
        import test_checkpoint as t
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
        t.train(pathlib.Path(sys.argv[2]), t.SHORT)
        """
    import subprocess
    import textwrap
    process = subprocess.run([sys.executable, '-c', textwrap.dedent(code), os.path.dirname(__file__), tmp_path],
                             text=True, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / 'log.txt').read_text().count('Checkpoints cannot be written to') == 1
    assert len((tmp_path / 'progress.csv').read_text().splitlines()) == 6 and names(tmp_path) == []


@pytest.mark.parametrize('name, lines', [('0.monitor.csv', 2), ('progress.csv', 2), ('progress.csv', 0)])
def test_logs_that_lost_lines_are_named(name, lines, tmp_path):
    stopped(tmp_path, SHORT, 3, interval=1)
    kept = (tmp_path / name).read_text().splitlines(keepends=True)[:lines]
    (tmp_path / name).write_text(''.join(kept))
    with pytest.raises(UsageError, match=f'{name} has .*, and had .* at the checkpoint'):
        train(tmp_path, SHORT, resume=True)


# ---------------------------------------------------------------- another run

@pytest.mark.parametrize('change, fault', [
    ({'num_env': 2}, 'it has 1 environments, this one 2'),
    ({'num_hidden': 9}, 'of another run'),
    ({'env': 'Pendulum-v1'}, 'of another run'),
    ({**A2C, 'env': 'CartPole-v1', 'total_timesteps': 80, 'timesteps_per_batch': None, 'max_iters': None,
      'normalize_observations': None, 'ep_window': None}, 'of another algorithm')], ids=str)
def test_checkpoints_of_another_run_are_refused(change, fault, tmp_path):
    stopped(tmp_path, SHORT, 3, interval=1)
    with pytest.raises(UsageError, match='^[^\n]*$') as e:
        train(tmp_path, {**SHORT, **change}, resume=True)
    assert fault in str(e.value)


def test_a_folder_is_of_one_run(tmp_path):
    from onpolicybaselines.trpo_mpi.trpo_mpi import learn
    with checkpointing(str(tmp_path)), logger.scoped_configure(str(tmp_path), []):
        kwargs = {'network': 'mlp', 'total_timesteps': 32, 'timesteps_per_batch': 32}
        learn(env=gym.make('CartPole-v1'), **kwargs)
        with pytest.raises(UsageError, match='needs a folder of its own'):
            learn(env=gym.make('CartPole-v1'), **kwargs)


def test_what_the_length_of_a_run_decides_stays(tmp_path):
    """XLA compiles what pays in a run of so many updates, and changes last bits."""
    with checkpointing(str(tmp_path)):
        assert checkpoint.settled('xla', ['fit']) == ['fit'] == checkpoint.settled('xla', [])
    assert checkpoint.settled('xla', []) == []
    options = {**SHORT, 'xla': None, 'max_iters': 0, 'total_timesteps': 96 * 4}
    stopped(tmp_path, options, 4, interval=1)
    train(tmp_path, {**options, 'total_timesteps': 96 * 4}, resume=True)
    whole = tmp_path / 'whole'
    with pytest.raises(Stop):
        train(whole, {**options, 'total_timesteps': 96 * 210}, 5)
    assert "xla=fit" in (whole / 'log.txt').read_text()
    stopped(whole, {**options, 'total_timesteps': 96 * 310}, 3, resume=True)
    assert 'xla=fit\n' in (whole / 'log.txt').read_text() and 'fvp' not in (whole / 'log.txt').read_text()


# ---------------------------------------------------------------- environments and networks of one's own

class Walk(gym.Env):
    """A random walk of 20 steps, in plain Python."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.path = [0.]
        return np.float32([0, 0]), {}

    def step(self, action):
        self.path.append(self.path[-1] + self.np_random.normal(action))
        return np.float32(self.path[-2:]), self.path[-1], len(self.path) > 20, False, {}


def wrapped():
    """In wrappers of gymnasium's that remember or draw."""
    env = gym.wrappers.TimeLimit(gym.wrappers.StickyAction(Walk(), 0.25), 15)
    env = gym.wrappers.NormalizeObservation(env)
    env = gym.wrappers.FrameStackObservation(gym.wrappers.NormalizeReward(env), 3)
    return gym.wrappers.TimeAwareObservation(gym.wrappers.FlattenObservation(env), flatten=True)


@pytest.mark.parametrize('num_env', [1, 2])
def test_python_in_wrappers_goes_on(num_env, tmp_path):
    gym.register('Wrapped-v0', wrapped)
    try:
        case = {**SHORT, 'env': 'Wrapped-v0', 'num_env': num_env, 'dummy': True}  # processes do not know of it
        expected = result(tmp_path / 'whole', train(tmp_path / 'whole', case))
        stopped(tmp_path / 'parts', case, 5)
        assert result(tmp_path / 'parts', train(tmp_path / 'parts', case, resume=True)) == expected
    finally:
        del gym.registry['Wrapped-v0']


def test_dropout_does_not_go_on_exactly(tmp_path):
    import tensorflow as tf

    from onpolicybaselines.a2c.utils import fc

    def network(x):
        return tf.nn.dropout(fc(tf.cast(x, 'float32'), 'fc', nh=8), 0.5)

    case = {**SHORT, 'network': network, 'num_hidden': None}
    whole, again = (result(tmp_path / name, train(tmp_path / name, case)) for name in ('whole', 'again'))
    assert whole == again
    stopped(tmp_path / 'parts', case, 5)
    assert result(tmp_path / 'parts', train(tmp_path / 'parts', case, resume=True)) != whole


# ---------------------------------------------------------------- environments that hide their state

class Hiding(gym.Env):
    """A random walk whose position is in a generator's frame."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.walk = self._walk()
        return np.float32([0]), {}

    def _walk(self):
        yield from range(1, 21)

    def step(self, action):
        t = next(self.walk)
        return np.float32([t]), float(action), t == 20, False, {}


@pytest.mark.parametrize('case', [SHORT, {**A2C, 'total_timesteps': 40}], ids=['trpo_mpi', 'a2c'])
@pytest.mark.parametrize('num_env', [1, 2])
def test_environments_that_hide_their_state_begin_anew_and_the_log_says_so(case, num_env, tmp_path):
    gym.register('Hiding-v0', Hiding)
    try:
        case = {**case, 'env': 'Hiding-v0', 'num_env': num_env, 'dummy': True,  # processes do not know of it
                'total_timesteps': num_env * case['total_timesteps']}
        whole = train(tmp_path / 'whole', case)
        stopped(tmp_path / 'parts', case, 5)
        assert 'will start the environments anew' in (tmp_path / 'parts/log.txt').read_text()
        model = train(tmp_path / 'parts', case, resume=True)
    finally:
        del gym.registry['Hiding-v0']
    assert 'The environments are started anew' in (tmp_path / 'parts/log.txt').read_text()
    table, episodes, _ = result(tmp_path / 'parts', model)
    expected, whole_episodes, _ = result(tmp_path / 'whole', whole)
    assert len(table) == len(expected)
    assert len(episodes['0.monitor.csv' if num_env == 1 else '0.1.monitor.csv']) <= len(
        whole_episodes['0.monitor.csv' if num_env == 1 else '0.1.monitor.csv'])


# ---------------------------------------------------------------- signals

@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_library_run_after_a_checkpoint(signum, tmp_path, capfd, request):
    if signal.getsignal(signum) is signal.SIG_IGN:  # under nohup, say
        signal.signal(signum, signal.SIG_DFL)
        request.addfinalizer(lambda: signal.signal(signum, signal.SIG_IGN))
    expected = result(tmp_path / 'whole', train(tmp_path / 'whole', SHORT))
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as e:
        train(tmp_path, SHORT, call=lambda n: n == 3 and os.kill(os.getpid(), signum), interval=100)
    assert e.value.code == 128 + signum and e.value.together and signal.getsignal(signum) is before
    assert names(tmp_path) == ['00000003.0.npz']
    name, folder = signal.Signals(signum).name, tmp_path / 'checkpoints'
    assert capfd.readouterr().err.splitlines()[-2:] == [
        f'{name}: ending after this update, with a checkpoint; once more ends at once',
        f'{name}: ended after update 3, saved in {folder}']
    assert result(tmp_path, train(tmp_path, SHORT, resume=True)) == expected


def test_signals_that_are_ignored_stay_so(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(tmp_path, SHORT, call=lambda n: n == 2 and os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert names(tmp_path)[-1] == '00000005.0.npz'


def test_a_run_in_a_thread_is_saved_too(tmp_path):
    thread = threading.Thread(target=train, args=(tmp_path, SHORT))
    thread.start()
    thread.join()
    assert names(tmp_path)[-1] == '00000005.0.npz'


# ---------------------------------------------------------------- when

def test_checkpoints_take_a_hundredth_of_the_time(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, 'LEAST', 0.)
    monkeypatch.setattr(checkpoint, 'SHARE', 1e-9)
    stopped(tmp_path, SHORT, 5, interval=None)
    assert names(tmp_path) == ['00000001.0.npz']  # the next one not before a billion times what it took
