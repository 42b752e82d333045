"""acktr_cont_flow.npz: whole iterations of the paper's released ACKTR with a flow policy.

The port's policy is compared with the recorded densities and gradients. K-FAC is compared on the networks of the
released code, which are not the port's: it evaluates every s twice, and its Fisher matrix counts both (section 8 of the
traces' README). The released log-density lacks the constant -d/2 log(2 pi).
"""
import functools
import re

import numpy as np
import stages_acktr_cont as acktr
import tensorflow as tf
from harness import Stages, iterations
from mapping import SAME_NAMES, mapping, released_flow

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.common.layers import record_layer, standardize
from onpolicybaselines.common.variables import VariableStore, constant_initializer, get_variable

STAGES = Stages()


def variables(trace):
    """Shapes of the policy's variables by name."""
    return {name: shape[shape >= 0] for name, shape
            in zip(trace['pi_var_names'].tolist(), trace['pi_var_shapes'], strict=True)}


def masks(trace):
    """[couplings, A]: 1 where a coupling keeps a coordinate; the first keeps the first half, then they alternate."""
    size = trace['it0_action'].shape[1]
    couplings = len({re.search(r'Nlayer_\d+', name)[0] for name in variables(trace) if 'Nlayer' in name})
    first = (np.arange(size) < (size + 1) // 2).astype('float32')
    return np.array([1 - first if i % 2 else first for i in range(couplings)])


# ---------------------------------------------------------------- the port's policy

@functools.cache
def port(trace):
    """(policy, its place in the recorded vectors, functions of its parameters)."""
    shapes = {name.split('policy.')[1]: shape for name, shape in variables(trace).items()}
    policy = MlpPolicy(acktr.ob_dim(trace), acktr.box(trace), 'flow', kl_estimator='k1', critic_sees='logp',
                       flow_layers=len(masks(trace)) // 2,
                       flow_units=int(shapes['Nlayer_0.s.dense_1.kernel'][1]),
                       flow_state_units=int(shapes['statelayer.dense_1.kernel'][1]))
    names = mapping(policy.var_list, trace['pi_var_names'], trace['pi_var_shapes'], released_flow(masks(trace)))

    def lossandgrad(*inputs):
        with tf.GradientTape() as tape:
            losses = policy.losses(*inputs)
        return losses, U.flatgrad(tape.gradient(losses[0], policy.var_list), policy.var_list)

    return policy, names, U.SetFromFlat(policy.var_list), U.function(lossandgrad, *policy.inputs)


def at(trace, part, when):
    policy, names, set_from, _ = port(trace)
    set_from(names.ours(part[f'pi_{when}_flat']))
    return policy


def constant(trace):
    return 0.5 * np.log(2 * np.pi) * trace['it0_action'].shape[1]


def action_dist(trace, part):
    return at(trace, part, 'before').action_dist(part['observation'], part['action']) + constant(trace)


def kl(trace, part):
    ob, ac, _ = batch(part)
    thold = port(trace)[1].ours(part['pi_before_flat'])
    return at(trace, part, 'after').compute_kl(thold, ob, ac)


def batch(part):
    """What the released policy sees: as many rows as its placeholders have."""
    n = len(part['standardized_adv'])
    return part['observation'][:n], part['action'][:n], part['standardized_adv']


@functools.cache
def loss_and_gradient(trace, part):
    *_, lossandgrad = port(trace)
    at(trace, part, 'before')
    return lossandgrad(*batch(part))


@STAGES.add('policy: losses', each=iterations('pi_loss'), rtol=1e-5, atol=1e-5, reason='float32')
def losses(trace, part):
    (loss, loss_sampled), _ = loss_and_gradient(trace, part)
    yield loss, part['pi_loss'] + constant(trace) * np.mean(part['standardized_adv'])
    yield loss_sampled, part['pi_loss_sampled'] + constant(trace)


@STAGES.add('policy: gradient', each=iterations('pi_grad_flat'), rtol=1e-4, norm=True, reason='float32')
def gradient(trace, part):
    _, names, *_ = port(trace)
    yield names.released(loss_and_gradient(trace, part)[1]), part['pi_grad_flat']


@STAGES.add('policy: log-densities after', each=iterations('pi_logp_train_after'), rtol=1e-4, atol=1e-5,
            reason='float32')
def logp_after(trace, part):
    ob, ac, _ = batch(part)
    after = at(trace, part, 'after').action_dist(ob, ac)[:, 0] + constant(trace)
    yield after, part['pi_logp_train_after']


# ---------------------------------------------------------------- the released networks under the port's K-FAC

class ReleasedFlow:
    """The released policy: masks in place of slices, s and t apart, s evaluated for the point and for the volume."""

    def __init__(self, trace):
        self.masks = masks(trace)
        self.shapes = variables(trace)
        self.prefix = next(iter(self.shapes)).split('Nlayer_')[0]
        self.store = VariableStore()
        with self.store.as_default():
            for name, shape in self.shapes.items():
                get_variable(name, shape, constant_initializer())

    def get(self, name):
        return self.store.variables[self.prefix + name]

    def network(self, name, x):
        for i, suffix in enumerate(['', '_1', '_2']):
            kernel, bias = self.get(f'{name}.dense{suffix}.kernel'), self.get(f'{name}.dense{suffix}.bias')
            x = record_layer('dense', (kernel, bias), x, tf.matmul(x, kernel) + bias)
            if i < 2:
                beta, gamma = self.get(f'{name}.LayerNorm{suffix}.beta'), self.get(f'{name}.LayerNorm{suffix}.gamma')
                x = standardize(x, 1e-12)
                x = tf.nn.relu(record_layer('scale_and_shift', (beta, gamma), x, x * gamma + beta))
        return x

    def logp(self, ob, y):
        log_det = 0.
        for i, mask in reversed(list(enumerate(self.masks))):
            if i == 0:
                y -= self.network('statelayer', ob)
            kept = y * mask
            moved = tf.exp(-self.network(f'Nlayer_{i}.s', kept)) * (y - self.network(f'Nlayer_{i}.t', kept))
            y = kept + (1 - mask) * moved
            log_det += tf.reduce_sum((1 - mask) * self.network(f'Nlayer_{i}.s', y * mask), axis=1)
        return -tf.reduce_sum(tf.square(y), axis=1) / 2 - log_det

    def losses(self, ob, ac, adv):
        logp = self.logp(ob, ac)
        return -tf.reduce_mean(adv * logp), -tf.reduce_mean(logp)


def policy_of(trace):
    flow = ReleasedFlow(trace)
    var_list = list(flow.store.variables.values())
    names = mapping(var_list, trace['pi_var_names'], trace['pi_var_shapes'], SAME_NAMES)
    return acktr.Policy(flow.losses, var_list, port(trace)[0].inputs, {}, names, released_repeats=True)


def each_factor(trace, part, name, ours, power):
    """(of the port, of the trace) for each factor; one of size n has n**power entries in the recorded vector."""
    pieces = np.split(part[name], np.cumsum(trace['pi_stat_dims']**power)[:-1])
    for factor, piece in zip(acktr.steps(trace, policy_of)[part.label][ours], pieces, strict=True):
        yield np.ravel(factor), piece


@STAGES.add('policy: factors', each=iterations('pi_stats_after'), rtol=1e-3, norm=True,
            reason='float32; few large gradients make up those below layer norms of three units')
def factors(trace, part):
    yield from each_factor(trace, part, 'pi_stats_after', 'stats', 2)


@STAGES.add('policy: eigenvalues', each=iterations('pi_eigvals_after'), rtol=1e-3, norm=True,
            reason='likewise; the original decomposes in float32')
def eigenvalues(trace, part):
    yield from each_factor(trace, part, 'pi_eigvals_after', 'eigvals', 1)


acktr.common_stages(STAGES, policy_of, action_dist, kl)
