"""trpo_flow.npz: the paper's released flow policy, alone and in whole iterations of its TRPO.

The released log-density lacks the constant -d/2 log(2 pi): it is added to the trace's before comparing.
"""
import functools

import numpy as np
import stages_trpo as trpo
import tensorflow as tf
from harness import Stages, iterations
from stages_running_mean_std import sums

from onpolicybaselines.trpo_mpi.losses import make_functions

STAGES = Stages()


def stage(name, array, compute, **kwargs):
    STAGES.add(name, each=iterations(array), **kwargs)(compute)


def alone(name, array, **kwargs):
    """A stage of the policy alone, at its first and its last parameters."""
    return STAGES.add(name, each=f'(init|final)_{array}', **kwargs)


def missing_constant(trace):
    return -0.5 * np.log(2 * np.pi) * trace['flow_masks'].shape[1]


# ---------------------------------------------------------------- the policy alone

@functools.cache
def policy_at(part):
    """(normalised observations, distributions) at the probe states and the first or last parameters."""
    trace, port = part.trace, trpo.port_of(part.trace)
    pi, ob = port.pi, tf.constant(part['ob_raw'], port.pi.X.dtype)
    pi.ob_rms.mean.assign(part['rms_mean'])
    pi.ob_rms.std.assign(part['rms_std'])
    released = trace['pi_init_flat'] if part.label == 'init' else trace.variables('final_pi', trace['pi_var_names'])
    with pi._store.as_default():
        obz = pi._encode(ob)
    with pi.at(tf.constant(port.policy.ours(released))):
        return obz, pi.pd(ob)


def layer_inputs(trace, part, forward):
    """The recorded input of each coupling, forward or (of the inverse of `probe_action_y`) backward, in that order."""
    outputs = part['fwd_layer_out' if forward else 'inv_layer_x'][:-1]
    first = trace['probe_noise_x' if forward else 'probe_action_y']
    inputs = np.concatenate([first[np.newaxis], outputs])
    after_first_coupling = 1 if forward else -1
    inputs[after_first_coupling] += after_first_coupling * part['state_embedding']
    return map(tf.constant, inputs)


@alone('normalised observations', 'obz', rtol=1e-5, norm=True,
       reason='float32; the mean is subtracted')
def normalised(trace, part):
    yield policy_at(part)[0], part['obz']


@alone('state vector', 'state_embedding', rtol=1e-5, reason='float32')
def state_vector(trace, part):
    yield policy_at(part)[1].flatparam(), part['state_embedding']


@alone('forward map, per coupling', 'fwd_layer_out', rtol=1e-5, reason="float32; from each coupling's recorded input")
def forward_layers(trace, part):
    couplings = policy_at(part)[1].couplings
    yield [c.forward(x) for c, x in zip(couplings, layer_inputs(trace, part, True), strict=True)], part['fwd_layer_out']


@alone('forward map', 'fwd_y', rtol=1e-5, reason='float32')
def forward(trace, part):
    yield policy_at(part)[1].sample(tf.constant(trace['probe_noise_x'])), part['fwd_y']


@alone('inverse, per coupling', 'inv_layer_x', rtol=1e-5, reason="float32; from each coupling's recorded input")
def inverse_layers(trace, part):
    couplings = reversed(policy_at(part)[1].couplings)
    yield [c.inverse(y) for c, y in zip(couplings, layer_inputs(trace, part, False), strict=True)], part['inv_layer_x']


@alone('log-determinant, per coupling', 'inv_layer_logdet', rtol=1e-5,
       reason="float32; from each coupling's recorded input")
def layer_logdets(trace, part):
    couplings = reversed(policy_at(part)[1].couplings)
    yield [-c.inverse_log_det_jacobian(y, event_ndims=1)
           for c, y in zip(couplings, layer_inputs(trace, part, False), strict=True)], part['inv_layer_logdet']


def density(trace, part, y, which):
    """The inverse of `y` as a whole and what it gives, against the arrays `which_*`."""
    dist = policy_at(part)[1].dist
    x = dist.bijector.inverse(y)
    yield x, part[f'{which}_x']
    yield -dist.bijector.inverse_log_det_jacobian(y, event_ndims=1), part[f'{which}_logdet_sum']
    yield dist.distribution.log_prob(x), part[f'{which}_log_prior'] + missing_constant(trace)
    yield dist.log_prob(y), part[f'{which}_log_prob'] + missing_constant(trace)


@alone('inverse and log-probability', 'inv_log_prob', rtol=1e-5, reason='float32; constant -d/2 log(2 pi) added')
def log_probability(trace, part):
    yield from density(trace, part, tf.constant(trace['probe_action_y']), 'inv')


@alone('the same of forward samples', 'roundtrip_log_prob', rtol=1e-5,
       reason='float32; constant -d/2 log(2 pi) added')
def roundtrip(trace, part):
    yield from density(trace, part, tf.constant(part['fwd_y']), 'roundtrip')
    yield policy_at(part)[1].dist.bijector.inverse(tf.constant(part['fwd_y'])), trace['probe_noise_x']


@alone('sampled entropy', 'entropy', rtol=1e-5, reason='float32 mean; recorded noise; constant d/2 log(2 pi) added')
def entropy(trace, part):
    noise = trace['probe_entropy_noise']
    estimates = policy_at(part)[1].sampled_entropy(len(noise) // len(part['ob_raw']), tf.constant(noise))
    yield tf.reduce_mean(estimates), part['entropy'] - missing_constant(trace)


# ---------------------------------------------------------------- whole iterations

def filter_update(trace, part):
    """From the filter of sampling, with the batch, to the filter of the update, new and old policy alike."""
    port = trpo.port_of(trace)
    port.use_filter(part, 'sampling')
    port.pi.ob_rms.update(part['ob'])
    for which in ('pi', 'oldpi'):
        for name, value in sums(port.pi.ob_rms.state()).items():
            yield value, part[f'update_{which}_rms_{name}']


def masked_entries(trace, part):
    """Entries of the released vectors that the port lacks: no gradient, no curvature but the damping, no step."""
    dropped = trpo.port_of(trace).policy.dropped
    assert len(dropped)
    yield part['g'][dropped], np.zeros(len(dropped))
    yield part['probe_fvp'][:, dropped], np.zeros((len(part['probe_fvp']), len(dropped)))
    yield part['cg_Ap'][:, dropped], trace['hp_cg_damping'] * part['cg_p'][:, dropped]
    yield part['stepdir'][dropped], np.zeros(len(dropped))


def logp_after(trace, part):
    port = trpo.port_of(trace)
    port.use_filter(part)
    ob, ac = tf.constant(part['ob'], port.pi.X.dtype), tf.constant(part['ac'])
    for which, when in (('old', 'before'), ('new', 'after')):
        with port.pi.at(tf.constant(port.policy.ours(part[f'pi_flat_{when}']))):
            logp = port.pi.pd(ob).logp(ac)
        yield logp, part[f'logp_{which}_after_update'] + missing_constant(trace)


@functools.cache
def correct_hessian(trace):
    return make_functions(trpo.port_of(trace).pi, fisher='hessian').compute_fvp


def distance_to_hessian(trace, part):
    port = trpo.port_of(trace)
    port.use_filter(part)
    theta, ob, ac = port.theta(part), part['ob'][trpo.FVP_ROWS], part['ac'][trpo.FVP_ROWS]
    correct = np.array([correct_hessian(trace)(p, theta, ob, ac) for p in port.policy.ours(part['probe_p'])])
    released = port.policy.ours(part['probe_fvp'])
    assert np.linalg.norm(correct - released) > 1e-3 * np.linalg.norm(released), "fisher='released' would be needless"
    yield correct, released


stage('filter: mean and std', r'(?:\w+_)?pi_rms_sum', trpo.filter_state, rtol=1e-6, reason='one float32 difference')
stage('filter: update', 'update_pi_rms_sum', filter_update, rtol=1e-12, atol=1e-9, reason='float64 sums over the batch')
stage('value predictions', 'vpred', trpo.vpred, rtol=1e-5, norm=True, reason='float32; filter of sampling')
stage('advantages and returns', 'adv', trpo.advantages, rtol=1e-5, norm=True,
      reason='float32 recursion; in the norm, as elements near 0 are differences of large ones')
stage('entries without effect', 'g', masked_entries, rtol=1e-6, atol=0,
      reason='0 in the trace, but for one product with the damping')
stage('losses before', 'lossbefore', trpo.lossbefore, rtol=1e-5,
      reason="float32; the port's means are float64; entropy left out: its noise was not recorded")
stage('gradient', 'g', trpo.gradient, rtol=1e-5, norm=True, reason='float32')
stage('Fisher-vector products: probes', 'probe_fvp', trpo.probe_fvp, rtol=1e-4, norm=True,
      reason="float32, second derivatives; fisher='released'")
stage('Fisher-vector products: CG', 'cg_Ap', trpo.cg_products, rtol=1e-4, norm=True,
      reason='as the probes, damping included; at the recorded directions')
stage('distance to the correct Hessian', 'probe_fvp', distance_to_hessian, rtol=None, norm=True,
      reason="information: how far fisher='hessian' is from the released products; must exceed 1e-3")
stage('CG, recorded products fed in', 'cg_Ap', trpo.cg_replayed, rtol=trpo.summation_order, norm=True,
      reason='1e-4, or 10 x the change when float32 sums are taken in other orders')
stage('CG direction', 'stepdir', trpo.stepdir, rtol=trpo.recorded_sensitivity, norm=True,
      reason='1e-4, or 10 x the recorded change for a change of b by 1e-6; above a tenth no bound: indefinite')
stage('shs', 'shs', trpo.shs, rtol=1e-4, reason='float32, second derivatives; from the recorded direction')
stage('lm and expected improvement', 'lm', trpo.step_scale, rtol=1e-4, reason='float32; recorded products fed in')
stage('full step', 'fullstep', trpo.full_step, rtol=trpo.summation_order, norm=True,
      reason='as CG, recorded products fed in')
stage('line search: losses of trials', 'linesearch_losses', trpo.trial_losses, rtol=1e-4,
      reason='float32; along the recorded full step')
stage('line search: step size', 'accepted_stepsize', trpo.accepted_stepsize, rtol=0, atol=0,
      reason='a power of 1/2, and the number of trials; along the recorded full step')
stage('policy parameters after', 'pi_flat_after', trpo.policy_after, rtol=1e-6, atol=1e-7,
      reason='two float32 operations; along the recorded full step')
stage('policy change', 'pi_flat_after', trpo.whole_update, rtol=trpo.summation_order, norm=True,
      reason='whole update, recorded products fed in to CG')
stage('policy change, all by the port', 'pi_flat_after', trpo.unaided_update, rtol=trpo.recorded_sensitivity, norm=True,
      reason='whole update, nothing fed in: as the CG direction')
stage('log-probabilities after', 'logp_old_after_update', logp_after, rtol=1e-5,
      reason='float32; constant -d/2 log(2 pi) added')
STAGES.add('dropped segment: given up', each=r'(skip\d+)_shs', rtol=0, atol=0,
           reason='curvature below 0, parameters unchanged; recorded products fed in')(trpo.dropped_segment)
stage('value fit: first gradient', 'vf_grad_first', trpo.value_gradient_first, rtol=1e-5, norm=True,
      reason='float32; filter of the update')
stage('value fit: last gradient', 'vf_grad_last', trpo.value_gradient_last, rtol=1e-5, norm=True,
      reason='float32, after all other minibatches')
stage('value parameters, change', 'vf_flat_after', trpo.value_change, rtol=1e-5, norm=True,
      reason='float32, all minibatches in the recorded order')
stage('Adam moments after', 'adam_m_after', trpo.adam_moments, rtol=1e-5, norm=True,
      reason='float32, all minibatches in the recorded order')
stage('Adam time after', 'adam_t_after', trpo.adam_time, rtol=0, atol=0, reason='a counter')
