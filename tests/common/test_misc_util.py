import argparse
import json
import random
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines.common import misc_util
from onpolicybaselines.common.misc_util import RunningAvg, pretty_eta


def test_zipsame():
    assert list(misc_util.zipsame([1, 2], 'ab')) == [(1, 'a'), (2, 'b')]
    with pytest.raises(ValueError, match=r'\[2, 1\]'):
        misc_util.zipsame([1, 2], 'a')


def draws():
    import tensorflow as tf
    return [np.random.rand(), random.random(), float(tf.random.uniform([]))]


def test_set_global_seeds():
    import tensorflow  # noqa: F401  (seeded because it is imported)
    misc_util.set_global_seeds(3)
    first = draws()
    misc_util.set_global_seeds(3)
    assert draws() == first
    misc_util.set_global_seeds(4)
    assert not set(draws()) & set(first)
    misc_util.set_global_seeds(None)
    unseeded = draws()
    misc_util.set_global_seeds(None)
    assert not set(draws()) & set(unseeded)  # chance of a number drawn twice: below 1e-6


def test_ranks_have_seeds_and_noise_of_their_own(mpirun):
    result = mpirun(2, """
        import json, random, sys
        import numpy as np
        from onpolicybaselines.common.misc_util import set_global_seeds
        from onpolicybaselines.common.mpi_world import get_comm
        set_global_seeds(7)
        assert 'tensorflow' not in sys.modules
        noise = get_comm().gather([np.random.rand(), random.random()])
        if noise is not None:
            print(json.dumps(noise))
    """)
    assert result.returncode == 0, result.stderr
    noise = json.loads(result.stdout)
    assert noise == [[np.random.RandomState(s).rand(), random.Random(s).random()] for s in (7, 1007)]


@pytest.mark.parametrize('seconds, text', [
    (0, 'less than a minute'), (59.9, 'less than a minute'), (-100, 'less than a minute'), (60, '1 minute'),
    (37 * 60 + 5.5, '37 minutes'), (3600, '1 hour'), (3600 * 2 + 37 * 60, '2 hours and 37 minutes'),
    (86400 * 2, '2 days'), (86400 + 3600 * 5 + 60, '1 day and 5 hours'), (86400 + 60, '1 day')])
def test_pretty_eta(seconds, text):
    assert pretty_eta(seconds) == text


def test_running_avg():
    avg = RunningAvg(0.75)
    with pytest.raises(ValueError, match='no value yet'):
        float(avg)
    avg.update(np.float32(4))
    assert float(avg) == 4
    avg.update(8)
    assert float(avg) == 5
    started = RunningAvg(0.5, init_value=2)
    assert float(started) == 2
    started.update(4)
    assert float(started) == 3


@pytest.mark.parametrize('default', [True, False, None])
def test_boolean_flag(default):
    parser = argparse.ArgumentParser()
    misc_util.boolean_flag(parser, 'render-eval', default=default, help='a flag')
    assert parser.parse_args([]).render_eval is default
    assert parser.parse_args(['--render-eval']).render_eval is True
    assert parser.parse_args(['--no-render-eval']).render_eval is False


def test_get_wrapper_by_name():
    base = gym.make('CartPole-v1')
    env = gym.wrappers.ClipReward(base, 0, 1)
    assert misc_util.get_wrapper_by_name(env, 'ClipReward') is env
    assert misc_util.get_wrapper_by_name(env, 'TimeLimit') is base
    assert misc_util.get_wrapper_by_name(env, 'CartPoleEnv') is env.unwrapped
    with pytest.raises(ValueError, match='wrapper named Monitor'):
        misc_util.get_wrapper_by_name(env, 'Monitor')
    env.close()


def test_common_is_light():
    """What every module of `common` imports first must not cost TensorFlow's or gymnasium's start-up time."""
    modules = 'cg dataset math_util mpi_fork mpi_moments mpi_util running_mean_std schedules'.split()
    code = f"""
import sys
import onpolicybaselines.common
{'; '.join(f'import onpolicybaselines.common.{m}' for m in modules)}
print(sorted({{'tensorflow', 'gymnasium', 'mpi4py'}} & set(sys.modules)))"""
    assert subprocess.check_output([sys.executable, '-c', code], text=True).strip() == '[]'
