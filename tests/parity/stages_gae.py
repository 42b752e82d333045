"""gae.npz: generalised advantage estimation on one segment."""
import functools

from exact.returns import gae
from harness import Stages
from noise import measured

from onpolicybaselines.common import mpi_moments
from onpolicybaselines.trpo_mpi import trpo_mpi

STAGES = Stages()
SEGMENT = r'((?:endsdone_)?)rew'
INPUTS = ('rew', 'new', 'vpred', 'nextvpred')


def advantages_of(arrays, gamma, lam):
    """(adv, tdlamret, standardised adv) of the port; `arrays` maps rew, new, vpred and nextvpred to arrays."""
    seg = {name: arrays(name) for name in INPUTS}
    trpo_mpi.add_vtarg_and_adv(seg, float(gamma), float(lam))
    mean, std, _ = mpi_moments.mpi_moments(seg['adv'])
    return {'adv': seg['adv'], 'tdlamret': seg['tdlamret'], 'standardised': (seg['adv'] - mean) / std}


def exact_advantages(arrays, gamma, lam):
    """adv, tdlamret and standardised, exactly."""
    function = functools.partial(gae, gamma=float(gamma), lam=float(lam))
    return measured(function, {name: arrays(name) for name in INPUTS})


def stage(name, ours, array):
    @STAGES.add(name, each=SEGMENT, what='advantages and returns')
    def compare(trace, part):
        arrays = (lambda name: trace[part.label + name]), trace['gamma'], trace['lam']
        yield advantages_of(*arrays)[ours], trace[part.label + array], exact_advantages(*arrays)[ours]


stage('advantages', 'adv', 'adv')
stage('TD(lambda) returns', 'tdlamret', 'tdlamret')
stage('standardised advantages', 'standardised', 'adv_standardized')
