"""What the TRPO traces have in common: the port at the recorded parameters, and the stages of one iteration.

Every stage starts from recorded inputs, so that no error of an earlier one is counted again. The modules of the two
traces choose the stages and their tolerances.
"""
import functools
import types
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from harness import spaces_of
from mapping import RELEASED_VALUE, SAME_NAMES, mapping, released_flow
from stages_gae import advantages_of

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.cg import cg
from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_fit import minimize
from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.trpo_mpi import trust_region
from onpolicybaselines.trpo_mpi.losses import loss_names, make_functions

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
        self.functions = make_functions(self.pi, float(ent_coef), 'released' if self.is_flow else 'hessian')
        self.policy = mapping(self.pi.var_list, trace['pi_var_names'], trace['pi_var_shapes'],
                              released_flow(trace['flow_masks']) if self.is_flow else SAME_NAMES)
        self.value = mapping(self.pi.vf_var_list, trace['vf_var_names'], trace['vf_var_shapes'],
                             RELEASED_VALUE if self.is_flow else SAME_NAMES)
        self.set_policy, self.set_value = U.SetFromFlat(self.pi.var_list), U.SetFromFlat(self.pi.vf_var_list)
        self.get_value = U.GetFlat(self.pi.vf_var_list)
        thvf, ret = tf.TensorSpec(self.get_value().shape), tf.TensorSpec([None])
        self.compute_vfgrad = U.function(self.functions.compute_vflossandgrad, thvf, self.pi.X, ret)
        self.fit_value = lambda adam: minimize(adam, self.functions.compute_vflossandgrad, self.pi.X, ret)

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

    def damped_fvp(self, part):
        fvp, damping = self.fvp(part), part.trace['hp_cg_damping'].astype('float32')
        return lambda p: fvp(p) + damping * p

    def batch(self, part):
        """(ob, ac, atarg, noise); the noise of the sampled entropy was not recorded, so it is zero."""
        return part['ob'], part['ac'], part['atarg'], np.zeros((len(part['ob']), self.pi.pdtype.noise_size), 'float32')

    def losses(self, values):
        """Losses that can be compared, [..., n]: all but the flow's entropy, which used noise that was not recorded."""
        names = self.trace['loss_names'].tolist()
        assert names == loss_names
        return np.asarray(values)[..., [name != 'entropy' or not self.is_flow for name in names]]


@functools.cache
def port_of(trace):
    """One port per trace: its functions are compiled once."""
    return Port(trace)


# ---------------------------------------------------------------- the batch

def filter_state(trace, part):
    """mean and std from the recorded sums."""
    rms = RunningMeanStd(shape=part['ob'].shape[1:])
    for name in trace.find(rf'{part.label}_(\w*rms)_sum'):
        rms.set_state({key: part[f'{name}_{key}'] for key in ('sum', 'sumsq', 'count')})
        yield rms.mean.numpy(), part[f'{name}_mean']
        yield rms.std.numpy(), part[f'{name}_std']


def vpred(trace, part):
    port = port_of(trace)
    port.use_filter(part, 'sampling')
    port.set_value(port.value.ours(part['vf_flat_before']))
    yield port.pi.value(part['ob']), part['vpred']


def advantages(trace, part):
    adv, tdlamret, atarg = advantages_of(part.__getitem__, trace['hp_gamma'], trace['hp_lam'])
    yield adv, part['adv']
    yield tdlamret, part['tdlamret']
    yield atarg, part['atarg']


# ---------------------------------------------------------------- losses and their derivatives

@functools.cache
def loss_and_gradient(part):
    port = port_of(part.trace)
    port.use_filter(part)
    return port.functions.compute_lossandgrad(port.theta(part), *port.batch(part))


def lossbefore(trace, part):
    port = port_of(trace)
    yield port.losses(loss_and_gradient(part)[0]), port.losses(part['lossbefore'])


def gradient(trace, part):
    yield loss_and_gradient(part)[1], port_of(trace).policy.ours(part['g'])


def probe_fvp(trace, part):
    port = port_of(trace)
    fvp = port.fvp(part)
    yield [fvp(p) for p in port.policy.ours(part['probe_p'])], port.policy.ours(part['probe_fvp'])


def cg_products(trace, part):
    port = port_of(trace)
    product = port.damped_fvp(part)
    yield [product(p) for p in port.policy.ours(part['cg_p'])], port.policy.ours(part['cg_Ap'])


# ---------------------------------------------------------------- conjugate gradient

def run_cg(g, products, cg_iters):
    """(result, directions) of the port's cg when its products are `products`, whatever it asks for."""
    products, directions = iter(products), []

    def f_Ax(p):
        directions.append(p.copy())
        return next(products)

    return cg(f_Ax, g, cg_iters=cg_iters), np.array(directions)


def cg_replayed(trace, part):
    ours = port_of(trace).policy.ours
    stepdir, directions = run_cg(ours(part['g']), ours(part['cg_Ap']), int(trace['hp_cg_iters']))
    yield directions, ours(part['cg_p'])
    yield stepdir, ours(part['stepdir'])


@functools.cache
def summation_order(part):
    """1e-4, or 10 x the largest relative change of a direction when cg sums over the entries in other orders."""
    ours, rng = port_of(part.trace).policy.ours, np.random.default_rng(0)
    g, products, cg_iters = ours(part['g']), ours(part['cg_Ap']), int(part.trace['hp_cg_iters'])
    _, directions = run_cg(g, products, cg_iters)
    changes = []
    for _ in range(5):
        order = rng.permutation(len(g))
        _, permuted = run_cg(g[order], products[:, order], cg_iters)
        change = np.linalg.norm(permuted - directions[:, order], axis=1)
        changes.append((change / np.linalg.norm(directions, axis=1)).max())
    return max(1e-4, 10 * float(max(changes)))


def recorded_sensitivity(part):
    """1e-4, or 10 x the recorded change of cg's result for a change of b by 1e-6; no bound if that is above a tenth."""
    rtol = max(1e-4, 10 * float(part['cg_rel_change_if_b_perturbed_1em6']))
    return rtol if rtol <= 0.1 else None


def stepdir(trace, part):
    """The port's cg on the port's own products."""
    port = port_of(trace)
    yield (cg(port.damped_fvp(part), port.policy.ours(part['g']), cg_iters=int(trace['hp_cg_iters'])),
           port.policy.ours(part['stepdir']))


def shs(trace, part):
    port = port_of(trace)
    stepdir = port.policy.ours(part['stepdir'])
    yield .5 * stepdir.dot(port.damped_fvp(part)(stepdir)), part['shs']


# ---------------------------------------------------------------- the step

def updated(port, part, compute_fvp):
    """`trust_region_step` of the port from the recorded batch and parameters, with that Fisher-vector product.

    Returns its result and the arguments of `linesearch`.
    """
    port.use_filter(part)
    trace, functions = part.trace, port.functions
    functions = functions._replace(compute_fvp=compute_fvp)
    *args, noise = port.batch(part)
    with mock.patch.object(trust_region, 'linesearch', wraps=trust_region.linesearch) as linesearch:
        result = trust_region.trust_region_step(
            functions, port.theta(part), args, noise, max_kl=float(trace['hp_max_kl']),
            cg_iters=int(trace['hp_cg_iters']), cg_damping=float(trace['hp_cg_damping']))
    return result, linesearch.call_args and linesearch.call_args.args


@functools.cache
def replayed_update(part):
    """`updated` with cg fed with the recorded products (less the damping, which the port adds again)."""
    port = port_of(part.trace)
    directions, damped = (port.policy.ours(part[name]).astype('float64') for name in ('cg_p', 'cg_Ap'))
    recorded = iter(damped - part.trace['hp_cg_damping'] * directions)

    def given(*args):
        def product(p):
            found = next(recorded, None)
            return port.functions.compute_fvp(p, *args) if found is None else found.astype('float32')
        return product

    return updated(port, part, types.SimpleNamespace(given=given))


def full_step(trace, part):
    _, (_, _, fullstep, *_) = replayed_update(part)
    yield fullstep, port_of(trace).policy.ours(part['fullstep'])


def step_scale(trace, part):
    """lm, and what the step is expected to gain."""
    _, (_, _, fullstep, _, expectedimprove) = replayed_update(part)
    stepdir = port_of(trace).policy.ours(part['stepdir'])
    yield stepdir.dot(fullstep) / fullstep.dot(fullstep), part['lm']
    yield expectedimprove, part['expectedimprove']


def whole_update(trace, part):
    """The change of the parameters."""
    port = port_of(trace)
    (theta, _, _), _ = replayed_update(part)
    yield theta - port.theta(part), change(port.policy, part, 'pi')


def unaided_update(trace, part):
    """The change of the parameters with nothing recorded but the batch and the parameters before."""
    port = port_of(trace)
    (theta, _, _), _ = updated(port, part, port.functions.compute_fvp)
    yield theta - port.theta(part), change(port.policy, part, 'pi')


def dropped_segment(trace, part):
    """The originals leave an iteration with shs < 0 out altogether; here only its policy step is given up."""
    port = port_of(trace)
    (theta, _, info), _ = replayed_update(part)
    yield [info['neg_curvature'], info['stepsize']], [part['shs'] < 0, 0]
    yield theta, port.theta(part)


def change(mapping, part, which):
    return mapping.ours(part[f'{which}_flat_after']) - mapping.ours(part[f'{which}_flat_before'])


@functools.cache
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
    port = port_of(trace)
    yield port.losses(searched(part)[1]), port.losses(part['linesearch_losses'])


def accepted_stepsize(trace, part):
    (_, stepsize, _), trials = searched(part)
    yield stepsize, part['accepted_stepsize']
    yield len(trials), len(part['linesearch_stepsizes'])


def policy_after(trace, part):
    port = port_of(trace)
    (theta, _, _), _ = searched(part)
    yield theta, port.policy.ours(part['pi_flat_after'])


# ---------------------------------------------------------------- the value function

@functools.cache
def value_fit(part):
    """(parameters after, Adam, first gradient, last gradient) with the recorded order of minibatches."""
    trace, port = part.trace, port_of(part.trace)
    port.use_filter(part)
    port.set_value(port.value.ours(part['vf_flat_before']))
    adam = MpiAdam(port.pi.vf_var_list)
    before = trace.part(f'it{int(part.label.removeprefix("it")) - 1}')
    if 'adam_t_after' in before:
        moments = {name: port.value.ours(before[f'adam_{name}_after']) for name in 'mv'}
        adam.set_state({**moments, 't': before['adam_t_after']})
    arrays = part['ob'], part['tdlamret']
    *most, last = part['vf_minibatch_inds']
    grads = []
    for minibatches in (most, [last]):
        grads.append(port.compute_vfgrad(port.get_value(), *(array[minibatches[0]] for array in arrays)))
        port.fit_value(adam)(arrays, minibatches, float(trace['hp_vf_stepsize']))
    return port.get_value(), adam, *grads


def value_gradient_first(trace, part):
    yield value_fit(part)[2], port_of(trace).value.ours(part['vf_grad_first'])


def value_gradient_last(trace, part):
    yield value_fit(part)[3], port_of(trace).value.ours(part['vf_grad_last'])


def value_after(trace, part):
    yield value_fit(part)[0], port_of(trace).value.ours(part['vf_flat_after'])


def value_change(trace, part):
    port = port_of(trace)
    yield value_fit(part)[0] - port.value.ours(part['vf_flat_before']), change(port.value, part, 'vf')


def adam_moments(trace, part):
    ours, adam = port_of(trace).value.ours, value_fit(part)[1]
    yield adam.m, ours(part['adam_m_after'])
    yield adam.v, ours(part['adam_v_after'])


def adam_time(trace, part):
    yield value_fit(part)[1].t, part['adam_t_after']
