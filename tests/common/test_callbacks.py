"""Callbacks that stop, evaluate and save, in every algorithm, and evaluation by itself."""
import csv
import importlib.util
import json
import random
import subprocess
import sys
from importlib import import_module

import gymnasium as gym
import numpy as np
import pytest
from helpers import vec_env

import onpolicybaselines
from onpolicybaselines import logger
from onpolicybaselines.bench import Monitor
from onpolicybaselines.common.callbacks import (
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    StopAtReturn,
    model_of,
)
from onpolicybaselines.common.checkpoint import checkpointing
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.evaluation import evaluate_policy, in_words, summary
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.vec_env import DummyVecEnv, VecNormalize
from onpolicybaselines.common.vec_env.vec_env import VecEnvWrapper

TIMES = ('TimeElapsed', 'fps', 'misc/time_elapsed')
SMALL = {'network': 'mlp', 'num_hidden': 8, 'total_timesteps': 160}
RUNS = {
    'trpo_mpi': ('trpo_mpi.trpo_mpi', {**SMALL, 'timesteps_per_batch': 40, 'normalize_observations': True}),
    'a2c': ('a2c.a2c', {**SMALL, 'nsteps': 40, 'log_interval': 1}),
    'a2c lstm': ('a2c.a2c', {**SMALL, 'network': 'lstm', 'num_hidden': None, 'nlstm': 4, 'nsteps': 40,
                             'log_interval': 1}),
    'acktr': ('acktr.acktr', {**SMALL, 'nsteps': 40, 'log_interval': 1}),
    'acktr_cont': ('acktr.acktr_cont', {'timesteps_per_batch': 39, 'total_timesteps': 160, 'vf_iters': 1}),
    'ppo2': ('ppo2.ppo2', {**SMALL, 'nsteps': 40, 'log_interval': 1, 'noptepochs': 1}),
}

ALGORITHMS = [run for run in RUNS if run != 'a2c lstm']


class Pushing(gym.Env):
    """Ten steps; the reward is the action, and some noise from generators that belong to nobody."""

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.ob = 0, self.np_random.normal(size=2)
        return self.ob, {}

    def step(self, action):
        self.t += 1
        self.ob = np.clip(self.ob + self.np_random.normal(size=2) + 0.1 * np.random.normal(), -10, 10)
        return self.ob, float(action[0]) + 0.1 * random.random(), self.t == 10, False, {}


def learn(run, env=None, **kwargs):
    module, options = RUNS[run]
    options = {name: value for name, value in {**options, **kwargs}.items() if value is not None}
    return import_module(f'onpolicybaselines.{module}').learn(env=env or Pushing(), seed=1, **options)


def bits(model):
    arrays = model.arrays() if hasattr(model, 'arrays') else model.pi.arrays()
    return {name: value.tobytes() for name, value in arrays.items()}


def rows(folder):
    """(rows of training, without times; those of evaluations) of progress.csv."""
    with open(folder / 'progress.csv', newline='') as fh:
        table = [{k: v for k, v in row.items() if v and k not in TIMES} for row in csv.DictReader(fh)]
    return [row for row in table if 'eval/mean' not in row], [row for row in table if 'eval/mean' in row]


# ================================================================
# Stopping
# ================================================================

@pytest.mark.parametrize('run', RUNS)
def test_a_callback_stops_training_and_predicts_with_what_was_learned(run, tmp_path):
    ob, seen = np.array([0.3, -0.2]), []

    def callback(values, names):
        model = model_of(values)
        ac, _ = model.predict(ob, deterministic=True)
        np.testing.assert_allclose(ac, np.clip(model.step(ob[np.newaxis], stochastic=False)[0][0], -1, 1), rtol=1e-3,
                                   atol=1e-5)
        seen.append((values['timesteps_so_far'], ac))
        return None if len(seen) < 3 else False

    with logger.scoped_configure(str(tmp_path), ['log', 'csv']):
        model = learn(run, callback=callback)
    assert [steps for steps, _ in seen] == [0, 40, 80]
    assert len({float(ac[0]) for _, ac in seen}) == 3
    assert (tmp_path / 'log.txt').read_text().count('Stopped by the callback after 80 time steps') == 1
    assert len(rows(tmp_path)[0]) == 2
    model.save(tmp_path / 'model.npz')
    loaded = onpolicybaselines.load(tmp_path / 'model.npz')
    np.testing.assert_array_equal(loaded.predict(ob, deterministic=True)[0], seen[-1][1])


@pytest.mark.parametrize('run', ALGORITHMS)
def test_a_callback_may_stop_before_the_first_update(run, quiet_logger):
    model = learn(run, callback=lambda *_: False)
    assert bits(model) == bits(learn(run, total_timesteps=0))


def test_a_stopped_run_goes_on_from_where_it_stopped(tmp_path):
    whole = learn('a2c')
    with checkpointing(tmp_path / 'checkpoints'), logger.scoped_configure(str(tmp_path), ['csv']):
        learn('a2c', callback=lambda values, _: values['timesteps_so_far'] < 80)
    with checkpointing(tmp_path / 'checkpoints', resume=True), logger.scoped_configure(str(tmp_path), ['csv']):
        assert bits(learn('a2c')) == bits(whole)


STOP_ON_ONE_RANK = '''
    import sys
    sys.path.insert(0, sys.argv[1])
    import pathlib
    import test_callbacks as t
    from onpolicybaselines.common.mpi_world import allgather, rank

    folder, updates = pathlib.Path(sys.argv[2]), []
    for run in ('trpo_mpi', 'a2c'):
        callback = (lambda values, _: values['timesteps_so_far'] < 160) if rank() == 1 else None
        with t.logger.scoped_configure(str(folder / run), ['csv'] if rank() == 0 else []):
            t.learn(run, total_timesteps=800, callback=callback)
    evaluation = t.EvalCallback(t.Pushing(), 80, 5, deterministic=False, seed=rank(), best_path=folder / 'best.npz')
    with t.logger.scoped_configure(str(folder / 'eval'), ['csv'] if rank() == 0 else []):
        model = t.learn('ppo2', total_timesteps=320, callback=evaluation)
    with t.logger.scoped_configure(str(folder / 'without'), []):
        assert t.bits(model) == t.bits(t.learn('ppo2', total_timesteps=320))
    assert len(set(allgather((evaluation.last, evaluation.best)))) == 1
'''


@pytest.mark.slow
def test_ranks_stop_and_evaluate_together(mpirun, tmp_path):
    process = mpirun(2, STOP_ON_ONE_RANK, __file__.rpartition('/')[0], tmp_path)
    assert process.returncode == 0, process.stderr[-3000:]
    assert [len(rows(tmp_path / run)[0]) for run in ('trpo_mpi', 'a2c')] == [2, 2]
    _, evaluations = rows(tmp_path / 'eval')
    assert [row['eval/timesteps'] for row in evaluations] == ['80', '160', '240', '320']
    assert {row['eval/episodes'] for row in evaluations} == {'5'} and (tmp_path / 'best.npz').exists()


# ================================================================
# Ready callbacks
# ================================================================

@pytest.mark.parametrize('run', [
    pytest.param(run, marks=pytest.mark.slow if run in ('a2c', 'acktr') else ()) for run in RUNS])
def test_evaluation_leaves_training_as_it_is_and_goes_on(run, tmp_path):
    """To the bit, with an environment that draws from generators of the process, and from a checkpoint."""
    def train(name, evaluation=True, stop=np.inf, resume=False):
        folder = tmp_path / name
        best = folder / 'best' / 'model.npz'
        callback = EvalCallback(Monitor(Pushing(), None), 60, 3, deterministic=False, best_path=best, seed=5)
        callbacks = CallbackList(callback, lambda values, _: values['timesteps_so_far'] < stop)
        with checkpointing(folder / 'checkpoints', 1, resume), logger.scoped_configure(str(folder), ['csv']):
            model = learn(run, callback=callbacks if evaluation else None)
        return bits(model), *rows(folder), best.exists() and best.read_bytes(), callback

    model, table, none, _, _ = train('without', evaluation=False)
    assert none == []
    *expected, callback = train('with')
    assert expected[:2] == [model, table] and expected[3]
    evaluations = expected[2]
    assert [row['eval/timesteps'] for row in evaluations] == ['80', '120']
    means = [float(row['eval/mean']) for row in evaluations]
    assert len(set(means)) == 2 and max(means) == callback.best == float(evaluations[-1]['eval/best'])
    assert callback.last == means[-1]
    train('parts', stop=80)
    *again, goes_on = train('parts', resume=True)
    assert again == expected and goes_on.best == callback.best


def test_rows_of_evaluations_leave_what_is_gathered_for_the_next_row(tmp_path):
    def callback(values, _):
        logger.logkv('mine', values['timesteps_so_far'])

    with logger.scoped_configure(str(tmp_path), ['csv']):
        learn('trpo_mpi', callback=CallbackList(callback, EvalCallback(Pushing(), 40, 1)))
    table, evaluations = rows(tmp_path)
    assert [row['mine'] for row in table] == ['0', '40', '80', '120']
    assert all('mine' not in row for row in evaluations) and len(evaluations) == 4


def test_model_files_every_so_often(tmp_path, quiet_logger):
    learn('ppo2', callback=CheckpointCallback(80, tmp_path / 'models'))
    learn('ppo2', callback=CheckpointCallback(100))
    assert sorted(p.name for p in (tmp_path / 'models').iterdir()) == ['model_160.npz', 'model_80.npz']
    assert [p.name for p in (tmp_path / 'log').glob('*.npz')] == ['model_120.npz']
    for interval in (0, -1):
        with pytest.raises(ValueError, match='interval must be at least 1'):
            CheckpointCallback(interval)


def test_training_stops_at_a_return(quiet_logger):
    calls = []

    def note(values, _):
        calls.append(values['timesteps_so_far'])

    learn('trpo_mpi', callback=CallbackList(note, StopAtReturn(-100)))
    assert calls == [0, 40]  # no episode has ended before
    evaluation = EvalCallback(Pushing(), 80, 1)
    learn('acktr', callback=CallbackList(evaluation, StopAtReturn(-100, evaluation), note))
    assert calls[2:] == [0, 40, 80]
    learn('a2c', callback=CallbackList(StopAtReturn(1e9), note))
    assert calls[5:] == [0, 40, 80, 120, 160]


# ================================================================
# evaluate_policy
# ================================================================

class Doubling(VecEnvWrapper):
    """A wrapper outside of the Monitors that changes rewards."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rews, dones, infos = self.venv.step_wait()
        return obs, 2 * rews, dones, infos


def cartpole_policy():
    env = gym.make('CartPole-v1')
    return build_policy(env, 'mlp', num_hidden=8)(np.random.default_rng(0))


def test_each_environment_plays_its_share():
    """Those with short episodes would else be most of the result."""
    envs = [gym.make('CartPole-v1', max_episode_steps=n) for n in (2, 8)]
    venv = DummyVecEnv([lambda env=env: env for env in envs])
    returns, lengths = evaluate_policy(cartpole_policy(), venv, 5, return_episode_rewards=True)
    assert sorted(lengths) == [2, 2, 8, 8, 8] and returns == lengths
    assert evaluate_policy(cartpole_policy(), venv, 5) == (5.6, np.std([2, 2, 8, 8, 8]))


def test_returns_are_raw_and_a_vec_normalize_is_left_out():
    def plain():
        return gym.make('CartPole-v1', max_episode_steps=7)

    def monitored():
        return Monitor(plain(), None)

    pi = cartpole_policy()
    assert evaluate_policy(pi, Doubling(DummyVecEnv([monitored])), 3) == (7, 0)
    assert evaluate_policy(pi, Doubling(DummyVecEnv([plain])), 3) == (14, 0)
    env = VecNormalize(DummyVecEnv([monitored]))
    before = env.ob_rms.count
    assert evaluate_policy(pi, env, 3) == (7, 0) and env.ob_rms.count == before


BY_STABLE_BASELINES3 = """
import sys
import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy as theirs
import onpolicybaselines
from onpolicybaselines.common.evaluation import evaluate_policy as ours

results = []
for evaluate in (theirs, ours):
    for deterministic in (True, False):
        pi, env, seen = onpolicybaselines.load(sys.argv[1], seed=0), gym.make('CartPole-v1'), []
        env.reset(seed=3)
        returns, lengths = evaluate(pi, env, 4, deterministic, warn=False, return_episode_rewards=True,
                                    callback=lambda values, _: seen.append(float(values['reward'])))
        assert len(returns) == 4 and len(seen) == sum(lengths) == sum(returns)
        results.append((returns, lengths, seen))
assert results[:2] == results[2:] and results[0] != results[1]
"""


@pytest.mark.slow
def test_stable_baselines3_evaluates_a_loaded_policy_alike(tmp_path):
    """In a process of its own: torch and TensorFlow have an LLVM each."""
    if importlib.util.find_spec('stable_baselines3') is None:
        pytest.skip('Stable-Baselines3 is in the extra bench')
    cartpole_policy().save(tmp_path / 'model.npz')
    process = subprocess.run([sys.executable, '-c', BY_STABLE_BASELINES3, str(tmp_path / 'model.npz')],
                             capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_recurrent_policies_are_evaluated_with_their_memory():
    """As step by step, forgetting where episodes end."""
    env = vec_env(n=2)
    pi = build_policy(env, 'lstm', nlstm=4)(np.random.default_rng(0))
    returns, _ = evaluate_policy(pi, env, 4, return_episode_rewards=True)
    env, expected, ret = vec_env(n=2), [], np.zeros(2)
    obs, state, dones = env.reset(), None, np.ones(2)
    while len(expected) < 4:
        actions, _, state, _ = pi.step(obs, S=state, M=dones, stochastic=False)
        obs, rews, dones, _ = env.step(actions)
        ret += rews
        for i in np.flatnonzero(dones):
            expected.append(ret[i])
            ret[i] = 0
    assert returns[:2] == expected[:2]


def test_threshold_and_words(tmp_path):
    pi, env = cartpole_policy(), gym.make('CartPole-v1', max_episode_steps=5)
    with logger.scoped_configure(str(tmp_path), ['log']):
        with pytest.raises(UsageError, match='the mean return 5.00 is not above 6.00'):
            evaluate_policy(pi, env, 2, reward_threshold=6)
        evaluate_policy(pi, Monitor(env, None), 1)
    assert (tmp_path / 'log.txt').read_text().count('no Monitor') == 1
    few = summary([1., 3.], [1, 3])
    assert few['interval'] is None and in_words(few) == 'mean return 2 ± 1.00, 2 episodes'
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = summary(rng.normal(5, 2, 6).tolist(), [1] * 6)['interval']
        inside += low <= 5 <= high
    assert abs(inside / 400 - 0.95) < 3.3 * np.sqrt(0.95 * 0.05 / 400)
    json.dumps(few, allow_nan=False)


# ================================================================
# Any environment trains
# ================================================================

@pytest.mark.parametrize('run', ALGORITHMS)
def test_environments_of_other_kinds_train_alike(run, tmp_path, quiet_logger):
    """By the same steps: no episode is cut, none has a step too many. tests/common/test_vec_env.py has all modes."""
    def train(env):
        np.random.seed(0)
        random.seed(0)
        env.reset(seed=1)
        model = learn(run, env, total_timesteps=80)
        env.close()
        return bits(model)

    expected = train(Pushing())
    assert train(Monitor(Pushing(), str(tmp_path))) == expected
    spec = gym.envs.registration.EnvSpec('Pushing-v0', entry_point=Pushing)
    assert train(gym.make_vec(spec, num_envs=1, vectorization_mode='sync')) == expected
    episodes = (tmp_path / 'monitor.csv').read_text().splitlines()[2:]
    assert len(episodes) == 8 and all(row.split(',')[1] == '10' for row in episodes)
