"""mpi_adam.npz: updates with given gradients, one rank."""
import functools

import numpy as np
import tensorflow as tf
from harness import Stages

from onpolicybaselines.common.mpi_adam import MpiAdam

STAGES = Stages()
FEW = 'a few float32 operations per update'


@functools.cache
def updates(trace):
    """Parameters, moments and time after every update."""
    theta = tf.Variable(trace['theta_init'])
    adam = MpiAdam([theta], **{name: float(trace[name]) for name in ('beta1', 'beta2', 'epsilon')})
    rows = []
    for grad in trace['grads']:
        adam.update(grad, float(trace['stepsize']))
        rows.append((theta.numpy(), adam.m, adam.v, adam.t))
    return dict(zip(('theta', 'm', 'v', 't'), map(np.array, zip(*rows, strict=True)), strict=True))


@STAGES.add('parameters', rtol=1e-6, atol=1e-8, reason=FEW)
def theta(trace, part):
    yield updates(trace)['theta'], trace['theta']


@STAGES.add('moments', rtol=1e-6, atol=1e-9, reason=FEW)
def moments(trace, part):
    yield updates(trace)['m'], trace['m']
    yield updates(trace)['v'], trace['v']


@STAGES.add('time', rtol=0, atol=0, reason='a counter')
def time(trace, part):
    yield updates(trace)['t'], trace['t']
