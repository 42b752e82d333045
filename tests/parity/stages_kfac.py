"""kfac_gated.npz: the K-FAC optimizer on the networks of the original continuous ACKTR, policy (pi) and value (vf).

Parameters and momenta are those recorded before each update, so that no error is counted again; factors, running
averages and eigen-decompositions are the port's own from the first update on. The last stage is fed nothing. Which of
the two steps an update took is recorded: in the original it depends on the order in which operations happen to run.
"""
import functools

import gymnasium as gym
import numpy as np
import tensorflow as tf
from harness import Stages

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.compiled import to_numpy

STAGES = Stages()
RUN = r'(pi|vf)_params_flat'
AMPLIFIED = 'float32 divided by as little as epsilon'


def network_of(part):
    """(losses, variables, weight decay) of the port's policy or critic."""
    shapes = dict(zip(part['var_names'].tolist(), part['var_shapes'], strict=True))
    if part.label == 'pi':
        ac_dim = int(shapes['pi.mean.b'][0])
        policy = MlpPolicy(int(shapes['pi.h1.w'][0]) // 2, gym.spaces.Box(-1, 1, [ac_dim]))
        return policy.losses, policy.var_list, policy.wd_dict
    vf = NeuralNetValueFunction(0, int(shapes['vf.h1.w'][0]) - 2)
    return vf.losses, vf.var_list, vf.wd_dict


class Replayed(KfacOptimizer):
    """Takes the steps that were recorded, and keeps what a stage compares."""

    def __init__(self, part, weight_decay_dict):
        super().__init__(
            learning_rate=float(part['lr']), cold_lr=float(part['cold_lr']), max_grad_norm=None,
            weight_decay_dict=weight_decay_dict,
            **{name: float(part[name]) for name in ('momentum', 'clip_kl', 'epsilon', 'stats_decay')},
            **{name: int(part[name]) for name in ('kfac_update', 'cold_iter')})
        flags = zip(*(part['applied_' + name].tolist() for name in ('update_index', 'cold', 'kfac')), strict=True)
        self.recorded = {index: (cold, kfac) for index, cold, kfac in flags}
        self.index = 0
        self.log = {}

    def is_cold(self):
        return bool(self.recorded[self.index][0]) if self.index in self.recorded else super().is_cold()

    def is_warm(self):
        return bool(self.recorded[self.index][1]) if self.index in self.recorded else super().is_warm()

    def apply_stats(self, statsUpdates):
        self.log['cov_new'] = statsUpdates
        super().apply_stats(statsUpdates)

    def apply_gradients(self, grads):
        self.log['grad'] = grads
        super().apply_gradients(grads)

    def getKfacPrecondUpdates(self, grads):
        update = super().getKfacPrecondUpdates(grads)
        self.log |= {'precond_update_clipped': update, 'clip_coef': min(1., np.sqrt(self._clip_kl / self.vFv))}
        return update


def inputs_of(part):
    """The input arrays of every update, by name."""
    if part.label == 'pi':
        return [part['in_' + name] for name in ('ob', 'ac', 'adv')]
    index = part['in_batch_index']
    return [part['in_X'][index], part['in_vtarg'][index], part['in_noise']]


@functools.cache
def run(part, fed=True):
    """One dict of quantities per update; fed: set parameters and momenta to the recorded ones before each, not only
    before the first."""
    losses, var_list, weight_decay = network_of(part)
    inputs = inputs_of(part)
    optimizer = Replayed(part, weight_decay)
    update = optimizer.minimize(losses, var_list, *(tf.TensorSpec([None, *x.shape[2:]], x.dtype) for x in inputs))
    get, set_from = U.GetFlat(var_list), U.SetFromFlat(var_list)
    boundaries = {n: i for i, n in enumerate(part['boundary_index'].tolist())}
    rows = []
    for n in range(len(inputs[0])):
        if n in boundaries and (fed or n == 0):
            set_from(part['params_flat'][boundaries[n]])
            optimizer.kfac_momentum = part['kfac_momentum_flat'][boundaries[n]]
            optimizer.cold_momentum = part['cold_momentum_flat'][boundaries[n]]
        optimizer.index, optimizer.log = n, {}
        values = update(*(x[n] for x in inputs))
        rows.append({**to_numpy(optimizer.log), 'losses': values, 'vFv': optimizer.vFv, 'params': get(),
                     'counters': [getattr(optimizer, name) for name in part.trace['counter_names'].tolist()],
                     'kfac_momentum': optimizer.kfac_momentum, 'cold_momentum': optimizer.cold_momentum,
                     'stats': [s.numpy() for block in optimizer.fisher.blocks for s in block.stats],
                     'eigvals': [e.numpy() for block in optimizer.fisher.blocks for e, _ in block.eigen]})
    return rows


def recorded(part, name):
    """(the port's quantities of that update, recorded array) for all updates that recorded `name`."""
    for n, row in enumerate(run(part)):
        if f'u{n}_{name}' in part:
            yield row, part[f'u{n}_{name}']


def each_factor(part, name, quantity, power):
    """(is it of a free vector, of the port, of the trace) for each factor at all updates that recorded `name`.

    quantity: gives the port's list; power: a factor of size n has n**power entries in the recorded vector.
    """
    free = part['var_bprop_stat_index'][part['var_optype'] == 'None']
    for row, array in recorded(part, name):
        pieces = np.split(array, np.cumsum(part['stat_dims']**power)[:-1])
        for i, (ours, piece) in enumerate(zip(quantity(row), pieces, strict=True)):
            yield i in free, np.ravel(ours), piece


def after_updates(part, name):
    """(the port's quantities, recorded array) at every recorded boundary but the first."""
    for n, array in zip(part['boundary_index'].tolist(), part[name], strict=True):
        if n > 0:
            yield run(part)[n - 1], array


@STAGES.add('losses', each=RUN, rtol=1e-5, atol=1e-5,
            reason='float32 means; that of the policy loss is a difference of large terms')
def losses(trace, part):
    yield np.array([row['losses'] for row in run(part)]), np.stack([part['loss'], part['loss_sampled']], axis=1)


@STAGES.add('counters', each=RUN, rtol=0, atol=0, reason='integers')
def counters(trace, part):
    yield np.array([row['counters'] for row in run(part)]), part['counters'][1:]


@STAGES.add('gradients', each=RUN, rtol=1e-4, norm=True, reason='float32 back-propagation')
def gradients(trace, part):
    for n, grad in zip(part['grad_index'].tolist(), part['grad_flat'], strict=True):
        yield run(part)[n]['grad'], grad


def cov_new(row):
    return [factor for block in row['cov_new'] for factor in block]


@STAGES.add('factors of one batch', each=RUN, rtol=1e-5, norm=True, reason='float32 sums over the batch')
def factors(trace, part):
    yield from ((ours, array) for free, ours, array in each_factor(part, 'cov_new', cov_new, 2) if not free)


@STAGES.add('factors of logstd', each=r'(pi)_params_flat', rtol=1e-3, atol=1e-5,
            reason='outer product of a mean gradient near 0: what cancels is 100 times larger')
def free_factors(trace, part):
    yield from ((ours, array) for free, ours, array in each_factor(part, 'cov_new', cov_new, 2) if free)


@STAGES.add('running averages', each=RUN, rtol=1e-3, norm=True, reason='as the factors, logstd among them')
def running_averages(trace, part):
    yield from ((ours, array) for _, ours, array in each_factor(part, 'stats_after', lambda row: row['stats'], 2))


@STAGES.add('eigenvalues', each=RUN, rtol=1e-3, norm=True, reason='likewise; the original decomposes in float32')
def eigenvalues(trace, part):
    yield from ((ours, array) for _, ours, array in each_factor(part, 'eigvals_after', lambda row: row['eigvals'], 1))


@STAGES.add('preconditioned gradients', each=RUN, rtol=5e-4, norm=True, reason=f'{AMPLIFIED}; before the KL clip')
def preconditioned(trace, part):
    clipped, clip_coef = (recorded(part, name) for name in ('precond_update_clipped', 'clip_coef'))
    for (row, array), (_, coef) in zip(clipped, clip_coef, strict=True):
        yield row['precond_update_clipped'] / row['clip_coef'], array / coef


@STAGES.add('updates', each=RUN, rtol=5e-4, norm=True, reason=f'{AMPLIFIED}; after the KL clip')
def clipped(trace, part):
    for row, array in recorded(part, 'precond_update_clipped'):
        yield row['precond_update_clipped'], array


@STAGES.add('vFv', each=RUN, rtol=1e-4, atol=1e-9, reason='a product of two of the above')
def vFv(trace, part):
    yield np.array([row['vFv'] for row in run(part)]), part['vFv']


@STAGES.add('momenta', each=RUN, rtol=5e-4, norm=True, reason=AMPLIFIED)
def momenta(trace, part):
    for name in ('kfac_momentum', 'cold_momentum'):
        for row, array in after_updates(part, f'{name}_flat'):
            yield row[name], array


@STAGES.add('parameters', each=RUN, rtol=1e-4, atol=1e-5,
            reason='float32; steps of up to 0.1 with the error of the momenta, one or two after recorded parameters')
def parameters(trace, part):
    for row, array in after_updates(part, 'params_flat'):
        yield row['params'], array


@STAGES.add('way of the parameters, nothing fed', each=RUN, rtol=5e-4, norm=True,
            reason=f'{AMPLIFIED}; from the first to the last update, the errors of all of them')
def way(trace, part):
    start, *_, end = part['params_flat']
    yield run(part, fed=False)[-1]['params'] - start, end - start
