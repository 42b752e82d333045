"""running_mean_std.npz: the two observation filters, batch after batch."""
import functools

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
        out['mpi', batch] = {'mean': mpi.mean.numpy(), 'std': mpi.std.numpy(), **mpi.state()}
        out['np', batch] = {'mean': local.mean, 'var': local.var, 'count': local.count}

    keep('init')
    for batch in trace.find(BATCH):
        mpi.update(trace[f'x{batch}'])
        local.update(trace[f'x{batch}'])
        keep(batch)
    return out


def compare(trace, which, part, names):
    for name in names:
        yield states(trace)[which, part.label][name], trace[f'{which}_{name}_{part.label}']


@STAGES.add('mpi: sums and count', each=r'mpi_count_(\w+)', rtol=1e-12, atol=1e-12, reason='float64 sums')
def mpi_sums(trace, part):
    yield from compare(trace, 'mpi', part, ('sum', 'sumsq', 'count'))


@STAGES.add('mpi: mean and std', each=r'mpi_count_(\w+)', rtol=1e-6, atol=1e-7,
            reason='one float32 difference; std floor 0.1')
def mpi_moments(trace, part):
    yield from compare(trace, 'mpi', part, ('mean', 'std'))


@STAGES.add('numpy: mean, variance, count', each=r'np_count_(\w+)', rtol=1e-12, atol=1e-12,
            reason='float64')
def np_moments(trace, part):
    yield from compare(trace, 'np', part, ('mean', 'var', 'count'))
