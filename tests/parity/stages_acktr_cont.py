"""What the traces of continuous ACKTR have in common: an iteration of `acktr_cont.learn`, replayed.

Parameters and momenta are the recorded ones before each fit and each policy step, so that no error is counted again;
K-FAC's factors and eigen-decompositions are the port's own from the first iteration on.
"""
import functools
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from harness import Stages, iterations
from mapping import SAME_NAMES, mapping

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr.acktr_cont import adapt_stepsize, compute_advantages
from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.paths import split_paths
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.filters import ZFilter

AMPLIFIED = 'float32 divided by as little as epsilon'


class Replayed(KfacOptimizer):
    """Takes or leaves the preconditioned step as `takes_step` says: in the originals that is up to scheduling."""

    takes_step = None

    def is_warm(self):
        return super().is_warm() if self.takes_step is None else self.takes_step


@dataclass
class Policy:
    """What a trace's policy is replayed with: the port's (or the original's network) and its place in the vectors."""

    losses: object
    var_list: list
    inputs: tuple
    weight_decay: dict
    mapping: object
    released_repeats: bool = False


def box(trace):
    """The action space."""
    return gym.spaces.Box(trace['ac_low'], trace['ac_high'])


def ob_dim(trace):
    return trace['it0_raw_ob'].shape[1]


def labels(trace):
    return trace.find(iterations('path_lengths'))


def paths_of(part):
    """The recorded paths, as `rollout` gives them."""
    arrays = {name: part[name] for name in ('observation', 'action', 'action_dist', 'reward')}
    ends = np.cumsum(part['path_lengths'])[:-1]
    pieces = {name: np.split(array, ends) for name, array in arrays.items()}
    return [{'terminated': bool(terminated), **{name: pieces[name][i] for name in arrays}}
            for i, terminated in enumerate(part['path_terminated'])]


# ---------------------------------------------------------------- the filter

@functools.cache
def filtered(trace):
    """By iteration: ([n, 2 ob_dim] observations, the statistics after it)."""
    obfilter, rows = ZFilter((ob_dim(trace),)), {}
    for label in labels(trace):
        part, states, row = trace.part(label), [], 0
        for length in part['path_lengths']:
            obs = np.array([obfilter(ob) for ob in part['raw_ob'][row:row + length + 1]])
            row += length + 1
            states.append(np.concatenate([obs[:-1], [np.zeros_like(obs[0]), *obs[:-2]]], axis=1))
        rows[label] = np.concatenate(states), obfilter.state(), obfilter.rs.std
    return rows


# ---------------------------------------------------------------- the critic

@functools.cache
def fits(trace):
    """By iteration, the critic before and after its updates."""
    vf = NeuralNetValueFunction(ob_dim(trace), trace['it0_action_dist'].shape[1], vf_iters=len(trace['it0_vf_noise']))
    names = mapping(vf.var_list, trace['vf_var_names'], trace['vf_var_shapes'], SAME_NAMES)
    get, set_from = U.GetFlat(vf.var_list), U.SetFromFlat(vf.var_list)
    rows, before = {}, None
    for label in labels(trace):
        part = trace.part(label)
        set_from(names.ours(part['vf_before_flat']))
        if before is not None:
            set_momenta(vf.optim, names, before, 'vf')
        paths = paths_of(part)
        row = {'vpred_before': np.concatenate(vf.predict(paths))}
        vf.np_random = Recorded(part['vf_noise'])
        vf.fit(paths, split_paths(part['vtargs'], paths))
        rows[label] = row | {'way': names.released(get()) - part['vf_before_flat'],
                             'vpred_after': np.concatenate(vf.predict(paths))} | quantities(vf.optim, trace, names)
        before = part
    return rows


def set_momenta(optim, names, before, prefix):
    """Those recorded at the end of the iteration `before`."""
    for name in ('kfac_momentum', 'cold_momentum'):
        setattr(optim, name, names.ours(before[f'{prefix}_after_{name}_flat']))


class Recorded:
    """Gives recorded noise in place of a generator's."""

    def __init__(self, noise):
        self._noise = iter(noise)

    def standard_normal(self, n, dtype):
        noise = next(self._noise)
        assert noise.shape == (n,)
        return noise


def quantities(optim, trace, names):
    return {'counters': [getattr(optim, name) for name in trace['counter_names'].tolist()], 'vFv': optim.vFv,
            **{name: names.released(getattr(optim, name)) for name in ('kfac_momentum', 'cold_momentum')}}


# ---------------------------------------------------------------- the policy

@functools.cache
def steps(trace, policy_of):
    """By iteration, the policy's update; policy_of(trace) gives a `Policy`."""
    policy = policy_of(trace)
    names, stepsize = policy.mapping, float(trace['stepsize_init'])
    optim = Replayed(stepsize, cold_lr=stepsize * (1 - 0.9), momentum=0.9, kfac_update=2, epsilon=1e-2,
                     stats_decay=0.99, cold_iter=1, max_grad_norm=None, weight_decay_dict=policy.weight_decay,
                     released_repeats=policy.released_repeats)
    update = optim.minimize(policy.losses, policy.var_list, *policy.inputs)
    get, set_from = U.GetFlat(policy.var_list), U.SetFromFlat(policy.var_list)
    rows, before = {}, None
    for label in labels(trace):
        part = trace.part(label)
        set_from(names.ours(part['pi_before_flat']))
        if before is not None:
            set_momenta(optim, names, before, 'pi')
            optim.learning_rate, optim.cold_lr = (float(before['stepsize_after']) * f for f in (1, 1 - 0.9))
        optim.takes_step = bool(part['pi_applied_kfac'])
        n = len(part['standardized_adv'])
        losses = update(part['observation'][:n], part['action'][:n], part['standardized_adv'])
        rows[label] = {'losses': losses, 'way': names.released(get()) - part['pi_before_flat'],
                       'stats': [s.numpy() for block in optim.fisher.blocks for s in block.stats],
                       'eigvals': [e.numpy() for block in optim.fisher.blocks for e, _ in block.eigen],
                       **quantities(optim, trace, names)}
        before = part
    return rows


# ---------------------------------------------------------------- stages

def common_stages(stages: Stages, policy_of, action_dist, kl) -> None:
    """Register what both traces have.

    action_dist(trace, part) -> [n, dist_dim] at the recorded actions; kl(trace, part): of the recorded update.
    """
    def stage(name, array, **kwargs):
        return stages.add(name, each=iterations(array), **kwargs)

    @stage('filter: observations', 'raw_ob', rtol=1e-5, atol=1e-6, reason='recorded in float32')
    def observations(trace, part):
        yield filtered(trace)[part.label][0], part['observation']

    @stage('filter: statistics', 'raw_ob', rtol=1e-9, reason='float64')
    def statistics(trace, part):
        _, state, std = filtered(trace)[part.label]
        yield from ((state['n'], part['zfilter_n']), (state['M'], part['zfilter_mean']), (std, part['zfilter_std']))

    @stage('what the critic is told of actions', 'action_dist', rtol=1e-4, atol=1e-5, reason='float32')
    def action_dists(trace, part):
        yield action_dist(trace, part), part['action_dist']

    @stage('values before the fit', 'vpred_before_fit', rtol=1e-5, norm=True, reason='float32')
    def vpred_before(trace, part):
        yield fits(trace)[part.label]['vpred_before'], part['vpred_before_fit']

    @stage('returns and advantages', 'vtargs', rtol=1e-6, norm=True, reason='values are float32')
    def advantages(trace, part):
        paths = paths_of(part)
        vtargs, advs = (np.concatenate(x) for x in compute_advantages(
            paths, split_paths(part['vpred_before_fit'], paths), float(trace['gamma']), float(trace['lam'])))
        yield vtargs, part['vtargs']
        yield advs, part['advs_all' if 'advs_all' in part else 'advs']

    for who, rows in [('critic', fits), ('policy', functools.partial(steps, policy_of=policy_of))]:
        _update_stages(stage, who, rows)

    @stage('values after the fit', 'vpred_after_fit', rtol=5e-4, norm=True, reason=AMPLIFIED)
    def vpred_after(trace, part):
        yield fits(trace)[part.label]['vpred_after'], part['vpred_after_fit']

    @stage('KL divergence', 'kl', rtol=1e-3, atol=1e-6, reason='float32; of the recorded step')
    def divergence(trace, part):
        yield kl(trace, part), part['kl']

    @stage('next step size', 'stepsize_after', rtol=1e-6, reason='float32; by the recorded KL divergence')
    def stepsize(trace, part):
        number = labels(trace).index(part.label)
        before = trace.part(labels(trace)[number - 1])['stepsize_after'] if number else trace['stepsize_init']
        yield adapt_stepsize(float(before), float(part['kl']), float(trace['desired_kl'])), part['stepsize_after']


def _update_stages(stage, who, rows):
    prefix = {'critic': 'vf', 'policy': 'pi'}[who]

    @stage(f'{who}: counters', f'{prefix}_after_counters', rtol=0, atol=0, reason='integers')
    def counters(trace, part):
        yield np.array(rows(trace)[part.label]['counters']), part[f'{prefix}_after_counters']

    @stage(f'{who}: vFv', f'{prefix}_vFv_after', rtol=5e-4, atol=1e-9, reason=AMPLIFIED)
    def vFv(trace, part):
        yield rows(trace)[part.label]['vFv'], part[f'{prefix}_vFv_after']

    @stage(f'{who}: momenta', f'{prefix}_after_flat', rtol=5e-4, norm=True, reason=AMPLIFIED)
    def momenta(trace, part):
        for name in ('kfac_momentum', 'cold_momentum'):
            yield rows(trace)[part.label][name], part[f'{prefix}_after_{name}_flat']

    @stage(f'{who}: change of the parameters', f'{prefix}_after_flat', rtol=5e-4, norm=True, reason=AMPLIFIED)
    def way(trace, part):
        yield rows(trace)[part.label]['way'], part[f'{prefix}_after_flat'] - part[f'{prefix}_before_flat']
