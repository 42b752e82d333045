"""Runs that end somewhere and go on are, to the bit, runs that never stopped."""
import csv
import json
import os
import pathlib
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

TIMES = ('TimeElapsed', 'fps')
LEARN = {'trpo_mpi': 'trpo_mpi.trpo_mpi', 'a2c': 'a2c.a2c', 'acktr': 'acktr.acktr', 'acktr_cont': 'acktr.acktr_cont'}
TRPO = {'alg': 'trpo_mpi', 'network': 'mlp', 'num_hidden': 8, 'timesteps_per_batch': 96, 'max_iters': 5,
        'total_timesteps': 0, 'normalize_observations': True, 'ep_window': 5}
A2C = {'alg': 'a2c', 'network': 'mlp', 'num_hidden': 8, 'nsteps': 8, 'log_interval': 1}
CONT = {'alg': 'acktr_cont', 'timesteps_per_batch': 60, 'total_timesteps': 450, 'vf_iters': 2}
FLOW = {'policy': 'flow', 'flow_layers': 1, 'flow_units': 4, 'flow_state_units': 8, 'num_hidden': None}

CASES = {
    'trpo': TRPO,
    'trpo 3 native': {**TRPO, 'num_env': 3},
    'trpo gymnasium': {**TRPO, 'native': False},
    'trpo 3 processes': {**TRPO, 'num_env': 3, 'native': False},
    'trpo gmm': {**TRPO, 'policy': 'gmm', 'ent_coef': 0.01},
    'trpo flow': {**TRPO, **FLOW},
    'trpo xla': {**TRPO, 'xla': True},
    'trpo rllab': {**TRPO, 'env': 'rllab/Hopper-v0'},
    'trpo roboschool': {**TRPO, 'env': 'roboschool/Hopper-v0'},
    'trpo classic': {**TRPO, 'env': 'CartPole-v1', 'native': False},
    'a2c': {**A2C, 'total_timesteps': 40, 'normalize_observations': True},
    'a2c 3 lstm': {**A2C, 'network': 'lstm', 'nlstm': 8, 'num_hidden': None, 'num_env': 3, 'total_timesteps': 120,
                   'env': 'CartPole-v1'},
    'a2c flow': {**A2C, **FLOW, 'value_network': 'copy', 'total_timesteps': 40},
    'acktr': {**A2C, 'alg': 'acktr', 'total_timesteps': 120},
    'acktr 3': {**A2C, 'alg': 'acktr', 'env': 'CartPole-v1', 'num_env': 3, 'total_timesteps': 360},
    'acktr gmm': {**A2C, 'alg': 'acktr', 'policy': 'gmm', 'total_timesteps': 120},
    'acktr_cont': {**CONT},
    'acktr_cont gmm': {**CONT, 'policy': 'gmm'},
    'acktr_cont flow': {**CONT, 'policy': 'flow', 'flow_layers': 1, 'flow_units': 4, 'flow_state_units': 8},
}


class Stop(Exception):
    """Ends a run from its callback."""


def train(folder, case, stop=None, resume=False, interval=2, call=lambda n: None):
    """Run `learn` in a folder, with checkpoints; stop: after how many calls of the callback it fails."""
    case = {'env': 'Hopper-v5', 'num_env': 1, 'native': True, **case}
    alg, env_id, num_env, native = (case.pop(name) for name in ('alg', 'env', 'num_env', 'native'))
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
        env = make_vec_env(env_id, None, num_env, 1, native=native)
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


@pytest.mark.parametrize('case', CASES)
def test_a_run_that_goes_on_is_the_run_that_never_stopped(case, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    expected = result(whole, train(whole, CASES[case]))
    stopped(parts, CASES[case], 5)  # after update 4; in 2, at the latest, there is a checkpoint
    stopped(parts, CASES[case], 2, resume=True)
    assert result(parts, train(parts, CASES[case], resume=True)) == expected
    assert expected[0] and all(len(rows) > 1 for rows in expected[1].values())
