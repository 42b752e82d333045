"""What the TRPO traces have in common: the port at the recorded parameters, and the stages of one iteration.

Every stage starts from recorded inputs, so that no error of an earlier one is counted again, for the port as for the
exact answer. Exact answers are of the released layout of parameters; entries that the port lacks are left out.
"""
import functools
import types
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from exact import trpo as exact
from exact.networks import observed
from exact.returns import mean_and_std
from harness import Stages, compiled_once, computed_once, iterations, spaces_of
from mapping import RELEASED_VALUE, SAME_NAMES, mapping, released_flow
from noise import distance, measured
from stages_gae import advantages_of, exact_advantages

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common import mpi_fit
from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.trpo_mpi import losses, trust_region

FVP_ROWS = slice(None, None, 5)  # the originals' subsample


class Port:
    """The policy of one trace with compiled functions of flat vectors, and the mappings of its parameters."""

    def __init__(self, trace):
        names = trace['pi_var_names'].tolist()
        self.is_flow = any('Nlayer' in name for name in names)
        self.trace = trace
        self.pi = build_policy(spaces_of(trace['it0_ob'], trace['it0_ac']), 'mlp', value_network='copy',
                               normalize_observations=True, **self._policy_kwargs(trace))(np.random.default_rng(0))
        ent_coef = trace['hp_entcoeff' if self.is_flow else 'hp_ent_coef']
        self.functions = losses.make_functions(self.pi, float(ent_coef), 'released' if self.is_flow else 'hessian')
        self.policy = mapping(self.pi.var_list, trace['pi_var_names'], trace['pi_var_shapes'],
                              released_flow(trace['flow_masks']) if self.is_flow else SAME_NAMES)
        self.value = mapping(self.pi.vf_var_list, trace['vf_var_names'], trace['vf_var_shapes'],
                             RELEASED_VALUE if self.is_flow else SAME_NAMES)
        self.set_policy, self.set_value = U.SetFromFlat(self.pi.var_list), U.SetFromFlat(self.pi.vf_var_list)
        self.get_value = U.GetFlat(self.pi.vf_var_list)
        thvf, ret = tf.TensorSpec(self.get_value().shape), tf.TensorSpec([None])
        self.compute_vfgrad = U.function(self.functions.compute_vflossandgrad, thvf, self.pi.X, ret)
        self.fit_value = lambda adam: mpi_fit.minimize(adam, self.functions.compute_vflossandgrad, self.pi.X, ret)

    def _policy_kwargs(self, trace):
        shapes = dict(zip(trace['vf_var_names'].tolist(), trace['vf_var_shapes'], strict=True))
        weights = [shape for name, shape in shapes.items() if name.endswith('.w')]
        network = {'num_layers': len(weights) - 1, 'num_hidden': int(weights[0][1])}
        if not self.is_flow:
            return network
        if trace['flow_masks'].shape[1] == 1:
            pytest.skip('with one action dimension the port has free parameters where the original has networks of '
                        'nothing: the parameter vectors cannot be mapped')
        shapes = dict(zip(trace['pi_var_names'].tolist(), trace['pi_var_shapes'], strict=True))
        return {**network, 'policy': 'flow', 'flow_layers': len(trace['flow_masks']) // 2,
                'flow_units': int(shapes['policy.Nlayer_0.s.dense_1.kernel'][1]),
                'flow_state_units': int(shapes['policy.statelayer.dense_1.kernel'][1])}

    def use_filter(self, part, when='update'):
        """Normalise as the recorded iteration did; only the flow's filter moves between sampling and update."""
        name = f'{when}_pi_rms' if self.is_flow else 'pi_rms'
        self.pi.ob_rms.set_state({key: part[f'{name}_{key}'] for key in ('sum', 'sumsq', 'count')})

    def theta(self, part):
        """The policy's parameters before the update."""
        return self.policy.ours(part.trace.variables(f'{part.label}_pi_before', part.trace['pi_var_names']))

    def fvp(self, part):
        """The function p -> F p of the iteration, on the rows that the originals take, without damping."""
        self.use_filter(part)
        theta, ob, ac = self.theta(part), part['ob'][FVP_ROWS], part['ac'][FVP_ROWS]
        return lambda p: self.functions.compute_fvp(p, theta, ob, ac)

    def batch(self, part):
        """(ob, ac, atarg, noise); the noise of the sampled entropy was not recorded, so it is zero."""
        return part['ob'], part['ac'], part['atarg'], np.zeros((len(part['ob']), self.pi.pdtype.noise_size), 'float32')

    def compared(self, values):
        """Losses to compare, one by one: all but the flow's entropy, which used noise that was not recorded."""
        names = self.trace['loss_names'].tolist()
        assert names == losses.loss_names
        return [value for value, name in zip(values, names, strict=True) if name != 'entropy' or not self.is_flow]


@compiled_once
def port_of(trace):
    """One port per trace: its functions are compiled once."""
    return Port(trace)


# ---------------------------------------------------------------- exact answers

def is_flow(trace):
    return 'flow_masks' in trace


@functools.cache
def policy_of(trace):
    """The exact policy."""
    variables = trace['pi_var_names'], trace['pi_var_shapes']
    return exact.FlowPolicy(*variables, trace['flow_masks']) if is_flow(trace) else exact.GaussianPolicy(*variables)


def filter_inputs(part, when='update'):
    """Mean and standard deviation of the filter, as recorded."""
    name = f'{when}_pi_rms' if is_flow(part.trace) else 'pi_rms'
    return {'rms_mean': part[f'{name}_mean'], 'rms_std': part[f'{name}_std']}


def batch_inputs(part, rows=slice(None)):
    """What losses and products are functions of."""
    theta = part.trace.variables(f'{part.label}_pi_before', part.trace['pi_var_names'])
    return {'theta': theta, **filter_inputs(part), **{name: part[name][rows] for name in ('ob', 'ac')}}


def damping_of(trace):
    return float(trace['hp_cg_damping'])


def products_at(trace, damping=0.):
    """function(theta, ..., v) -> {'product': (F + damping) v for each row of v}."""
    def answers(theta, rms_mean, rms_std, ob, ac, v):
        product = exact.fisher_product(policy_of(trace), theta, observed(ob, rms_mean, rms_std), ac, damping)
        return {'product': np.array([product(p) for p in v])}
    return answers


@functools.cache
def exact_products(part, directions, damped):
    inputs = {**batch_inputs(part, FVP_ROWS), 'v': np.atleast_2d(part[directions])}
    return measured(products_at(part.trace, damping_of(part.trace) if damped else 0.), inputs, rows=('ob', 'ac'),
                    draws=3)['product']


@functools.cache
def exact_gradient(part):
    trace = part.trace
    ent_coef = float(trace['hp_entcoeff' if is_flow(trace) else 'hp_ent_coef'])

    def answers(theta, rms_mean, rms_std, ob, ac, atarg):
        obz = observed(ob, rms_mean, rms_std)
        return {'losses': exact.losses(policy_of(trace), theta, theta, obz, ac, atarg, ent_coef),
                'g': exact.gradient(policy_of(trace), theta, obz, ac, atarg)}
    assert ent_coef == 0, 'the exact gradient has no entropy bonus'
    return measured(answers, {**batch_inputs(part), 'atarg': part['atarg']}, rows=('ob', 'ac', 'atarg'))


@functools.cache
def exact_step(part, fed):
    """The step from the recorded gradient and products (fed), or from nothing but batch and parameters."""
    trace = part.trace
    max_kl, damping = float(trace['hp_max_kl']), damping_of(trace)
    iterations = len(part['cg_Ap']) if fed else int(trace['hp_cg_iters'])

    def answers(theta, rms_mean, rms_std, ob, ac, atarg, g, Ap):
        obz, policy = observed(ob, rms_mean, rms_std), policy_of(trace)
        if not fed:
            g = exact.gradient(policy, theta, obz, ac, atarg)
        product = exact.fisher_product(policy, theta, obz[FVP_ROWS], ac[FVP_ROWS], damping)
        return exact.natural_step(product, g, iterations, max_kl, Ap if fed else None)
    inputs = {**batch_inputs(part), 'atarg': part['atarg'], 'g': part['g'], 'Ap': part['cg_Ap']}
    return measured(answers, inputs, draws=4)


def undetermined(part):
    """Whether rounding alone decides what CG finds from nothing but batch and parameters: no first digit is sure.

    The released flow's Fisher matrix is indefinite.
    """
    found, recorded = exact_step(part, False)['x'], part['stepdir']
    return max(found.noise, distance(recorded, found.value)) > distance(found.value, 0) / 10


@functools.cache
def exact_shs(part):
    def answers(stepdir, **batch):
        product = products_at(part.trace, damping_of(part.trace))(v=stepdir[np.newaxis], **batch)['product'][0]
        return {'shs': exact.dot(stepdir, product) / 2}
    return measured(answers, {**batch_inputs(part, FVP_ROWS), 'stepdir': part['stepdir']}, rows=('ob', 'ac'))['shs']


@functools.cache
def exact_search(part):
    """Losses of every recorded trial, and the parameters of the accepted one."""
    trace, sizes = part.trace, part['linesearch_stepsizes']

    def answers(theta, rms_mean, rms_std, ob, ac, atarg, fullstep):
        obz = observed(ob, rms_mean, rms_std)
        return {'losses': np.array([exact.losses(policy_of(trace), theta + fullstep * float(size), theta, obz, ac,
                                                 atarg) for size in sizes]),
                'theta': theta + fullstep * float(part['accepted_stepsize'])}
    inputs = {**batch_inputs(part), 'atarg': part['atarg'], 'fullstep': part['fullstep']}
    return measured(answers, inputs, rows=('ob', 'ac', 'atarg'), draws=3)


@functools.cache
def exact_value(part):
    """Values before the update, of the filter of sampling."""
    trace = part.trace

    def answers(theta, rms_mean, rms_std, ob):
        return {'vpred': exact.value(theta, trace['vf_var_names'], trace['vf_var_shapes'],
                                     observed(ob, rms_mean, rms_std))}
    return measured(answers, {'theta': part['vf_flat_before'], **filter_inputs(part, 'sampling'), 'ob': part['ob']})


@functools.cache
def exact_fit(part):
    trace, before = part.trace, previous(part)
    moments = {name: before[f'adam_{name}_after'] if before else 0 * part['vf_flat_before'] for name in 'mv'}

    def answers(theta, m, v, rms_mean, rms_std, ob, target):
        return exact.value_fit(theta, m, v, observed(ob, rms_mean, rms_std), target,
                               t=int(before['adam_t_after']) if before else 0, minibatches=part['vf_minibatch_inds'],
                               names=trace['vf_var_names'], shapes=trace['vf_var_shapes'],
                               stepsize=float(trace['hp_vf_stepsize']))
    return measured(answers, {'theta': part['vf_flat_before'], **moments, **filter_inputs(part), 'ob': part['ob'],
                              'target': part['tdlamret']})


def previous(part):
    """The iteration before, if its value fit was recorded."""
    before = part.trace.part(f'it{int(part.label.removeprefix("it")) - 1}')
    return before if 'adam_t_after' in before else None


# ---------------------------------------------------------------- the batch

def filter_state(trace, part):
    """mean and std from the recorded sums."""
    rms = RunningMeanStd(shape=part['ob'].shape[1:])
    for name in trace.find(rf'{part.label}_(\w*rms)_sum'):
        sums = {key: part[f'{name}_{key}'] for key in ('sum', 'sumsq', 'count')}
        rms.set_state(sums)
        answers = measured(lambda sum, sumsq, count: dict(zip(('mean', 'std'), mean_and_std(sum, sumsq, count),
                                                              strict=True)), sums)
        yield rms.mean.numpy(), part[f'{name}_mean'], answers['mean']
        yield rms.std.numpy(), part[f'{name}_std'], answers['std']


def vpred(trace, part):
    port = port_of(trace)
    port.use_filter(part, 'sampling')
    port.set_value(port.value.ours(part['vf_flat_before']))
    yield port.pi.value(part['ob']), part['vpred'], exact_value(part)['vpred']


def advantages(trace, part):
    hyperparameters = trace['hp_gamma'], trace['hp_lam']
    ours, answers = (f(part.__getitem__, *hyperparameters) for f in (advantages_of, exact_advantages))
    for name, array in (('adv', 'adv'), ('tdlamret', 'tdlamret'), ('standardised', 'atarg')):
        yield ours[name], part[array], answers[name]


# ---------------------------------------------------------------- losses and their derivatives

@computed_once
def loss_and_gradient(part):
    port = port_of(part.trace)
    port.use_filter(part)
    return port.functions.compute_lossandgrad(port.theta(part), *port.batch(part))


def lossbefore(trace, part):
    compared = port_of(trace).compared
    yield from zip(compared(np.array(loss_and_gradient(part)[0])), compared(part['lossbefore']),
                   compared(exact_gradient(part)['losses']), strict=True)


def gradient(trace, part):
    ours = port_of(trace).policy.ours
    yield loss_and_gradient(part)[1], ours(part['g']), exact_gradient(part)['g'].map(ours)


def products(trace, part, directions, array, damped):
    port = port_of(trace)
    fvp, damping = port.fvp(part), np.float32(damping_of(trace) if damped else 0)
    answers = exact_products(part, directions, damped)
    for p, recorded, answer in zip(part[directions], part[array], answers, strict=True):
        v = port.policy.ours(p)
        yield fvp(v) + damping * v, port.policy.ours(recorded), answer.map(port.policy.ours)


def probe_fvp(trace, part):
    yield from products(trace, part, 'probe_p', 'probe_fvp', False)


def cg_products(trace, part):
    """The products that the port's update asks for, damping included, when CG goes along the recorded directions."""
    port, found = port_of(trace), []

    def along_the_recorded(f_Ax, g, cg_iters):
        found.extend(f_Ax(port.policy.ours(p)) for p in part['cg_p'])
        return g

    updated(part, cg=along_the_recorded)
    yield from zip(found, port.policy.ours(part['cg_Ap']), exact_products(part, 'cg_p', True).map(port.policy.ours),
                   strict=True)


# ---------------------------------------------------------------- the step

def updated(part, cg=None, functions=None, cg_damping=None):
    """`trust_region_step` of the port from the recorded batch and parameters.

    cg: in place of the port's; functions: what of the port's functions is replaced. Returns the result and the
    arguments of `linesearch`, None if it did not come to that.
    """
    port, trace = port_of(part.trace), part.trace
    port.use_filter(part)
    *args, noise = port.batch(part)
    with (mock.patch.object(trust_region, 'linesearch', wraps=trust_region.linesearch) as linesearch,
          mock.patch.object(trust_region, 'cg', cg or trust_region.cg)):
        result = trust_region.trust_region_step(
            port.functions._replace(**functions or {}), port.theta(part), args, noise,
            max_kl=float(trace['hp_max_kl']), cg_iters=int(trace['hp_cg_iters']),
            cg_damping=damping_of(trace) if cg_damping is None else cg_damping)
    return result, linesearch.call_args and linesearch.call_args.args


@computed_once
def replayed_update(part):
    """`updated` with the recorded gradient, and cg fed with the recorded products, which have the damping in them.

    With them: the directions that cg asked for.
    """
    port, damping = port_of(part.trace), np.float32(damping_of(part.trace))
    recorded, directions = iter(port.policy.ours(part['cg_Ap'])), []

    def given(*args):
        def product(p):
            directions.append(p.copy())
            found = next(recorded, None)
            return port.functions.compute_fvp(p, *args) + damping * p if found is None else found
        return product

    def loss_and_gradient(*args):
        return part['lossbefore'], port.policy.ours(part['g'])

    return *updated(part, cg_damping=0., functions={'compute_fvp': types.SimpleNamespace(given=given),
                                                   'compute_lossandgrad': loss_and_gradient}), directions


@computed_once
def unaided(part):
    """(result of `updated`, what cg found), with nothing recorded but batch and parameters."""
    cg, found = trust_region.cg, []

    def remembered(*args, **kwargs):
        found.append(cg(*args, **kwargs))
        return found[0]

    return updated(part, cg=remembered)[0], found[0]


def cg_replayed(trace, part):
    """The directions, one by one, and the solution."""
    ours = port_of(trace).policy.ours
    *directions, stepdir = replayed_update(part)[2]
    answers = exact_step(part, True)
    yield from zip(directions, ours(part['cg_p']), answers['directions'].map(ours), strict=True)
    yield stepdir, ours(part['stepdir']), answers['x'].map(ours)


def stepdir(trace, part):
    """The port's cg on the port's own gradient and products, nothing recorded but batch and parameters."""
    ours = port_of(trace).policy.ours
    yield unaided(part)[1], ours(part['stepdir']), exact_step(part, False)['x'].map(ours)


def shs(trace, part):
    """Half the curvature along the recorded direction, as the port's update scales the step by it."""
    direction = port_of(trace).policy.ours(part['stepdir'])
    (_, _, info), search = updated(part, cg=lambda *args, **kwargs: direction)
    assert info['neg_curvature'] == (part['shs'] < 0)
    if search is not None:
        lm = np.linalg.norm(direction.astype('float64')) / np.linalg.norm(search[2].astype('float64'))
        yield lm ** 2 * trace['hp_max_kl'], part['shs'], exact_shs(part)
    else:
        yield direction.dot(products_of(part)(direction)) / 2, part['shs'], exact_shs(part)


def products_of(part):
    """v -> (F + damping) v of the port."""
    port, damping = port_of(part.trace), np.float32(damping_of(part.trace))
    fvp = port.fvp(part)
    return lambda v: fvp(v) + damping * v


def full_step(trace, part):
    ours = port_of(trace).policy.ours
    _, (_, _, fullstep, *_), _ = replayed_update(part)
    yield fullstep, ours(part['fullstep']), exact_step(part, True)['fullstep'].map(ours)


def step_scale(trace, part):
    """lm, and what the step is expected to gain."""
    _, (_, _, fullstep, _, expectedimprove), directions = replayed_update(part)
    stepdir, fullstep = (x.astype('float64') for x in (directions[-1], fullstep))
    answers = exact_step(part, True)
    yield stepdir.dot(fullstep) / fullstep.dot(fullstep), part['lm'], answers['lm']
    yield expectedimprove, part['expectedimprove'], answers['expectedimprove']


def policy_change(trace, part, theta, fed):
    """The change of the parameters by a whole update; `fed` as in `exact_step`."""
    port, size = port_of(trace), float(part['accepted_stepsize'])
    answer = exact_step(part, fed)['fullstep'].map(lambda step: port.policy.ours(step) * size)
    yield theta - port.theta(part), change(port.policy, part, 'pi'), answer


def whole_update(trace, part):
    yield from policy_change(trace, part, replayed_update(part)[0][0], True)


def unaided_update(trace, part):
    yield from policy_change(trace, part, unaided(part)[0][0], False)


def dropped_segment(trace, part):
    """The originals leave an iteration with shs < 0 out altogether; here only its policy step is given up."""
    (theta, _, info), *_ = replayed_update(part)
    yield [info['neg_curvature'], info['stepsize']], [part['shs'] < 0, 0]
    yield theta, port_of(trace).theta(part)


def change(mapping, part, which):
    return mapping.ours(part[f'{which}_flat_after']) - mapping.ours(part[f'{which}_flat_before'])


@computed_once
def searched(part):
    """((th, step size, losses) of the port's line search along the recorded step, losses of every trial)."""
    port = port_of(part.trace)
    port.use_filter(part)
    theta, trials = port.theta(part), []

    def losses_at(th):
        trials.append(np.array(port.functions.compute_losses(th, theta, *port.batch(part))))
        return trials[-1]

    return trust_region.linesearch(losses_at, theta, port.policy.ours(part['fullstep']), part['lossbefore'],
                                   float(part['expectedimprove']), max_kl=float(part.trace['hp_max_kl'])), trials


def trial_losses(trace, part):
    compared = port_of(trace).compared
    for ours, recorded, answer in zip(searched(part)[1], part['linesearch_losses'], exact_search(part)['losses'],
                                      strict=True):
        yield from zip(compared(ours), compared(recorded), compared(answer), strict=True)


def accepted_stepsize(trace, part):
    (_, stepsize, _), trials = searched(part)
    yield stepsize, part['accepted_stepsize']
    yield len(trials), len(part['linesearch_stepsizes'])


def policy_after(trace, part):
    ours = port_of(trace).policy.ours
    (theta, _, _), _ = searched(part)
    yield theta, ours(part['pi_flat_after']), exact_search(part)['theta'].map(ours)


# ---------------------------------------------------------------- the value function

@computed_once
def value_fit(part):
    """(parameters after, Adam, first gradient, last gradient) with the recorded order of minibatches."""
    trace, port = part.trace, port_of(part.trace)
    port.use_filter(part)
    port.set_value(port.value.ours(part['vf_flat_before']))
    adam = MpiAdam(port.pi.vf_var_list)
    before = previous(part)
    if before:
        moments = {name: port.value.ours(before[f'adam_{name}_after']) for name in 'mv'}
        adam.set_state({**moments, 't': before['adam_t_after']})
    arrays = part['ob'], part['tdlamret']
    *most, last = part['vf_minibatch_inds']
    grads = []
    for minibatches in (most, [last]):
        grads.append(port.compute_vfgrad(port.get_value(), *(array[minibatches[0]] for array in arrays)))
        port.fit_value(adam)(arrays, minibatches, float(trace['hp_vf_stepsize']))
    return {'theta': port.get_value(), 'm': adam.m, 'v': adam.v, 't': adam.t, 'first': grads[0], 'last': grads[1]}


def fitted(trace, part, name, array):
    ours = port_of(trace).value.ours
    yield value_fit(part)[name], ours(part[array]), exact_fit(part)[name].map(ours)


def value_gradient_first(trace, part):
    yield from fitted(trace, part, 'first', 'vf_grad_first')


def value_gradient_last(trace, part):
    yield from fitted(trace, part, 'last', 'vf_grad_last')


def value_change(trace, part):
    port = port_of(trace)
    before = part['vf_flat_before']
    yield (value_fit(part)['theta'] - port.value.ours(before), change(port.value, part, 'vf'),
           exact_fit(part)['theta'].map(lambda after: port.value.ours(after - before)))


def adam_moments(trace, part):
    yield from fitted(trace, part, 'm', 'adam_m_after')
    yield from fitted(trace, part, 'v', 'adam_v_after')


def adam_time(trace, part):
    yield value_fit(part)['t'], part['adam_t_after']


# ---------------------------------------------------------------- the stages of both traces

FIT = 'value parameters and Adam after all minibatches of an iteration'
STEP = "TRPO's step from recorded products: direction, length, line search"
UNAIDED = "TRPO's step from nothing but batch and parameters"


def batch_stages(stages: Stages) -> None:
    """Register what comes before the policy's update."""
    def stage(name, array, compute, **kwargs):
        stages.add(name, each=iterations(array), **kwargs)(compute)

    stage('filter: mean and std', r'(?:\w+_)?pi_rms_sum', filter_state, what='statistics of the observation filters')
    stage('value predictions', 'vpred', vpred, what='values of states')
    stage('advantages and returns', 'adv', advantages, what='advantages and returns')


def update_stages(stages: Stages) -> None:
    """Register the update of policy and value function."""
    def stage(name, array, compute, **kwargs):
        stages.add(name, each=iterations(array), **kwargs)(compute)

    stage('losses before', 'lossbefore', lossbefore, what='losses at the old policy, 0 but for rounding, and entropy',
          note='at parameters before; a sampled entropy is left out: its noise was not recorded')
    stage('gradient', 'g', gradient, what='gradients of the surrogate')
    stage('Fisher-vector products: probes', 'probe_fvp', probe_fvp, what='Fisher-vector products')
    stage('Fisher-vector products: CG', 'cg_Ap', cg_products, what='Fisher-vector products',
          note='at the recorded directions, damping included')
    stage('CG, recorded products fed in', 'cg_Ap', cg_replayed, what=STEP, note='recorded gradient and products')
    stage('CG direction', 'stepdir', stepdir, what=UNAIDED, information=undetermined,
          note='nothing recorded but batch and parameters')
    stage('shs', 'shs', shs, what=STEP, note='from the recorded direction')
    stage('lm and expected improvement', 'lm', step_scale, what=STEP, note='recorded gradient and products')
    stage('full step', 'fullstep', full_step, what=STEP, note='recorded gradient and products')
    stage('line search: losses of trials', 'linesearch_losses', trial_losses, what='losses',
          note='along the recorded full step')
    stage('line search: step size', 'accepted_stepsize', accepted_stepsize, what=STEP,
          note='and the number of trials, along the recorded full step')
    stage('policy parameters after', 'pi_flat_after', policy_after, what=STEP, note='along the recorded full step')
    stage('policy change', 'pi_flat_after', whole_update, what=STEP, note='recorded gradient and products')
    stage('policy change, all by the port', 'pi_flat_after', unaided_update, what=UNAIDED,
          information=undetermined, note='nothing recorded but batch and parameters')
    stage('value fit: first gradient', 'vf_grad_first', value_gradient_first, what='gradients of the value error')
    stage('value fit: last gradient', 'vf_grad_last', value_gradient_last, what='gradients of the value error',
          note='after all other minibatches')
    stage('value parameters, change', 'vf_flat_after', value_change, what=FIT)
    stage('Adam moments after', 'adam_m_after', adam_moments, what=FIT)
    stage('Adam time after', 'adam_t_after', adam_time, what=FIT)
