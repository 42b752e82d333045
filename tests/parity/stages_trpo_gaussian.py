"""trpo_gaussian.npz: whole iterations of upstream's TRPO with a Gaussian policy."""
import stages_trpo as trpo
from harness import Stages, iterations
from stages_running_mean_std import sums

from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd

STAGES = Stages()


@STAGES.add('filter: sums and count', each=iterations('pi_rms_sum'), what='statistics of the observation filters',
            note='upstream never updates its filter (fixed in the port): all below at the initial one')
def filter_sums(trace, part):
    """Upstream's loop looks for the filter under a wrong name, so it stays as it was made."""
    initial = RunningMeanStd(shape=part['ob'].shape[1:])
    for which in ('pi', 'oldpi'):
        for name, value in sums(initial.state()).items():
            yield value, part[f'{which}_rms_{name}']


trpo.batch_stages(STAGES)
trpo.update_stages(STAGES)
