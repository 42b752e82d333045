"""kfac_gated.npz: the K-FAC optimizer on the networks of the original continuous ACKTR, policy (pi) and value (vf).

Parameters and momenta are those recorded before each update, so that no error is counted again; factors, running
averages and eigen-decompositions are the port's own (the exact answer's own) from the first update on. The last stage
is fed nothing. Which of the two steps an update took is recorded: in the original it depends on the order in which
operations happen to run. kfac.npz is of the same without gates: in cold updates a weight may be overwritten before the
gradients of the layers below have been propagated through it, so its critic's numbers are shown and not judged.
"""
import functools

import gymnasium as gym
import numpy as np
import tensorflow as tf
from exact import kfac as exact
from exact.trpo import GaussianPolicy
from harness import Stages, computed_once
from noise import measured, pooled

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.compiled import to_numpy

STAGES = Stages()
RUN = r'(pi|vf)_params_flat'
WHAT = "K-FAC: factors, eigenvalues, preconditioned gradients, momenta"


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


@computed_once
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
        log = to_numpy(optimizer.log)
        rows.append({'loss': values[0], 'loss_sampled': values[1], 'vFv': optimizer.vFv, 'theta': get(),
                     'counters': [getattr(optimizer, name) for name in part.trace['counter_names'].tolist()],
                     'kfac_momentum': optimizer.kfac_momentum, 'cold_momentum': optimizer.cold_momentum,
                     'cov': exact.joined([factor for block in log['cov_new'] for factor in block]),
                     'stats': exact.joined([s for block in optimizer.fisher.blocks for s in block.stats]),
                     'eigvals': exact.joined([e for block in optimizer.fisher.blocks for e, _ in block.eigen]),
                     'grad': log['grad'], 'clipped': log.get('precond_update_clipped'),
                     'precond': log['precond_update_clipped'] / log['clip_coef'] if 'clip_coef' in log else None})
    return rows


# ---------------------------------------------------------------- exact answers

def steps_taken(part):
    """(cold, warm) of every update: as recorded, or by the rule."""
    recorded = dict(zip(part['applied_update_index'].tolist(),
                        zip(part['applied_cold'].tolist(), part['applied_kfac'].tolist(), strict=True), strict=True))
    sgd_step, cold_iter, out = 0, int(part['cold_iter']), []
    for n in range(len(inputs_of(part)[0])):
        cold, _ = flags = recorded.get(n, (sgd_step <= cold_iter, sgd_step + (sgd_step <= cold_iter) >= cold_iter))
        sgd_step += bool(cold)
        out.append(flags)
    return out


def blocks_of(part):
    arrays = (part['var_' + name] for name in ('names', 'optype', 'assnBias_index', 'weight_decay',
                                               'fprop_stat_index', 'bprop_stat_index'))
    return exact.blocks_of(*arrays, float(part['epsilon']))


def update_of(part, blocks):
    """function(theta, *inputs) -> losses, gradient, factors."""
    names, shapes = part['var_names'], part['var_shapes']
    if part.label == 'pi':
        return functools.partial(exact.gaussian_update, GaussianPolicy(names, shapes), blocks)
    decay = {str(name): float(d) for name, d in zip(names, part['var_weight_decay'], strict=True) if d}
    return functools.partial(exact.critic_update, decay, blocks, names, shapes)


@functools.cache
def exact_run(part, fed=True):
    """{(quantity, update): answer} of updates that were recorded in detail or end at a recorded boundary."""
    blocks, hyperparameters = blocks_of(part), {name: float(part[name]) for name in
                                                ('lr', 'cold_lr', 'momentum', 'clip_kl', 'stats_decay')}
    update = update_of(part, blocks)
    boundaries = {n: i for i, n in enumerate(part['boundary_index'].tolist())}
    last = len(inputs_of(part)[0]) - 1

    def answers(params, kfac_momentum, cold_momentum, **inputs):
        optimizer = exact.Kfac(part['var_names'], part['var_shapes'], blocks, kfac_update=int(part['kfac_update']),
                               accum_iter=int(part['stats_accum_iter']), **hyperparameters)
        out, series = {}, {name: [] for name in ('loss', 'loss_sampled', 'vFv')}
        for n, (cold, warm) in enumerate(steps_taken(part)):
            if n in boundaries and (fed or n == 0):
                theta = params[boundaries[n]]
                optimizer.kfac_momentum, optimizer.cold_momentum = (momentum[boundaries[n]] for momentum in
                                                                    (kfac_momentum, cold_momentum))
            of_batch = update(theta, *(x[n] for x in inputs.values()))
            row = optimizer.update(theta, of_batch['grad'], of_batch['factors'], cold, warm)
            theta = row['theta']
            for name in series:
                series[name].append((of_batch | row)[name])
            if (n + 1 in boundaries or n in boundaries) if fed else n == last:
                out |= {(name, n): value for name, value in row.items()}
        return out | {name: np.array(values) for name, values in series.items()}
    arrays = {'params': part['params_flat'], **{name: part[f'{name}_flat'] for name in
                                                ('kfac_momentum', 'cold_momentum')}}
    inputs = {f'x{i}': x for i, x in enumerate(inputs_of(part))}
    return measured(answers, {**arrays, **inputs}, rows=dict.fromkeys(inputs, 1), draws=3)


# ---------------------------------------------------------------- stages

def racing(part):
    """Whether the trace is of what a race left: the critic without gates."""
    return part.trace.name == 'kfac' and part.label == 'vf'


def stage(name, at_recorded=False, **kwargs):
    """at_recorded: of recorded parameters and nothing else, so that no race of an earlier update shows."""
    return STAGES.add(name, each=RUN, what=WHAT, information=not at_recorded and racing, **kwargs)


def recorded(part, array, name):
    """(of the port, recorded, exact) for all updates that recorded `array`."""
    for n, row in enumerate(run(part)):
        if f'u{n}_{array}' in part:
            yield row[name], part[f'u{n}_{array}'], exact_run(part)[name, n]


def each_factor(part, array, name, power):
    """The same of all factors, each relative to its size; one of size n has n**power entries in the recorded vector."""
    ends = np.cumsum(part['stat_dims']**power)
    yield pooled((ours[start:end], theirs[start:end], answer[start:end])
                 for ours, theirs, answer in recorded(part, array, name)
                 for start, end in zip([0, *ends], ends, strict=False))


def after_updates(part, array, name):
    """At every recorded boundary but the first."""
    for n, theirs in zip(part['boundary_index'].tolist(), part[array], strict=True):
        if n > 0:
            yield run(part)[n - 1][name], theirs, exact_run(part)[name, n - 1]


@stage('losses', note='each update by itself')
def losses(trace, part):
    for name in ('loss', 'loss_sampled'):
        yield np.array([row[name] for row in run(part)]), part[name], exact_run(part)[name]


@STAGES.add('counters', each=RUN, what=WHAT)
def counters(trace, part):
    yield np.array([row['counters'] for row in run(part)]), part['counters'][1:]


@stage('gradients', at_recorded=True)
def gradients(trace, part):
    for n, grad in zip(part['grad_index'].tolist(), part['grad_flat'], strict=True):
        yield run(part)[n]['grad'], grad, exact_run(part)['grad', n]


@stage('factors of one batch', at_recorded=True, note='that of logstd too: the outer product of a mean gradient near 0')
def factors(trace, part):
    yield from each_factor(part, 'cov_new', 'cov', 2)


@stage('running averages')
def running_averages(trace, part):
    yield from each_factor(part, 'stats_after', 'stats', 2)


@stage('eigenvalues')
def eigenvalues(trace, part):
    yield from each_factor(part, 'eigvals_after', 'eigvals', 1)


@stage('preconditioned gradients', note='before the KL clip')
def preconditioned(trace, part):
    for n, row in enumerate(run(part)):
        if f'u{n}_precond_update_clipped' in part:
            yield (row['precond'], part[f'u{n}_precond_update_clipped'] / part[f'u{n}_clip_coef'],
                   exact_run(part)['precond', n])


@stage('updates', note='after the KL clip')
def clipped(trace, part):
    yield from recorded(part, 'precond_update_clipped', 'clipped')


@stage('vFv')
def vFv(trace, part):
    yield np.array([row['vFv'] for row in run(part)]), part['vFv'], exact_run(part)['vFv']


@stage('momenta')
def momenta(trace, part):
    for name in ('kfac_momentum', 'cold_momentum'):
        yield from after_updates(part, f'{name}_flat', name)


@stage('parameters', note='one or two updates after recorded ones')
def parameters(trace, part):
    yield from after_updates(part, 'params_flat', 'theta')


@stage('way of the parameters, nothing fed', note='from the first to the last update')
def way(trace, part):
    start, *_, end = part['params_flat']
    yield (run(part, fed=False)[-1]['theta'] - start, end - start,
           exact_run(part, fed=False)['theta', len(inputs_of(part)[0]) - 1].map(lambda theta: theta - start))
