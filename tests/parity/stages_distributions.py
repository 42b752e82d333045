"""distributions.npz: upstream's four families of action distributions, parameters given."""
import functools

import gymnasium as gym
import numpy as np
import tensorflow as tf
from exact.densities import Bernoulli, Categorical, Gaussian, MultiCategorical
from harness import Stages
from noise import Exact, measured

from onpolicybaselines.common.distributions import make_pdtype

STAGES = Stages()
FAMILY = r'(diag|cat|multicat|bern)_p_flat'


def pdtype_of(trace, family):
    size = family['p_flat'].shape[1]
    return make_pdtype({
        'diag': lambda: gym.spaces.Box(-1., 1., (size // 2,)),
        'cat': lambda: gym.spaces.Discrete(size),
        'multicat': lambda: gym.spaces.MultiDiscrete(trace['multicat_nvec']),
        'bern': lambda: gym.spaces.MultiBinary(size),
    }[family.label]())


def p_and_q(trace, family):
    pdtype = pdtype_of(trace, family)
    return [pdtype.pdfromflat(tf.constant(family[f'{name}_flat'])) for name in 'pq']


@functools.cache
def exact(family):
    kind = {'diag': Gaussian, 'cat': Categorical, 'bern': Bernoulli,
            'multicat': lambda flat: MultiCategorical(flat, family.trace['multicat_nvec'])}[family.label]

    def answers(p, q, x):
        p, q = kind(p), kind(q)
        return {'p_neglogp': p.neglogp(x), 'q_neglogp': q.neglogp(x), 'p_logp': -p.neglogp(x),
                'kl_pq': p.kl(q), 'kl_qp': q.kl(p), 'kl_pp': p.kl(p), 'p_entropy': p.entropy(),
                'q_entropy': q.entropy(), 'neglogp_grad': p.neglogp_grad(x), 'entropy_grad': p.entropy_grad(),
                'kl_grad': p.kl_grad(q),
                **{f'{name}_{what}': getattr(pd, what) for name, pd in (('p', p), ('q', q))
                   for what in ('mean', 'logstd', 'std') if hasattr(pd, what)}}
    return measured(answers, {'p': family['p_flat'], 'q': family['q_flat'], 'x': family['x']})


def recorded(family, **ours):
    for name, array in ours.items():
        yield array, family[name], exact(family)[name]


@STAGES.add('log-probability', each=FAMILY, what='log-probabilities of actions')
def logp(trace, family):
    p, q = p_and_q(trace, family)
    x = tf.constant(family['x'])
    yield from recorded(family, p_neglogp=p.neglogp(x), q_neglogp=q.neglogp(x), p_logp=p.logp(x))


@STAGES.add('KL divergence', each=FAMILY, what='KL divergences')
def kl(trace, family):
    p, q = p_and_q(trace, family)
    yield from recorded(family, kl_pq=p.kl(q), kl_qp=q.kl(p))
    yield p.kl(p), family['kl_pp'], Exact(np.zeros(family['kl_pp'].shape), exact(family)['kl_pp'].others)


@STAGES.add('entropy', each=FAMILY, what='entropies')
def entropy(trace, family):
    p, q = p_and_q(trace, family)
    yield from recorded(family, p_entropy=p.entropy(), q_entropy=q.entropy())


@STAGES.add('mode', each=FAMILY, what='most probable actions')
def mode(trace, family):
    p, q = p_and_q(trace, family)
    yield p.mode(), family['p_mode']
    yield q.mode(), family['q_mode']


@STAGES.add('mode at one half', each='(bern)_p_flat', what='most probable actions',
            note='the original rounds half to even, to 0: at logit 0, which may not occur in the trace')
def mode_at_one_half(trace, family):
    flat = np.zeros_like(family['p_flat'])
    yield pdtype_of(trace, family).pdfromflat(tf.constant(flat)).mode(), np.zeros_like(family['p_mode'])


@STAGES.add('parameters', each=FAMILY, what='means and standard deviations')
def parameters(trace, family):
    p, q = p_and_q(trace, family)
    yield p.flatparam(), family['p_flatparam']
    yield from recorded(family, **{f'{prefix}_{name}': getattr(pd, name) for prefix, pd in (('p', p), ('q', q))
                                   for name in ('mean', 'logstd', 'std') if f'{prefix}_{name}' in family})


@STAGES.add('gradients', each=FAMILY, what='gradients of log-probabilities, entropies, KL divergences')
def gradients(trace, family):
    """Of batch sums: of -log p(x) and the entropy by p's parameters, of KL(p || q) by q's."""
    pdtype, x = pdtype_of(trace, family), tf.constant(family['x'])
    flats = {name: tf.constant(family[f'{name}_flat']) for name in 'pq'}

    def gradient(name, loss):
        with tf.GradientTape() as tape:
            tape.watch(flats[name])
            value = tf.reduce_sum(loss(*(pdtype.pdfromflat(flats[n]) for n in 'pq')))
        return tape.gradient(value, flats[name])

    known = exact(family)
    yield gradient('p', lambda p, q: p.neglogp(x)), family['grad_sum_p_neglogp_wrt_pflat'], known['neglogp_grad']
    yield gradient('p', lambda p, q: p.entropy()), family['grad_sum_p_entropy_wrt_pflat'], known['entropy_grad']
    yield gradient('q', lambda p, q: p.kl(q)), family['grad_sum_kl_pq_wrt_qflat'], known['kl_grad']
