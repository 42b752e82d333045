"""mpi_adam.npz: updates with given gradients, one rank."""
import functools

import numpy as np
import tensorflow as tf
from exact.returns import adam
from harness import Stages, computed_once
from noise import measured

from onpolicybaselines.common.mpi_adam import MpiAdam

STAGES = Stages()


def hyperparameters(trace):
    return {name: float(trace[name]) for name in ('beta1', 'beta2', 'epsilon')}


@computed_once
def updates(trace):
    """Parameters, moments and time after every update."""
    theta = tf.Variable(trace['theta_init'])
    optimizer = MpiAdam([theta], **hyperparameters(trace))
    rows = []
    for grad in trace['grads']:
        optimizer.update(grad, float(trace['stepsize']))
        rows.append((theta.numpy(), optimizer.m, optimizer.v, optimizer.t))
    return dict(zip(('theta', 'm', 'v', 't'), map(np.array, zip(*rows, strict=True)), strict=True))


@functools.cache
def exact(trace):
    def answers(theta, grads):
        state, rows = (theta, 0 * theta, 0 * theta), []
        for i, grad in enumerate(grads):
            state = adam(*state, i + 1, grad, float(trace['stepsize']), **hyperparameters(trace))
            rows.append(state)
        return dict(zip(('theta', 'm', 'v'), map(np.array, zip(*rows, strict=True)), strict=True))
    return measured(answers, {'theta': trace['theta_init'], 'grads': trace['grads']})


@STAGES.add('parameters', what="Adam's moments and parameters")
def theta(trace, part):
    yield from zip(updates(trace)['theta'], trace['theta'], exact(trace)['theta'], strict=True)


@STAGES.add('moments', what="Adam's moments and parameters")
def moments(trace, part):
    for name in 'mv':
        yield from zip(updates(trace)[name], trace[name], exact(trace)[name], strict=True)


@STAGES.add('time', what="Adam's moments and parameters")
def time(trace, part):
    yield updates(trace)['t'], trace['t']
