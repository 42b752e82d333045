"""gae.npz: generalised advantage estimation on one segment."""
from harness import Stages

from onpolicybaselines.common.mpi_moments import mpi_moments
from onpolicybaselines.trpo_mpi.trpo_mpi import add_vtarg_and_adv

STAGES = Stages()
SEGMENT = r'((?:endsdone_)?)rew'
KWARGS = {'rtol': 1e-6, 'norm': True,
          'reason': 'float32 recursion; in the norm, as elements near 0 are differences of large ones'}


def advantages_of(arrays, gamma, lam):
    """(adv, tdlamret, standardised adv) of the port; `arrays` maps rew, new, vpred and nextvpred to arrays."""
    seg = {name: arrays(name) for name in ('rew', 'new', 'vpred', 'nextvpred')}
    add_vtarg_and_adv(seg, float(gamma), float(lam))
    mean, std, _ = mpi_moments(seg['adv'])
    return seg['adv'], seg['tdlamret'], (seg['adv'] - mean) / std


def compare(trace, part):
    prefix = part.label
    got = advantages_of(lambda name: trace[prefix + name], trace['gamma'], trace['lam'])
    return dict(zip(('adv', 'tdlamret', 'adv_standardized'), got, strict=True))


@STAGES.add('advantages', each=SEGMENT, **KWARGS)
def adv(trace, part):
    yield compare(trace, part)['adv'], trace[part.label + 'adv']


@STAGES.add('TD(lambda) returns', each=SEGMENT, **KWARGS)
def tdlamret(trace, part):
    yield compare(trace, part)['tdlamret'], trace[part.label + 'tdlamret']


@STAGES.add('standardised advantages', each=SEGMENT, **KWARGS)
def standardised(trace, part):
    yield compare(trace, part)['adv_standardized'], trace[part.label + 'adv_standardized']
