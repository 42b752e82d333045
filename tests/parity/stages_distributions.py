"""distributions.npz: upstream's four families of action distributions, parameters given."""
import gymnasium as gym
import numpy as np
import tensorflow as tf
from harness import Stages

from onpolicybaselines.common.distributions import make_pdtype

STAGES = Stages()
FAMILY = r'(diag|cat|multicat|bern)_p_flat'
FLOAT32 = 'float32, a few elementary functions'


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


@STAGES.add('log-probability', each=FAMILY, rtol=1e-5, reason=FLOAT32)
def logp(trace, family):
    p, q = p_and_q(trace, family)
    x = tf.constant(family['x'])
    yield p.neglogp(x), family['p_neglogp']
    yield q.neglogp(x), family['q_neglogp']
    yield p.logp(x), family['p_logp']


@STAGES.add('KL divergence', each=FAMILY, rtol=1e-5, reason=FLOAT32)
def kl(trace, family):
    p, q = p_and_q(trace, family)
    yield p.kl(q), family['kl_pq']
    yield q.kl(p), family['kl_qp']
    yield p.kl(p), family['kl_pp']


@STAGES.add('entropy', each=FAMILY, rtol=1e-5, reason=FLOAT32)
def entropy(trace, family):
    p, q = p_and_q(trace, family)
    yield p.entropy(), family['p_entropy']
    yield q.entropy(), family['q_entropy']


@STAGES.add('mode', each=FAMILY, rtol=0, atol=0, reason='no arithmetic, or rounding to integers (half to even)')
def mode(trace, family):
    p, q = p_and_q(trace, family)
    yield p.mode(), family['p_mode']
    yield q.mode(), family['q_mode']


@STAGES.add('mode at one half', each='(bern)_p_flat', rtol=0, atol=0,
            reason='the original rounds half to even, to 0: checked at logit 0, which may not occur in the trace')
def mode_at_one_half(trace, family):
    flat = np.zeros_like(family['p_flat'])
    yield pdtype_of(trace, family).pdfromflat(tf.constant(flat)).mode(), np.zeros_like(family['p_mode'])


@STAGES.add('parameters', each=FAMILY, rtol=1e-6, reason='float32, at most one elementary function')
def parameters(trace, family):
    p, q = p_and_q(trace, family)
    yield p.flatparam(), family['p_flatparam']
    for name in ('mean', 'logstd', 'std'):
        for prefix, pd in (('p', p), ('q', q)):
            if f'{prefix}_{name}' in family:
                yield getattr(pd, name), family[f'{prefix}_{name}']


@STAGES.add('gradients', each=FAMILY, rtol=1e-5, norm=True, reason=FLOAT32)
def gradients(trace, family):
    """Of batch sums: of -log p(x) and the entropy by p's parameters, of KL(p || q) by q's."""
    pdtype, x = pdtype_of(trace, family), tf.constant(family['x'])
    flats = {name: tf.constant(family[f'{name}_flat']) for name in 'pq'}

    def gradient(name, loss):
        with tf.GradientTape() as tape:
            tape.watch(flats[name])
            value = tf.reduce_sum(loss(*(pdtype.pdfromflat(flats[n]) for n in 'pq')))
        return tape.gradient(value, flats[name])

    yield gradient('p', lambda p, q: p.neglogp(x)), family['grad_sum_p_neglogp_wrt_pflat']
    yield gradient('p', lambda p, q: p.entropy()), family['grad_sum_p_entropy_wrt_pflat']
    yield gradient('q', lambda p, q: p.kl(q)), family['grad_sum_kl_pq_wrt_qflat']
