"""running_mean_std.npz: the two observation filters, batch after batch."""
import functools

import numpy as np
from exact import returns
from harness import Stages, computed_once
from noise import measured

from onpolicybaselines.common import mpi_running_mean_std, running_mean_std

STAGES = Stages()
BATCH = r'x(\d+)'
WHAT = 'statistics of the observation filters'


@computed_once
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


@functools.cache
def exact_sums(trace, label):
    """What both filters hold after that batch, from all batches up to it."""
    batches = trace.find(BATCH)
    seen = [] if label == 'init' else [trace[f'x{batch}'] for batch in batches[:batches.index(label) + 1]]
    rows = np.concatenate([np.zeros((0, *trace['mpi_mean_init'].shape)), *seen])

    def answers(rows):
        zero = rows.dtype.type(0)
        before = np.full(rows.shape[1:], zero), np.full(rows.shape[1:], zero + 1e-2), zero + 1e-2
        if not len(rows):
            start = dict(zip(('sum', 'sumsq', 'count'), before, strict=True))
            return {**start, 'np_mean': before[0], 'np_var': before[0] + 1, 'np_count': zero + 1e-4}
        names = ('sum', 'sumsq', 'count', 'np_mean', 'np_var', 'np_count')
        return dict(zip(names, (*returns.sums(rows, before), *returns.moments([rows], 1e-4)), strict=True))
    return measured(answers, {'rows': rows}, rows=('rows',), precision='float64')


@functools.cache
def exact_moments(part):
    """From the recorded sums."""
    def answers(**sums):
        return dict(zip(('mean', 'std'), returns.mean_and_std(*sums.values()), strict=True))
    return measured(answers, {f'{name}_': part.trace[f'mpi_{name}_{part.label}'] for name in ('sum', 'sumsq', 'count')})


@STAGES.add('mpi: sums and count', each=r'mpi_count_(\w+)', what=WHAT)
def mpi_sums(trace, part):
    for name in ('sum', 'sumsq', 'count'):
        yield (states(trace)['mpi', part.label][name], trace[f'mpi_{name}_{part.label}'],
               exact_sums(trace, part.label)[name])


@STAGES.add('mpi: mean and std', each=r'mpi_count_(\w+)', what=WHAT, note='std floor 0.1')
def mpi_moments(trace, part):
    for name in ('mean', 'std'):
        yield states(trace)['mpi', part.label][name], trace[f'mpi_{name}_{part.label}'], exact_moments(part)[name]


@STAGES.add('numpy: mean, variance, count', each=r'np_count_(\w+)', what=WHAT)
def np_moments(trace, part):
    for name in ('mean', 'var', 'count'):
        yield (states(trace)['np', part.label][name], trace[f'np_{name}_{part.label}'],
               exact_sums(trace, part.label)[f'np_{name}'])
