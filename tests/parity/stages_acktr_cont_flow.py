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
from exact import kfac as exact, returns
from exact.trpo import FlowPolicy
from harness import Stages, compiled_once, computed_once, iterations
from mapping import SAME_NAMES, mapping, released_flow
from noise import measured, pooled

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

@compiled_once
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
    """Log-densities as released, without the constant."""
    ours = at(trace, part, 'before').action_dist(part['observation'], part['action']) + constant(trace)
    return ours, exact_logp(part, 'before', len(part['action']))['logp'].map(lambda logp: logp[:, np.newaxis])


def kl(trace, part):
    ob, ac, _ = batch(part)
    thold = port(trace)[1].ours(part['pi_before_flat'])

    def answers(old, new, ob, ac):
        old, new = (released_policy(trace).log_prob(released_policy(trace).layers(th), ob, ac)[0] for th in (old, new))
        return {'kl': returns.mean(old - new)}
    inputs = {'old': part['pi_before_flat'], 'new': part['pi_after_flat'], 'ob': ob, 'ac': ac}
    return at(trace, part, 'after').compute_kl(thold, ob, ac), measured(answers, inputs, rows=('ob', 'ac'))['kl']


def released_policy(trace):
    return FlowPolicy(trace['pi_var_names'], trace['pi_var_shapes'], masks(trace))


@functools.cache
def exact_logp(part, when, n):
    """Of the first n actions, as released."""
    policy = released_policy(part.trace)

    def answers(theta, ob, ac):
        return {'logp': policy.log_prob(policy.layers(theta), ob, ac)[0] + constant(part.trace)}
    return measured(answers, {'theta': part[f'pi_{when}_flat'], 'ob': part['observation'][:n],
                              'ac': part['action'][:n]})


@functools.cache
def exact_losses(part):
    ob, ac, adv = batch(part)

    def answers(theta, ob, ac, adv):
        found = exact.flow_update(released_policy(part.trace), [], theta, ob, ac, adv)
        return {name: found[name] for name in ('loss', 'loss_sampled', 'grad')}
    return measured(answers, {'theta': part['pi_before_flat'], 'ob': ob, 'ac': ac, 'adv': adv},
                    rows=('ob', 'ac', 'adv'))


@functools.cache
def exact_policy(trace):
    return acktr.exact_steps(trace, functools.partial(exact.flow_update, released_policy(trace)))


def batch(part):
    """What the released policy sees: as many rows as its placeholders have."""
    n = len(part['standardized_adv'])
    return part['observation'][:n], part['action'][:n], part['standardized_adv']


@computed_once
def loss_and_gradient(trace, part):
    *_, lossandgrad = port(trace)
    at(trace, part, 'before')
    return lossandgrad(*batch(part))


@STAGES.add('policy: losses', each=iterations('pi_loss'), what='losses', note='with the constant d/2 log(2 pi)')
def losses(trace, part):
    (loss, loss_sampled), _ = loss_and_gradient(trace, part)
    answers = exact_losses(part)
    yield loss, part['pi_loss'] + constant(trace) * np.mean(part['standardized_adv']), answers['loss']
    yield loss_sampled, part['pi_loss_sampled'] + constant(trace), answers['loss_sampled']


@STAGES.add('policy: gradient', each=iterations('pi_grad_flat'), what='gradients of the surrogate')
def gradient(trace, part):
    _, names, *_ = port(trace)
    yield names.released(loss_and_gradient(trace, part)[1]), part['pi_grad_flat'], exact_losses(part)['grad']


@STAGES.add('policy: log-densities after', each=iterations('pi_logp_train_after'), what='densities of the policies')
def logp_after(trace, part):
    ob, ac, _ = batch(part)
    after = at(trace, part, 'after').action_dist(ob, ac)[:, 0] + constant(trace)
    yield after, part['pi_logp_train_after'], exact_logp(part, 'after', len(ob))['logp']


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


def each_factor(trace, part, array, name, power):
    """All factors, each relative to its size; one of size n has n**power entries in the vectors."""
    ends = np.cumsum(trace['pi_stat_dims']**power)
    ours, answer = acktr.steps(trace, policy_of)[part.label][name], exact_policy(trace)[name, part.label]
    yield pooled((ours[start:end], part[array][start:end], answer[start:end])
                 for start, end in zip([0, *ends], ends, strict=False))


@STAGES.add('policy: factors', each=iterations('pi_stats_after'), what=acktr.KFAC)
def factors(trace, part):
    yield from each_factor(trace, part, 'pi_stats_after', 'stats', 2)


@STAGES.add('policy: eigenvalues', each=iterations('pi_eigvals_after'), what=acktr.KFAC)
def eigenvalues(trace, part):
    yield from each_factor(trace, part, 'pi_eigvals_after', 'eigvals', 1)


acktr.common_stages(STAGES, policy_of, exact_policy, action_dist, kl)
