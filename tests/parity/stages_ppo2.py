"""ppo2.npz: consecutive minibatch updates of upstream's PPO with a Gaussian policy.

Every update starts from the recorded parameters and moments, so that no error of an earlier one is counted again; the
last stage is fed nothing.
"""
import functools

import numpy as np
from harness import Stages, spaces_of
from mapping import SAME_NAMES, mapping

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.ppo2.model import Model

STAGES = Stages()
CASE = r'(case\d+)_obs'


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
        number = int(part.label.removeprefix('case'))
        before, ours = part.trace.part(f'case{number - 1}'), self.parameters.ours
        moments = {name: ours(before[f'adam_{name}_flat']) if number else np.zeros_like(self.get()) for name in 'mv'}
        self.model.trainer.set_state({**moments, 't': number})
        self.set(ours(part['flat_before']))

    def arguments(self, part):
        """Of `Model.train`, beside the step size."""
        arrays = (part[name] for name in ('obs', 'returns', 'returns', 'actions', 'old_values', 'old_neglogp'))
        return float(part.trace['cliprange']), *arrays  # without recurrence there are no masks

    def update(self, part):
        return self.model.train(float(part.trace['lr']), *self.arguments(part))


@functools.cache
def port_of(trace):
    """One port per trace: its functions are compiled once."""
    return Port(trace)


@functools.cache
def update(part):
    """(losses, parameters after, state of Adam after) of one update."""
    port = port_of(part.trace)
    port.begin(part)
    return port.update(part), port.get(), port.model.trainer.state()


@functools.cache
def gradient(part):
    """(losses, gradient) at the parameters before the update."""
    port = port_of(part.trace)
    port.begin(part)
    return port.model.compute_lossandgrad(*port.model.minibatch(*port.arguments(part)))


@STAGES.add('parameters by name', each=CASE, rtol=0, atol=0, reason='they are copied')
def parameters(trace, part):
    yield trace.variables(f'{part.label}_params_before', trace['var_names']), part['flat_before']


@STAGES.add('advantages', each=CASE, rtol=1e-5, reason='float32; sums in other orders')
def advantages(trace, part):
    port = port_of(trace)
    yield port.model.minibatch(*port.arguments(part))[3], part['advs_standardised']


@STAGES.add('means, probabilities, values', each=CASE, rtol=1e-5, norm=True, reason='float32')
def policy(trace, part):
    port = port_of(trace)
    port.begin(part)
    yield port.model.act(part['obs'], stochastic=False), part['mean_new']
    yield port.model.neglogp(part['obs'], part['actions']), part['neglogp_new']
    yield port.model.value(part['obs']), part['vpred_new']


@STAGES.add('losses, KL, clip fraction', each=CASE, rtol=1e-5, reason='float32')
def losses(trace, part):
    assert trace['stats_names'].tolist() == port_of(trace).model.loss_names
    yield gradient(part)[0], part['stats']
    yield update(part)[0], part['stats']


@STAGES.add('gradient', each=CASE, rtol=1e-5, norm=True, reason='float32')
def raw_gradient(trace, part):
    yield gradient(part)[1], port_of(trace).parameters.ours(part['grad_flat_raw'])


@STAGES.add('gradient: norm', each=CASE, rtol=1e-5, reason='float32')
def norm(trace, part):
    yield np.linalg.norm(gradient(part)[1]), part['grad_global_norm']


@STAGES.add('gradient, scaled down', each=CASE, rtol=1e-5, norm=True, reason='float32')
def clipped_gradient(trace, part):
    grad = gradient(part)[1]
    grad = grad * (float(trace['max_grad_norm']) / max(np.linalg.norm(grad), float(trace['max_grad_norm'])))
    yield grad, port_of(trace).parameters.ours(part['grad_flat_clipped'])


@STAGES.add('parameters after', each=CASE, rtol=1e-5, norm=True, reason='float32')
def after(trace, part):
    yield update(part)[1], port_of(trace).parameters.ours(part['flat_after'])


@STAGES.add('change of the parameters', each=CASE, rtol=1e-3, norm=True,
            reason='float32: a difference of parameters a thousand times as large')
def change(trace, part):
    ours = port_of(trace).parameters.ours
    yield update(part)[1] - ours(part['flat_before']), ours(part['flat_after'] - part['flat_before'])


@STAGES.add('Adam: moments', each=CASE, rtol=1e-4, norm=True, reason='float32; v is of squares')
def moments(trace, part):
    for name in 'mv':
        yield update(part)[2][name], port_of(trace).parameters.ours(part[f'adam_{name}_flat'])


@STAGES.add('all updates in a row', rtol=1e-5, norm=True, reason='float32; fed nothing but minibatches')
def in_a_row(trace, part):
    port, cases = port_of(trace), [trace.part(label) for label in trace.find(CASE)]
    port.begin(cases[0])
    for case in cases:
        port.update(case)
    yield port.get(), port.parameters.ours(cases[-1]['flat_after'])
