"""What the traces of continuous ACKTR have in common: an iteration of `acktr_cont.learn`, replayed.

Parameters and momenta are the recorded ones before each fit and each policy step, so that no error is counted again;
K-FAC's factors and eigen-decompositions are the port's own (the exact answer's own) from the first iteration on.
acktr_cont_gaussian.npz is of the same without gates: in cold updates a weight may be overwritten before the gradients
of the layers below have been propagated through it. Its critic makes 51 of those in the first three fits: what it
became is shown and not judged.
"""
import functools
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from exact import kfac as exact, returns
from exact.arithmetic import named
from exact.networks import Pass, elu, mlp
from harness import Stages, computed_once, iterations
from mapping import SAME_NAMES, mapping
from noise import measured

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr import acktr_cont
from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.paths import split_paths
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.filters import ZFilter

KFAC = 'K-FAC: factors, eigenvalues, preconditioned gradients, momenta'


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

@computed_once
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

@computed_once
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
        vf.optim.is_warm = functools.partial(_takes_step, type(vf.optim).is_warm, vf.optim, part)
        paths = paths_of(part)
        row = {'vpred_before': np.concatenate(vf.predict(paths))}
        vf.np_random = Recorded(part['vf_noise'])
        vf.fit(paths, split_paths(part['vtargs'], paths))
        rows[label] = row | {'way': names.released(get()) - part['vf_before_flat'],
                             'vpred_after': np.concatenate(vf.predict(paths))} | quantities(vf.optim, trace, names)
        before = part
    return rows


def _takes_step(is_warm, optim, part):
    """By the rule, unless the recorded fit took no preconditioned step: of the last cold update, scheduling decides."""
    return is_warm(optim) and bool(part['vf_applied_kfac'])


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

@computed_once
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
                       'stats': exact.joined([s for block in optim.fisher.blocks for s in block.stats]),
                       'eigvals': exact.joined([e for block in optim.fisher.blocks for e, _ in block.eigen]),
                       **quantities(optim, trace, names)}
        before = part
    return rows


# ---------------------------------------------------------------- exact answers

@functools.cache
def exact_filter(part):
    """The filtered pairs of an iteration and the statistics after it, from all observations up to then."""
    trace, before = part.trace, []
    for label in labels(trace)[:labels(trace).index(part.label)]:
        before.append(trace.part(label)['raw_ob'])

    def answers(seen):
        found = returns.zfilter(seen)
        now, row, out = found['ob'][sum(map(len, before)):], 0, []
        for length in part['path_lengths'].tolist():
            obs = now[row:row + length]
            row += length + 1
            out.append(np.concatenate([obs, np.concatenate([0 * obs[:1], obs[:-1]])], axis=1))
        return {'ob': np.concatenate(out), 'mean': found['mean'][-1], 'std': found['std'][-1]}
    return measured(answers, {'seen': np.concatenate([*before, part['raw_ob']])}, precision='float64', draws=3)


def critic_inputs(part):
    """[observation, what it is told of the action, step of the episode / 10, 1]."""
    steps = np.concatenate([np.arange(length) for length in part['path_lengths']])[:, np.newaxis] / 10
    return np.concatenate([part['observation'], part['action_dist'], steps, np.ones_like(steps)], axis=1).astype('f4')


def of_variables(trace, prefix, *names):
    return (trace[f'{prefix}_{name}'] for name in names)


def value(trace, theta, X):
    return mlp(Pass(named(theta, *of_variables(trace, 'vf', 'var_names', 'var_shapes'))), X, elu)[0][:, 0]


@functools.cache
def exact_returns(part):
    def answers(reward, values):
        vtargs, advs, start = [], [], 0
        for length, terminated in zip(part['path_lengths'].tolist(), part['path_terminated'], strict=True):
            rew, v = reward[start:start + length], values[start:start + length]
            start += length
            following = np.concatenate([v[1:], 0 * v[-1:] if terminated else v[-1:]])
            gamma, lam = float(part.trace['gamma']), float(part.trace['lam'])
            vtargs.append(returns.discount(rew, gamma))
            advs.append(returns.discount(rew + gamma * following - v, gamma * lam))
        return {'vtargs': np.concatenate(vtargs), 'advs': np.concatenate(advs)}
    inputs = {'reward': part['reward'], 'values': part['vpred_before_fit']}
    # returns are sums of float64 rewards, advantages differences of float32 values
    return {'vtargs': measured(answers, inputs, precision='float64')['vtargs'],
            'advs': measured(answers, inputs)['advs']}


def optimizer(trace, prefix, **hyperparameters):
    epsilon = hyperparameters.pop('epsilon')
    names = 'names', 'optype', 'assnBias_index', 'weight_decay', 'fprop_stat_index', 'bprop_stat_index'
    blocks = exact.blocks_of(*of_variables(trace, prefix, *('var_' + name for name in names)), epsilon)
    return exact.Kfac(trace[f'{prefix}_var_names'], trace[f'{prefix}_var_shapes'], blocks, momentum=0.9, kfac_update=2,
                      **hyperparameters)


def iterated(trace, prefix, optim, one):
    """{(quantity, label): answer} of one(label, ...) with recorded parameters and momenta before each iteration."""
    out = {}
    for number, label in enumerate(labels(trace)):
        for name in ('kfac_momentum', 'cold_momentum'):
            before = labels(trace)[number - 1]
            setattr(optim, name, one.arrays[f'{before}_{prefix}_after_{name}_flat'] if number else 0)
        out |= {(name, label): np.asarray(x) for name, x in one(label).items()}
    return out


def replay_inputs(trace, prefix, *more):
    """Arrays of all iterations by name."""
    names = (f'{prefix}_before_flat', *(f'{prefix}_after_{name}_flat' for name in ('kfac_momentum', 'cold_momentum')),
             *more)
    return {f'{label}_{name}': trace[f'{label}_{name}'] for label in labels(trace) for name in names}


@functools.cache
def exact_fits(trace):
    """{(quantity, iteration): answer} of the critic: values before and after, and what K-FAC made of it."""
    decay = {str(name): float(d) for name, d in zip(*of_variables(trace, 'vf', 'var_names', 'var_weight_decay'),
                                                    strict=True) if d}
    cold_iter = 50

    def answers(**arrays):
        optim = optimizer(trace, 'vf', epsilon=0.1, lr=0.001, cold_lr=0.001 * (1 - 0.9), clip_kl=0.3, stats_decay=0.95,
                          accum_iter=cold_iter)
        cold_steps = 0

        def one(label):
            nonlocal cold_steps
            start = theta = arrays[f'{label}_vf_before_flat']
            X, target = arrays[f'{label}_X'], arrays[f'{label}_vtargs']
            for noise in arrays[f'{label}_vf_noise']:
                cold = cold_steps <= cold_iter
                cold_steps += cold
                found = exact.critic_update(decay, optim.blocks, optim.names, optim.shapes, theta, X, target, noise)
                row = optim.update(theta, found['grad'], found['factors'], cold,
                                   cold_steps >= cold_iter and trace[f'{label}_vf_applied_kfac'])
                theta = row['theta']
            probe = arrays[f'{label}_probe']  # X in its own order
            return {'vpred_before': value(trace, start, probe), 'vpred_after': value(trace, theta, probe),
                    'way': theta - start, **{name: row[name] for name in ('vFv', 'kfac_momentum', 'cold_momentum')}}
        one.arrays = arrays
        return iterated(trace, 'vf', optim, one)
    inputs = {f'{label}_{name}': critic_inputs(trace.part(label)) for label in labels(trace) for name in ('X', 'probe')}
    rows = {f'{label}_{name}': axis for label in labels(trace)
            for name, axis in (('X', 0), ('vtargs', 0), ('vf_noise', 1))}
    return measured(answers, {**inputs, **replay_inputs(trace, 'vf', 'vtargs', 'vf_noise')}, rows, draws=3)


def exact_steps(trace, update):
    """{(quantity, iteration): answer} of the policy; update(blocks, theta, ob, ac, adv) as in exact/kfac.py."""
    def answers(**arrays):
        stepsize = float(trace['stepsize_init'])
        optim = optimizer(trace, 'pi', epsilon=1e-2, lr=stepsize, cold_lr=stepsize * (1 - 0.9), clip_kl=0.01,
                          stats_decay=0.99, accum_iter=1)

        def one(label):
            before = labels(trace).index(label) - 1
            if before >= 0:
                size = float(trace[f'{labels(trace)[before]}_stepsize_after'])
                optim.lr, optim.cold_lr = size, size * (1 - 0.9)
            theta, adv = arrays[f'{label}_pi_before_flat'], arrays[f'{label}_standardized_adv']
            found = update(optim.blocks, theta, arrays[f'{label}_observation'], arrays[f'{label}_action'], adv)
            row = optim.update(theta, found['grad'], found['factors'], before < 1, trace[f'{label}_pi_applied_kfac'])
            return {**row, 'way': row['theta'] - theta}
        one.arrays = arrays
        return iterated(trace, 'pi', optim, one)
    batch = 'observation', 'action', 'standardized_adv'
    inputs, rows = replay_inputs(trace, 'pi', *batch), [f'{label}_{name}' for label in labels(trace) for name in batch]
    for name in rows:
        inputs[name] = inputs[name][:len(trace[f'{name.split("_")[0]}_standardized_adv'])]
    return measured(answers, inputs, rows)


# ---------------------------------------------------------------- stages

def common_stages(stages: Stages, policy_of, exact_policy, action_dist, kl) -> None:
    """Register what both traces have.

    exact_policy(trace): `exact_steps` of it; action_dist(trace, part): [n, dist_dim] at the recorded actions, kl(trace,
    part): of the recorded update, each (of the port, exact).
    """
    def stage(name, array, **kwargs):
        return stages.add(name, each=iterations(array), **kwargs)

    @stage('filter: observations', 'raw_ob', what='statistics of the observation filters', note='recorded in float32')
    def observations(trace, part):
        yield filtered(trace)[part.label][0], part['observation'], exact_filter(part)['ob']

    @stage('filter: statistics', 'raw_ob', what='statistics of the observation filters')
    def statistics(trace, part):
        _, state, std = filtered(trace)[part.label]
        yield state['n'], part['zfilter_n']
        yield state['M'], part['zfilter_mean'], exact_filter(part)['mean']
        yield std, part['zfilter_std'], exact_filter(part)['std']

    @stage('what the critic is told of actions', 'action_dist', what='densities of the policies')
    def action_dists(trace, part):
        ours, answer = action_dist(trace, part)
        yield ours, part['action_dist'], answer

    @stage('values before the fit', 'vpred_before_fit', what='values of states')
    def vpred_before(trace, part):
        yield (fits(trace)[part.label]['vpred_before'], part['vpred_before_fit'],
               exact_fits(trace)['vpred_before', part.label])

    @stage('returns and advantages', 'vtargs', what='advantages and returns')
    def advantages(trace, part):
        paths = paths_of(part)
        vtargs, advs = (np.concatenate(x) for x in acktr_cont.compute_advantages(
            paths, split_paths(part['vpred_before_fit'], paths), float(trace['gamma']), float(trace['lam'])))
        yield vtargs, part['vtargs'], exact_returns(part)['vtargs']
        yield advs, part['advs_all' if 'advs_all' in part else 'advs'], exact_returns(part)['advs']

    _update_stages(stage, 'critic', fits, exact_fits, racing)
    _update_stages(stage, 'policy', functools.partial(steps, policy_of=policy_of), exact_policy, False)

    @stage('values after the fit', 'vpred_after_fit', what='values of states', information=racing)
    def vpred_after(trace, part):
        yield (fits(trace)[part.label]['vpred_after'], part['vpred_after_fit'],
               exact_fits(trace)['vpred_after', part.label])

    @stage('KL divergence', 'kl', what='KL divergences', note='of the recorded step')
    def divergence(trace, part):
        ours, answer = kl(trace, part)
        yield ours, part['kl'], answer

    @stage('next step size', 'stepsize_after', what='step sizes of ACKTR', note='by the recorded KL divergence')
    def stepsize(trace, part):
        number = labels(trace).index(part.label)
        before = trace.part(labels(trace)[number - 1])['stepsize_after'] if number else trace['stepsize_init']
        kl, desired_kl = float(part['kl']), float(trace['desired_kl'])
        factor = 1 / 1.5 if kl > 2 * desired_kl else 1.5 if kl < desired_kl / 2 else 1
        answer = measured(lambda before: {'size': np.clip(before * factor, 1e-8, 1)}, {'before': before})['size']
        yield acktr_cont.adapt_stepsize(float(before), kl, desired_kl), part['stepsize_after'], answer


def racing(part):
    """Whether the trace is of what a race left: the critic without gates."""
    return part.trace.name == 'acktr_cont_gaussian'


def _update_stages(stage, who, rows, answers, information):
    prefix = {'critic': 'vf', 'policy': 'pi'}[who]

    @stage(f'{who}: counters', f'{prefix}_after_counters', what=KFAC)
    def counters(trace, part):
        yield np.array(rows(trace)[part.label]['counters']), part[f'{prefix}_after_counters']

    @stage(f'{who}: vFv', f'{prefix}_vFv_after', what=KFAC, information=information)
    def vFv(trace, part):
        yield rows(trace)[part.label]['vFv'], part[f'{prefix}_vFv_after'], answers(trace)['vFv', part.label]

    @stage(f'{who}: momenta', f'{prefix}_after_flat', what=KFAC, information=information)
    def momenta(trace, part):
        for name in ('kfac_momentum', 'cold_momentum'):
            yield rows(trace)[part.label][name], part[f'{prefix}_after_{name}_flat'], answers(trace)[name, part.label]

    @stage(f'{who}: change of the parameters', f'{prefix}_after_flat', what=KFAC, information=information)
    def way(trace, part):
        yield (rows(trace)[part.label]['way'], part[f'{prefix}_after_flat'] - part[f'{prefix}_before_flat'],
               answers(trace)['way', part.label])
