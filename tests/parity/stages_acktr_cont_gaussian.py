"""acktr_cont_gaussian(_gated).npz: whole iterations of the original continuous ACKTR, Gaussian policy."""
import functools

import numpy as np
import stages_acktr_cont as acktr
from exact import kfac as exact, returns
from exact.trpo import GaussianPolicy
from harness import Stages, compiled_once, iterations
from mapping import SAME_NAMES, mapping
from noise import measured

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr import cont_model
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.common import mpi_moments

STAGES = Stages()


@compiled_once
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


@functools.cache
def exact_policy(trace):
    return acktr.exact_steps(trace, functools.partial(exact.gaussian_update, policy_at(trace)))


def policy_at(trace):
    return GaussianPolicy(trace['pi_var_names'], trace['pi_var_shapes'])


def action_dist(trace, part):
    def answers(theta, ob):
        pd, _ = policy_at(trace).distribution(policy_at(trace).layers(theta), ob)
        return {'dist': np.concatenate([pd.mean, pd.std], axis=1)}
    return (at(trace, part, 'before').action_dist(part['observation'], part['action']),
            measured(answers, {'theta': part['pi_before_flat'], 'ob': part['observation']})['dist'])


def kl(trace, part):
    def answers(old, new, ob):
        return {'kl': policy_at(trace).divergence_and_entropy(new, old, ob, None)[0]}
    thold = port(trace)[1].ours(part['pi_before_flat'])
    inputs = {'old': part['pi_before_flat'], 'new': part['pi_after_flat'], 'ob': part['observation']}
    return (at(trace, part, 'after').compute_kl(thold, part['observation'], part['action']),
            measured(answers, inputs, rows=('ob',))['kl'])


@STAGES.add('actions sent', each=iterations('scaled_action'), what='actions sent to the environment')
def scaled_action(trace, part):
    box = acktr.box(trace)

    def answers(ac, low, high):
        return {'sent': np.clip(low + (ac + 1) / 2 * (high - low), low, high)}
    yield (cont_model.scale_action(part['action'], box), part['scaled_action'],
           measured(answers, {'ac': part['action'], 'low': box.low, 'high': box.high})['sent'])


@STAGES.add('standardised advantages', each=iterations('advs'), what='advantages and returns')
def standardized(trace, part):
    mean, std, _ = mpi_moments.mpi_moments(part['advs'])
    answers = measured(lambda advs: {'adv': (advs - returns.mean(advs)) / (returns.deviation(advs) + 1e-8)},
                       {'advs': part['advs']}, precision='float64')
    yield (part['advs'] - mean) / (std + 1e-8), part['standardized_adv'], answers['adv']


acktr.common_stages(STAGES, policy_of, exact_policy, action_dist, kl)
