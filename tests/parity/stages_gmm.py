"""gmm.npz: the paper's released mixture policy, for every number of components in the file."""
import functools
import re

import numpy as np
import tensorflow as tf
from harness import Stages, spaces_of
from mapping import RELEASED_MIXTURE, mapping

from onpolicybaselines.common.policies import build_policy

STAGES = Stages()
VARIANT = r'(K\d+(?:_init)?)_log_prob_authors'


def shared(part, name):
    """An array that the initial and the perturbed variables have in common."""
    return part.trace[f'{part.label.removesuffix("_init")}_{name}']


@functools.cache
def policy_of(part, gmm_log_prob):
    """(the port's policy, mapping of its parameters, these at the recorded variables)."""
    names, shapes = shared(part, 'var_names'), shared(part, 'var_shapes')
    hidden = [shape for name, shape in zip(names.tolist(), shapes, strict=True) if re.search(r'polfc\d+\.w$', name)]
    pi = build_policy(spaces_of(shared(part, 'obz'), shared(part, 'actions')), 'mlp', value_network='copy',
                      policy='gmm', gmm_components=part['means'].shape[1], gmm_log_prob=gmm_log_prob,
                      num_layers=len(hidden), num_hidden=int(hidden[0][1]))(np.random.default_rng(0))
    to_ours = mapping(pi.var_list, names, shapes, RELEASED_MIXTURE)
    prefix = part.label if part.label.endswith('_init') else f'{part.label}_var'
    return pi, to_ours, tf.constant(to_ours.ours(part.trace.variables(prefix, names.tolist())))


def pd_of(part, gmm_log_prob='mixture', theta=None):
    pi, _, recorded = policy_of(part, gmm_log_prob)
    with pi.at(recorded if theta is None else theta):
        return pi.pd(tf.constant(shared(part, 'obz')))


def actions(part):
    return tf.constant(shared(part, 'actions'))


@STAGES.add('means and log standard deviations', each=VARIANT, rtol=1e-5, norm=True,
            reason='float32; of all components')
def components(trace, part):
    pd = pd_of(part)
    yield flat_rows(pd.mean), flat_rows(part['means'])
    yield flat_rows(pd.logstd), flat_rows(np.broadcast_to(part['logstds'], pd.logstd.shape))


def flat_rows(array):
    return np.reshape(array, [len(array), -1])


@STAGES.add('component log-densities', each=VARIANT, rtol=1e-5, reason='float32 against float64')
def component_logp(trace, part):
    yield pd_of(part).component_logp(actions(part)), part['component_log_density_f64']


@STAGES.add('released log_prob', each=VARIANT, rtol=1e-5,
            reason="float32; gmm_log_prob='released', the mean of the above")
def released_logp(trace, part):
    yield pd_of(part, 'released').logp(actions(part)), part['log_prob_authors']
    yield pd_of(part, 'released').logp(actions(part)), part['mean_component_log_density_f64']


@STAGES.add('mixture log-density', each=VARIANT, rtol=1e-5, reason='float32 against float64')
def mixture_logp(trace, part):
    yield pd_of(part).logp(actions(part)), part['true_mixture_log_density_f64']


@STAGES.add('gradient of released log_prob', each=VARIANT, rtol=1e-5, norm=True,
            reason='float32; of the sum over the batch')
def gradient(trace, part):
    _, to_ours, theta = policy_of(part, 'released')
    with tf.GradientTape() as tape:
        tape.watch(theta)
        total = tf.reduce_sum(pd_of(part, 'released', theta).logp(actions(part)))
    yield tape.gradient(total, theta), to_ours.ours(part['grad_sum_log_prob_flat'])
