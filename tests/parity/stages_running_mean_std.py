"""running_mean_std.npz: the two observation filters, batch after batch."""
import functools

import numpy as np
from harness import Stages

from onpolicybaselines.common import mpi_running_mean_std, running_mean_std

STAGES = Stages()
BATCH = r'x(\d+)'


@functools.cache
def states(trace):
    """{(filter, batch): {array: value}} after every batch; batch 'init' is the state before the first."""
    shape = trace['mpi_mean_init'].shape
    mpi, local = mpi_running_mean_std.RunningMeanStd(shape=shape), running_mean_std.RunningMeanStd(shape=shape)
    out = {}

    def keep(batch):
        out['mpi', batch] = sums(mpi.state()) | {'mean': mpi.mean.numpy(), 'std': mpi.std.numpy()}
        out['np', batch] = {'mean': local.mean, 'var': local.var, 'count': local.count}

    keep('init')
    for batch in trace.find(BATCH):
        mpi.update(trace[f'x{batch}'])
        local.update(trace[f'x{batch}'])
        keep(batch)
    return out


def sums(state):
    """The sums that upstream keeps, from count, mean and variance."""
    mean, count = state['mean'], state['count']
    return {'sum': mean * count, 'sumsq': (state['var'] + np.square(mean)) * count, 'count': count}


def compare(trace, which, part, names):
    for name in names:
        yield states(trace)[which, part.label][name], trace[f'{which}_{name}_{part.label}']


@STAGES.add('mpi: sums and count', each=r'mpi_count_(\w+)', rtol=1e-12, atol=1e-12, reason='float64 sums')
def mpi_sums(trace, part):
    yield from compare(trace, 'mpi', part, ('sum', 'sumsq', 'count'))


@STAGES.add('mpi: mean and std', each=r'mpi_count_(\w+)', rtol=1e-6, atol=1e-7,
            reason="std by upstream's float32 difference, from the port's sums; floor 0.1")
def mpi_moments(trace, part):
    yield from compare(trace, 'mpi', part, ['mean'])
    state = states(trace)['mpi', part.label]
    mean, meansq = (np.float32(state[name] / state['count']) for name in ('sum', 'sumsq'))
    yield np.sqrt(np.maximum(meansq - np.square(mean), np.float32(1e-2))), trace[f'mpi_std_{part.label}']


@STAGES.add('mpi: std without rounding', each=r'mpi_count_(\w+)', rtol=1e-6, atol=1e-7,
            reason="that of the recorded sums, in float64: upstream's difference of squares loses up to 1e-5")
def mpi_std(trace, part):
    total, sumsq = (trace[f'mpi_{name}_{part.label}'] / trace[f'mpi_count_{part.label}'] for name in ('sum', 'sumsq'))
    yield states(trace)['mpi', part.label]['std'], np.sqrt(np.maximum(sumsq - np.square(total), 1e-2))


@STAGES.add('numpy: mean, variance, count', each=r'np_count_(\w+)', rtol=1e-12, atol=1e-12,
            reason='float64')
def np_moments(trace, part):
    yield from compare(trace, 'np', part, ('mean', 'var', 'count'))
