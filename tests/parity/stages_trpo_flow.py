"""trpo_flow.npz: the paper's released flow policy, alone and in whole iterations of its TRPO.

The released log-density lacks the constant -d/2 log(2 pi): it is added to the trace's before comparing.
"""
import functools

import numpy as np
import stages_trpo as trpo
import tensorflow as tf
from exact import flow, returns
from exact.arithmetic import named
from exact.networks import Pass, observed
from harness import Stages, compiled_once, computed_once, iterations
from noise import measured
from stages_running_mean_std import sums

from onpolicybaselines.trpo_mpi.losses import make_functions

STAGES = Stages()
ALONE = 'the flow: forward, inverse, log-determinants, densities'


def alone(name, array, **kwargs):
    """A stage of the policy alone, at its first and its last parameters."""
    return STAGES.add(name, each=f'(init|final)_{array}', what=ALONE, **kwargs)


def stage(name, array, **kwargs):
    return STAGES.add(name, each=iterations(array), **kwargs)


def missing_constant(trace):
    return -0.5 * np.log(2 * np.pi) * trace['flow_masks'].shape[1]


# ---------------------------------------------------------------- the policy alone

def released(part):
    """The flat vector of the first or last parameters."""
    trace = part.trace
    return trace['pi_init_flat'] if part.label == 'init' else trace.variables('final_pi', trace['pi_var_names'])


@computed_once
def policy_at(part):
    """(normalised observations, distributions) at the probe states and the first or last parameters."""
    port = trpo.port_of(part.trace)
    pi, ob = port.pi, tf.constant(part['ob_raw'], port.pi.X.dtype)
    pi.ob_rms.mean.assign(part['rms_mean'])
    pi.ob_rms.std.assign(part['rms_std'])
    with pi._store.as_default():
        obz = pi._encode(ob)
    with pi.at(tf.constant(port.policy.ours(released(part)))):
        return obz, pi.pd(ob)


def layer_inputs(trace, part, forward):
    """The recorded input of each coupling, forward or (of the inverse of `probe_action_y`) backward, in that order."""
    outputs = part['fwd_layer_out' if forward else 'inv_layer_x'][:-1]
    first = trace['probe_noise_x' if forward else 'probe_action_y']
    inputs = np.concatenate([first[np.newaxis], outputs])
    after_first_coupling = 1 if forward else -1
    inputs[after_first_coupling] += after_first_coupling * part['state_embedding']
    return inputs


@functools.cache
def exact(part):
    """All of the policy alone."""
    trace = part.trace

    def answers(theta, mean, std, ob, noise, y, sampled, fwd_in, inv_in, entropy_noise):
        masks, obz = trace['flow_masks'].astype(theta.dtype), observed(ob, mean, std)
        params = named(theta, trace['pi_var_names'], trace['pi_var_shapes'])
        out = {'obz': obz, 'state': flow.state_vector(params, obz), 'forward': flow.forward(params, masks, obz, noise),
               'fwd_layers': np.array([flow.forward_coupling(params, mask, i, x)
                                       for i, (mask, x) in enumerate(zip(masks, fwd_in, strict=True))])}
        layers = [flow.inverse_coupling(Pass(params), masks[i], i, x)
                  for i, x in zip(reversed(range(len(masks))), inv_in, strict=True)]
        out |= {'inv_layers': np.array([x for x, *_ in layers]), 'inv_logdets': np.array([det for _, det, _ in layers])}
        for name, actions in (('inv', y), ('roundtrip', sampled)):
            x, logdet, _ = flow.inverse(Pass(params), masks, obz, actions)
            prior = flow.log_prior(x)
            out |= {f'{name}_x': x, f'{name}_logdet_sum': logdet, f'{name}_log_prior': prior,
                    f'{name}_log_prob': prior - logdet}
        tiled = np.tile(obz, (len(entropy_noise) // len(obz), 1))
        actions = flow.forward(params, masks, tiled, entropy_noise)
        x, logdet, _ = flow.inverse(Pass(params), masks, tiled, actions)
        return {**out, 'entropy': -returns.mean(flow.log_prior(x) - logdet)}
    return measured(answers, {
        'theta': released(part), 'mean': part['rms_mean'], 'std': part['rms_std'], 'ob': part['ob_raw'],
        'noise': trace['probe_noise_x'], 'y': trace['probe_action_y'], 'sampled': part['fwd_y'],
        'fwd_in': layer_inputs(trace, part, True), 'inv_in': layer_inputs(trace, part, False),
        'entropy_noise': trace['probe_entropy_noise']})


@alone('normalised observations', 'obz')
def normalised(trace, part):
    yield policy_at(part)[0], part['obz'], exact(part)['obz']


@alone('state vector', 'state_embedding')
def state_vector(trace, part):
    yield policy_at(part)[1].flatparam(), part['state_embedding'], exact(part)['state']


def per_coupling(trace, part, forward, function):
    couplings = policy_at(part)[1].couplings
    inputs = map(tf.constant, layer_inputs(trace, part, forward))
    return [function(c, x) for c, x in zip(couplings if forward else reversed(couplings), inputs, strict=True)]


@alone('forward map, per coupling', 'fwd_layer_out', note="from each coupling's recorded input")
def forward_layers(trace, part):
    ours = per_coupling(trace, part, True, lambda coupling, x: coupling.forward(x))
    yield from zip(ours, part['fwd_layer_out'], exact(part)['fwd_layers'], strict=True)


@alone('forward map', 'fwd_y')
def forward(trace, part):
    yield policy_at(part)[1].sample(tf.constant(trace['probe_noise_x'])), part['fwd_y'], exact(part)['forward']


@alone('inverse, per coupling', 'inv_layer_x', note="from each coupling's recorded input")
def inverse_layers(trace, part):
    ours = per_coupling(trace, part, False, lambda coupling, y: coupling.inverse(y))
    yield from zip(ours, part['inv_layer_x'], exact(part)['inv_layers'], strict=True)


@alone('log-determinant, per coupling', 'inv_layer_logdet', note="from each coupling's recorded input")
def layer_logdets(trace, part):
    ours = per_coupling(trace, part, False, lambda coupling, y: -coupling.inverse_log_det_jacobian(y, event_ndims=1))
    yield from zip(ours, part['inv_layer_logdet'], exact(part)['inv_logdets'], strict=True)


def density(trace, part, y, which):
    """The inverse of `y` as a whole and what it gives, against the arrays `which_*`."""
    dist, answers = policy_at(part)[1].dist, exact(part)
    x = dist.bijector.inverse(y)
    yield x, part[f'{which}_x'], answers[f'{which}_x']
    yield (-dist.bijector.inverse_log_det_jacobian(y, event_ndims=1), part[f'{which}_logdet_sum'],
           answers[f'{which}_logdet_sum'])
    yield (dist.distribution.log_prob(x), part[f'{which}_log_prior'] + missing_constant(trace),
           answers[f'{which}_log_prior'])
    yield dist.log_prob(y), part[f'{which}_log_prob'] + missing_constant(trace), answers[f'{which}_log_prob']


@alone('inverse and log-probability', 'inv_log_prob', note='constant -d/2 log(2 pi) added')
def log_probability(trace, part):
    yield from density(trace, part, tf.constant(trace['probe_action_y']), 'inv')


@alone('the same of forward samples', 'roundtrip_log_prob', note='constant -d/2 log(2 pi) added')
def roundtrip(trace, part):
    yield from density(trace, part, tf.constant(part['fwd_y']), 'roundtrip')


@alone('sampled entropy', 'entropy', note='recorded noise; constant d/2 log(2 pi) added')
def entropy(trace, part):
    noise = trace['probe_entropy_noise']
    estimates = policy_at(part)[1].sampled_entropy(len(noise) // len(part['ob_raw']), tf.constant(noise))
    yield tf.reduce_mean(estimates), part['entropy'] - missing_constant(trace), exact(part)['entropy']


# ---------------------------------------------------------------- whole iterations

trpo.batch_stages(STAGES)


@stage('filter: update', 'update_pi_rms_sum', what='statistics of the observation filters')
def filter_update(trace, part):
    """From the filter of sampling, with the batch, to the filter of the update, new and old policy alike."""
    port = trpo.port_of(trace)
    port.use_filter(part, 'sampling')
    port.pi.ob_rms.update(part['ob'])
    names = ('sum', 'sumsq', 'count')
    before = {name: part[f'sampling_pi_rms_{name}'] for name in names}
    answers = measured(lambda ob, **old: dict(zip(names, returns.sums(ob, tuple(old.values())), strict=True)),
                       {'ob': part['ob'].astype('float64'), **before}, rows=('ob',), precision='float64')
    for which in ('pi', 'oldpi'):
        for name, value in sums(port.pi.ob_rms.state()).items():
            yield value, part[f'update_{which}_rms_{name}'], answers[name]


@stage('entries without effect', 'g', what='entries of the released vectors that the port lacks',
       note='no gradient, curvature or step in the original either, but for the damping of one product')
def masked_entries(trace, part):
    dropped = trpo.port_of(trace).policy.dropped
    assert len(dropped)
    yield part['g'][dropped], np.zeros(len(dropped))
    yield part['probe_fvp'][:, dropped], np.zeros((len(part['probe_fvp']), len(dropped)))
    yield np.float32(trace['hp_cg_damping']) * part['cg_p'][:, dropped], part['cg_Ap'][:, dropped]
    yield part['stepdir'][dropped], np.zeros(len(dropped))


trpo.update_stages(STAGES)


@functools.cache
def exact_logp(part):
    policy = trpo.policy_of(part.trace)

    def answers(rms_mean, rms_std, ob, ac, **thetas):
        obz = observed(ob, rms_mean, rms_std)
        return {when: policy.log_prob(policy.layers(theta), obz, ac)[0] for when, theta in thetas.items()}
    return measured(answers, {**trpo.filter_inputs(part), 'ob': part['ob'], 'ac': part['ac'],
                              **{when: part[f'pi_flat_{when}'] for when in ('before', 'after')}})


@stage('log-probabilities after', 'logp_old_after_update', what=ALONE, note='constant -d/2 log(2 pi) added')
def logp_after(trace, part):
    port = trpo.port_of(trace)
    port.use_filter(part)
    ob, ac = tf.constant(part['ob'], port.pi.X.dtype), tf.constant(part['ac'])
    for which, when in (('old', 'before'), ('new', 'after')):
        with port.pi.at(tf.constant(port.policy.ours(part[f'pi_flat_{when}']))):
            logp = port.pi.pd(ob).logp(ac)
        yield logp, part[f'logp_{which}_after_update'] + missing_constant(trace), exact_logp(part)[when]


@compiled_once
def correct_hessian(trace):
    return make_functions(trpo.port_of(trace).pi, fisher='hessian').compute_fvp


@stage('distance to the correct Hessian', 'probe_fvp', what='Fisher-vector products', information=True,
       note="how far fisher='hessian' is from the released products; must exceed 1e-3")
def distance_to_hessian(trace, part):
    port = trpo.port_of(trace)
    port.use_filter(part)
    theta, ob, ac = port.theta(part), part['ob'][trpo.FVP_ROWS], part['ac'][trpo.FVP_ROWS]
    correct = np.array([correct_hessian(trace)(p, theta, ob, ac) for p in port.policy.ours(part['probe_p'])])
    released = port.policy.ours(part['probe_fvp'])
    assert np.linalg.norm(correct - released) > 1e-3 * np.linalg.norm(released), "fisher='released' would be needless"
    answers = trpo.exact_products(part, 'probe_p', False).map(lambda products: products[:, port.policy.index])
    yield correct, released, answers


STAGES.add('dropped segment: given up', each=r'(skip\d+)_shs', what=trpo.STEP,
           note='curvature below 0, parameters unchanged; recorded gradient and products')(trpo.dropped_segment)
