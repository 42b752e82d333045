"""Cores, and TensorFlow's threads."""
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines.common import cores

THREADS = '''
import gymnasium as gym, numpy as np, tensorflow as tf
from onpolicybaselines.common import cores
from onpolicybaselines.common.learning import begin
class Env(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 1, {shape}), gym.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return np.zeros({shape}, 'f'), {{}}
begin(Env(), 0)
print(tf.config.threading.get_intra_op_parallelism_threads(), cores.cores())
'''


@pytest.mark.parametrize('shape', [(8, 8, 3), (8,)])
def test_images_get_all_cores_and_vectors_one(shape):
    result = subprocess.run([sys.executable, '-c', THREADS.format(shape=shape)], capture_output=True,
                            text=True, check=True)
    threads, available = map(int, result.stdout.split())
    assert threads == (available if len(shape) == 3 else 1)


def test_ranks_share_cores(mpirun):
    result = mpirun(2, """
        from onpolicybaselines.common import mpi_world
        from onpolicybaselines.common.cores import cores
        of_all = mpi_world.allgather((mpi_world.size(), cores()))
        if mpi_world.rank() == 0:
            print(of_all)""")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str([(2, max(1, cores.cores() // 2))] * 2)


def test_images_are_told_from_vectors():
    assert cores.sees_images(gym.spaces.Box(0, 255, (84, 84, 4), np.uint8))
    assert not any(map(cores.sees_images, [gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2)]))
