"""gmm.npz: the paper's released mixture policy, for every number of components in the file."""
import functools
import re

import numpy as np
import tensorflow as tf
from exact.arithmetic import flat, named
from exact.densities import Gaussian, mixture
from exact.networks import Pass, chain, dense_names, tanh
from harness import Stages, compiled_once, spaces_of
from mapping import RELEASED_MIXTURE, mapping
from noise import measured

from onpolicybaselines.common.policies import build_policy

STAGES = Stages()
VARIANT = r'(K\d+(?:_init)?)_log_prob_authors'


def shared(part, name):
    """An array that the initial and the perturbed variables have in common."""
    return part.trace[f'{part.label.removesuffix("_init")}_{name}']


def released(part):
    """The flat vector of the recorded variables."""
    prefix = part.label if part.label.endswith('_init') else f'{part.label}_var'
    return part.trace.variables(prefix, shared(part, 'var_names').tolist())


@compiled_once
def policy_of(part, gmm_log_prob):
    """(the port's policy, mapping of its parameters, these at the recorded variables)."""
    names, shapes = shared(part, 'var_names'), shared(part, 'var_shapes')
    hidden = [shape for name, shape in zip(names.tolist(), shapes, strict=True) if re.search(r'polfc\d+\.w$', name)]
    pi = build_policy(spaces_of(shared(part, 'obz'), shared(part, 'actions')), 'mlp', value_network='copy',
                      policy='gmm', gmm_components=part['means'].shape[1], gmm_log_prob=gmm_log_prob,
                      num_layers=len(hidden), num_hidden=int(hidden[0][1]))(np.random.default_rng(0))
    to_ours = mapping(pi.var_list, names, shapes, RELEASED_MIXTURE)
    return pi, to_ours, tf.constant(to_ours.ours(released(part)))


def pd_of(part, gmm_log_prob='mixture', theta=None):
    pi, _, recorded = policy_of(part, gmm_log_prob)
    with pi.at(recorded if theta is None else theta):
        return pi.pd(tf.constant(shared(part, 'obz')))


def actions(part):
    return tf.constant(shared(part, 'actions'))


@functools.cache
def exact(part):
    names = shared(part, 'var_names')

    def answers(theta, obz, ac):
        layers = Pass(named(theta, names, shared(part, 'var_shapes')))
        pairs = dense_names(names)
        heads = [pair for pair in pairs if 'polfinal' in pair[0]]
        latent, back = chain(obz, [f for pair in pairs if pair not in heads for f in (layers.dense(*pair), tanh)])
        logstds = [name for name in layers.params if 'logstd' in name]
        components, d_latent = [], 0
        for pair, logstd in zip(heads, logstds, strict=True):
            mean, head_back = layers.dense(*pair)(latent)
            pd = Gaussian(np.concatenate([mean, np.broadcast_to(layers.params[logstd], mean.shape)], axis=1))
            components.append(pd)
            d_mean, d_logstd = np.split(-pd.neglogp_grad(ac) / len(heads), 2, axis=1)  # of the mean log-density
            d_latent = d_latent + head_back(d_mean)
            layers.grads[logstd] = d_logstd.sum(axis=0)
        back(d_latent)
        logp = np.stack([-pd.neglogp(ac) for pd in components], axis=1)
        return {'means': np.stack([pd.mean for pd in components], axis=1),
                'logstds': np.stack([pd.logstd for pd in components], axis=1), 'component_logp': logp,
                'released_logp': logp.mean(axis=1), 'mixture_logp': mixture(logp), 'grad': flat(layers.grads, names)}
    return measured(answers, {'theta': released(part), 'obz': shared(part, 'obz'), 'ac': shared(part, 'actions')})


def stage(name, **kwargs):
    return STAGES.add(name, each=VARIANT, what='densities of the mixture policy', **kwargs)


@stage('means and log standard deviations')
def components(trace, part):
    pd = pd_of(part)
    yield pd.mean, part['means'], exact(part)['means']
    yield pd.logstd, np.broadcast_to(part['logstds'], pd.logstd.shape), exact(part)['logstds']


@stage('component log-densities')
def component_logp(trace, part):
    yield (pd_of(part).component_logp(actions(part)), part['component_log_density_f64'],
           exact(part)['component_logp'])


@stage('released log_prob', note="gmm_log_prob='released', the mean of the above")
def released_logp(trace, part):
    yield pd_of(part, 'released').logp(actions(part)), part['log_prob_authors'], exact(part)['released_logp']


@stage('mixture log-density', note='the trace has it in float64, of means in float32')
def mixture_logp(trace, part):
    yield pd_of(part).logp(actions(part)), part['true_mixture_log_density_f64'], exact(part)['mixture_logp']


@stage('gradient of released log_prob')
def gradient(trace, part):
    _, to_ours, theta = policy_of(part, 'released')
    with tf.GradientTape() as tape:
        tape.watch(theta)
        total = tf.reduce_sum(pd_of(part, 'released', theta).logp(actions(part)))
    yield (tape.gradient(total, theta), to_ours.ours(part['grad_sum_log_prob_flat']),
           exact(part)['grad'].map(to_ours.ours))
