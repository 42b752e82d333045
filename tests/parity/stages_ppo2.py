"""ppo2.npz: consecutive minibatch updates of upstream's PPO with a Gaussian policy.

Every update starts from the recorded parameters and moments, so that no error of an earlier one is counted again; the
last stage is fed nothing.
"""
import functools

import numpy as np
from exact import ppo2 as exact_ppo2
from harness import Stages, compiled_once, computed_once, spaces_of
from mapping import SAME_NAMES, mapping
from noise import measured

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.ppo2.model import Model

STAGES = Stages()
CASE = r'(case\d+)_obs'
UPDATE = "PPO's update of a minibatch: losses, gradient, Adam"


class Port:
    """The model of the trace, and the mapping of its parameters."""

    def __init__(self, trace):
        hidden = [shape for name, shape in zip(trace['var_names'].tolist(), trace['var_shapes'], strict=True)
                  if name.startswith('pi.mlp_fc') and name.endswith('.w')]
        ob, ac = trace['case0_obs'], trace['case0_actions']
        spaces = spaces_of(ob, ac)
        self.model = Model(
            policy=build_policy(spaces, 'mlp', value_network='copy', num_layers=len(hidden),
                                num_hidden=int(hidden[0][1])),
            ob_space=spaces.observation_space, ac_space=spaces.action_space, nbatch_act=1, nbatch_train=len(ob),
            nsteps=len(ob), np_random=np.random.default_rng(0),
            **{name: float(trace[name]) for name in ('ent_coef', 'vf_coef', 'max_grad_norm')})
        self.parameters = mapping(self.model.params, trace['var_names'], trace['var_shapes'], SAME_NAMES)
        self.get, self.set = U.GetFlat(self.model.params), U.SetFromFlat(self.model.params)

    def begin(self, part):
        """Parameters and moments as they were before the update."""
        ours = self.parameters.ours
        moments = {name: ours(array) for name, array in moments_before(part).items()}
        self.model.trainer.set_state({**moments, 't': number_of(part)})
        self.set(ours(part['flat_before']))

    def arguments(self, part):
        """Of `Model.train`, beside the step size."""
        arrays = (part[name] for name in ('obs', 'returns', 'returns', 'actions', 'old_values', 'old_neglogp'))
        return float(part.trace['cliprange']), *arrays  # without recurrence there are no masks

    def update(self, part):
        return self.model.train(float(part.trace['lr']), *self.arguments(part))


def number_of(part):
    return int(part.label.removeprefix('case'))


def moments_before(part):
    before = part.trace.part(f'case{number_of(part) - 1}')
    return {name: before[f'adam_{name}_flat'] if number_of(part) else 0 * part['flat_before'] for name in 'mv'}


@compiled_once
def port_of(trace):
    """One port per trace: its functions are compiled once."""
    return Port(trace)


@computed_once
def update(part):
    """(losses, parameters after, state of Adam after) of one update."""
    port = port_of(part.trace)
    port.begin(part)
    return port.update(part), port.get(), port.model.trainer.state()


@computed_once
def gradient(part):
    """(losses, gradient) at the parameters before the update."""
    port = port_of(part.trace)
    port.begin(part)
    return port.model.compute_lossandgrad(*port.model.minibatch(*port.arguments(part)))


def one_update(trace, number):
    return functools.partial(exact_ppo2.update, names=trace['var_names'], shapes=trace['var_shapes'], t=number + 1,
                             **{name: float(trace[name]) for name in ('lr', 'cliprange', 'ent_coef', 'vf_coef',
                                                                      'max_grad_norm', 'adam_eps')})


def batch_of(part):
    return {name: part[name] for name in ('obs', 'actions', 'returns', 'old_values', 'old_neglogp')}


@functools.cache
def exact(part):
    return measured(one_update(part.trace, number_of(part)),
                    {'theta': part['flat_before'], **moments_before(part), **batch_of(part)})


def stage(name, **kwargs):
    return STAGES.add(name, each=CASE, what=UPDATE, **kwargs)


@stage('parameters by name', note='they are copied')
def parameters(trace, part):
    yield trace.variables(f'{part.label}_params_before', trace['var_names']), part['flat_before']


@stage('advantages')
def advantages(trace, part):
    port = port_of(trace)
    yield port.model.minibatch(*port.arguments(part))[3], part['advs_standardised'], exact(part)['advs']


@stage('means, probabilities, values')
def policy(trace, part):
    port = port_of(trace)
    port.begin(part)
    yield port.model.act(part['obs'], stochastic=False), part['mean_new'], exact(part)['mean']
    yield port.model.neglogp(part['obs'], part['actions']), part['neglogp_new'], exact(part)['neglogp']
    yield port.model.value(part['obs']), part['vpred_new'], exact(part)['vpred']


@stage('losses, KL, clip fraction')
def losses(trace, part):
    assert trace['stats_names'].tolist() == port_of(trace).model.loss_names
    for ours in (gradient(part)[0], update(part)[0]):
        yield from zip(ours, part['stats'], exact(part)['stats'], strict=True)


@stage('gradient')
def raw_gradient(trace, part):
    ours = port_of(trace).parameters.ours
    yield gradient(part)[1], ours(part['grad_flat_raw']), exact(part)['grad'].map(ours)


@stage('gradient: norm')
def norm(trace, part):
    yield np.linalg.norm(gradient(part)[1]), part['grad_global_norm'], exact(part)['norm']


@stage('parameters after')
def after(trace, part):
    ours = port_of(trace).parameters.ours
    yield update(part)[1], ours(part['flat_after']), exact(part)['theta'].map(ours)


@stage('change of the parameters')
def change(trace, part):
    ours = port_of(trace).parameters.ours
    yield (update(part)[1] - ours(part['flat_before']), ours(part['flat_after'] - part['flat_before']),
           exact(part)['theta'].map(lambda theta: ours(theta - part['flat_before'])))


@stage('Adam: moments', note='of the gradient, scaled down')
def moments(trace, part):
    ours = port_of(trace).parameters.ours
    for name in 'mv':
        yield update(part)[2][name], ours(part[f'adam_{name}_flat']), exact(part)[name].map(ours)


@STAGES.add('all updates in a row', what=UPDATE, note='fed nothing but minibatches')
def in_a_row(trace, part):
    port, cases = port_of(trace), [trace.part(label) for label in trace.find(CASE)]
    port.begin(cases[0])
    for case in cases:
        port.update(case)

    def answers(theta, m, v, **batches):
        for number, case in enumerate(cases):
            batch = {name: batches[f'{number}{name}'] for name in batch_of(case)}
            found = one_update(trace, number)(theta, m, v, **batch)
            theta, m, v = (found[name] for name in ('theta', 'm', 'v'))
        return {'theta': theta}
    batches = {f'{number}{name}': x for number, case in enumerate(cases) for name, x in batch_of(case).items()}
    answer = measured(answers, {'theta': cases[0]['flat_before'], **moments_before(cases[0]), **batches})['theta']
    yield port.get(), port.parameters.ours(cases[-1]['flat_after']), answer.map(port.parameters.ours)
