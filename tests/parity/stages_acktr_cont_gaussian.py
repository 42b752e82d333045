"""acktr_cont_gaussian_gated.npz: whole iterations of the original continuous ACKTR, Gaussian policy."""
import functools

import stages_acktr_cont as acktr
from harness import Stages, iterations
from mapping import SAME_NAMES, mapping

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr.cont_model import scale_action
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.common.mpi_moments import mpi_moments

STAGES = Stages()


@functools.cache
def port(trace):
    """(policy, its place in the recorded vectors, setter of its parameters)."""
    policy = MlpPolicy(acktr.ob_dim(trace), acktr.box(trace))
    names = mapping(policy.var_list, trace['pi_var_names'], trace['pi_var_shapes'], SAME_NAMES)
    return policy, names, U.SetFromFlat(policy.var_list)


def policy_of(trace):
    policy, names, _ = port(trace)
    return acktr.Policy(policy.losses, policy.var_list, policy.inputs, policy.wd_dict, names)


def at(trace, part, when):
    policy, names, set_from = port(trace)
    set_from(names.ours(part[f'pi_{when}_flat']))
    return policy


def action_dist(trace, part):
    return at(trace, part, 'before').action_dist(part['observation'], part['action'])


def kl(trace, part):
    thold = port(trace)[1].ours(part['pi_before_flat'])
    return at(trace, part, 'after').compute_kl(thold, part['observation'], part['action'])


@STAGES.add('actions sent', each=iterations('scaled_action'), rtol=1e-6, reason='float32')
def scaled_action(trace, part):
    yield scale_action(part['action'], acktr.box(trace)), part['scaled_action']


@STAGES.add('standardised advantages', each=iterations('advs'), rtol=1e-9, reason='float64')
def standardized(trace, part):
    mean, std, _ = mpi_moments(part['advs'])
    yield (part['advs'] - mean) / (std + 1e-8), part['standardized_adv']


acktr.common_stages(STAGES, policy_of, action_dist, kl)
