"""A small fault in the package's mathematics is found: each one is put into the real code, and its stages must fail."""
import contextlib
import importlib
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from closing import DEFAULT
from harness import forget, golden_in

PACKAGE = 'onpolicybaselines.'
GOLDEN = golden_in(DEFAULT)


@dataclass
class Fault:
    """What is wrong; faulty(original) stands in for `where`, module:name; stages of `trace` that must find it, on the
    part `label`, and on other parts. compiled: whether what is compiled for a whole trace has it in it."""

    what: str
    where: str
    faulty: Callable
    trace: str
    stages: list[str]
    label: str = ''
    compiled: bool = False
    slow: bool = False
    also: dict[str, list[str]] = field(default_factory=dict)

    def places(self):
        """(label, stage) of every stage that must find it."""
        return [(label, stage) for label, stages in {self.label: self.stages, **self.also}.items() for stage in stages]


# ---------------------------------------------------------------- ways to be wrong

def argument(**changes):
    """Called with keywords changed: a number is a factor."""
    def faulty(original):
        def call(*args, **kwargs):
            return original(*args, **{**kwargs, **{name: change(kwargs.get(name)) for name, change in changes.items()}})
        return call
    return faulty


def result(change):
    """Gives what `change` makes of the result and the arguments."""
    return lambda original: lambda *args, **kwargs: change(original(*args, **kwargs), *args, **kwargs)


def lam_alone(original):
    """The sum decays by lambda, not by gamma lambda."""
    return lambda seg, gamma, lam, **kwargs: original(seg, gamma, lam / gamma, **kwargs)


def sample_deviation(original):
    def moments(x, *args, **kwargs):
        mean, std, n = original(x, *args, **kwargs)
        return mean, std * np.sqrt(n / (n - 1)), n
    return moments


def inexact_products(original):
    """CG on A + 1e-4."""
    return lambda f_Ax, b, **kwargs: original(lambda p: f_Ax(p) + np.float32(1e-4) * p, b, **kwargs)


def root_of_tolerance(original):
    """The tolerance is compared with the norm of the residual, not its square."""
    return lambda *args, residual_tol=1e-10, **kwargs: original(*args, residual_tol=residual_tol ** 2, **kwargs)


def uncorrected_adam(original):
    def update(self, grad, stepsize):
        t = self.t + 1
        original(self, grad, stepsize * (1 - self.beta1 ** t) / np.sqrt(1 - self.beta2 ** t))
    return update


def uncorrected_fit(original):
    """As `uncorrected_adam`, in the fit on many minibatches."""
    def minimize(adam, *args, **kwargs):
        fit = original(adam, *args, **kwargs)

        def one_by_one(arrays, minibatches, stepsize):
            for minibatch in minibatches:
                t = adam.t + 1
                fit(arrays, [minibatch], stepsize * (1 - adam.beta1 ** t) / np.sqrt(1 - adam.beta2 ** t))
        return one_by_one
    return minimize


def uncorrected_step(original):
    """As `uncorrected_adam`, of the Adam that is compiled into an update."""
    def update(self, function, learning_rate, *args, n=1):
        t = self.t + 1
        corrected = learning_rate * (1 - self.beta1 ** t) / np.sqrt(1 - self.beta2 ** t)
        return original(self, function, corrected, *args, n=n)
    return update


def never_clipped(original):
    return lambda self, grads, flat, step, clip_norm=None: original(self, grads, flat, step)


def advantages_by_sample_deviation(original):
    def minibatch(self, cliprange, obs, *arrays):
        out = original(self, cliprange, obs, *arrays)
        out[3] = out[3] * np.float32(np.sqrt((len(obs) - 1) / len(obs)))
        return out
    return minibatch


def wider_clipping(original):
    return lambda self, cliprange, *arrays: original(self, cliprange * 1.01, *arrays)


def inner_epsilon(original):
    """epsilon is added to v, not to its root."""
    def update(self, grad, stepsize):
        theta = self.getflat()
        original(self, grad, stepsize)
        t = self.t
        corrected = stepsize * np.sqrt(1 - self.beta2 ** t) / (1 - self.beta1 ** t)
        self.setfromflat((theta - corrected * self.m / np.sqrt(self.v + self.epsilon)).astype('f4'))
    return update


def counted_twice(original):
    def update(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.t += 1
    return update


def counted_twice_in_the_fit(original):
    def minimize(adam, *args, **kwargs):
        fit = original(adam, *args, **kwargs)

        def counted(arrays, minibatches, stepsize):
            fit(arrays, minibatches, stepsize)
            adam.t += len(minibatches)
        return counted
    return minimize


def half_steps(original):
    """The line search begins with half a step."""
    def linesearch(losses_at, thbefore, fullstep, *args, **kwargs):
        theta, stepsize, losses = original(losses_at, thbefore, fullstep * np.float32(0.5), *args, **kwargs)
        return theta, stepsize / 2, losses
    return linesearch


def swapped(original):
    """KL(q || p) for KL(p || q)."""
    return lambda self, other: original(other, self)


def without_logdet(original):
    """-log p of a Gaussian without the sum of log standard deviations."""
    return lambda self, x: original(self, x) - tf.reduce_sum(self.logstd, axis=-1)


def other_epsilon(original):
    """1e-5 in layer normalisation, as frameworks have it today."""
    return lambda x, epsilon: original(x, 1e-5)


def with_sample_variance(original):
    def assign(self):
        original(self)
        n = max(float(self._moments.count), 1.5)
        self.std.assign(self.std * np.float32(np.sqrt(n / (n - 1))))
    return assign


def half_of_logstd(original):
    """The curvature of log standard deviations is 1, not 2."""
    def given(self, *args):
        product = original(self, *args)

        def halved(v):
            out = product(v)
            self.logstd.of(out)[:] /= 2
            return out
        return halved
    return given


def more_damping(original):
    def solve_damped(v, left, right, damping, factored=False):
        return original(v, left, right, damping * 1.01, factored)
    return solve_damped


def no_decay_in_damping(original):
    def getStats(self, *args):
        with mock.patch.object(self, '_weight_decay_dict', {}):
            return original(self, *args)
    return getStats


def no_decay_at_all(original):
    return lambda var_list, *args: dict.fromkeys(original(var_list, *args), 0.)


def one_sample_less(original):
    return lambda rows, batch: original(rows, tf.maximum(batch - 1, 1))


def decay_of_averages(original):
    def apply(self, *args, **kwargs):
        with mock.patch.object(self, '_stats_decay', self._stats_decay ** 1.01):
            return original(self, *args, **kwargs)
    return apply


def smaller_vFv(original):
    """The KL clip leaves the learning rate out of v'Fv once, and clips."""
    def precondition(self, grads):
        with mock.patch.object(self, '_clip_kl', self._clip_kl * 0.03):
            return original(self, grads)
    return precondition


def plain_momentum(original):
    """acc = m acc + (1 - m) g: the accumulator is scaled, not the step."""
    def apply(self, grads):
        step = original(self, grads)
        self.kfac_momentum = (1 - self._momentum) * self.kfac_momentum
        return step
    return apply


def no_cold_momentum(original):
    def apply(self, grads):
        self.cold_momentum = 0 * self.cold_momentum
        return original(self, grads)
    return apply


def population_variance(original):
    return property(lambda self: original.fget(self) * np.sqrt((self.n - 1) / self.n) if self.n > 1 else
                    original.fget(self))


def lam_alone_in_paths(original):
    return lambda paths, vpreds, gamma, lam: original(paths, vpreds, gamma, lam / gamma)


def time_in_steps(original):
    """Time goes into the critic in steps, not in tens of them."""
    def preproc(self, path):
        X = original(self, path)
        X[:, -2] *= 10
        return X
    return preproc


def log_of_std(original):
    """The critic sees log standard deviations."""
    return lambda pd, ac_na, critic_sees: tf.concat([pd.mean, pd.logstd], axis=1)


def swapped_terms(original):
    return lambda oldpd, pd, ac_na, kl_estimator: original(pd, oldpd, ac_na, kl_estimator)


def without_first_logdet(original):
    """The log-determinant of the first coupling is left out."""
    return lambda self, x: original(self, x) * (self.name != 'Nlayer_0')


def another_row(original):
    """One observation is left out."""
    return lambda self, x: original(self, x[1:])


def epsilon_in_denominator(original):
    def filter_like(x, clip_range=(-5., 5.)):
        _, rms = original(x)
        return (lambda x: tf.clip_by_value((tf.cast(x, 'float32') - rms.mean) / (rms.std + 1e-5), *clip_range)), rms
    return filter_like


def decomposed_twice(original):
    def apply(self, eigen_list):
        original(self, eigen_list)
        self.factor_step += 1
    return apply


# ---------------------------------------------------------------- the list

DISTRIBUTIONS, MOMENTS = 'common.distributions:', 'common.mpi_moments:mpi_moments'
FAULTS = [
    # families
    Fault('a log-determinant left out', DISTRIBUTIONS + 'DiagGaussianPd.neglogp', without_logdet, 'distributions',
          ['log-probability', 'gradients'], 'diag'),
    Fault('KL arguments swapped', DISTRIBUTIONS + 'DiagGaussianPd.kl', swapped, 'distributions',
          ['KL divergence', 'gradients'], 'diag'),
    Fault('KL arguments swapped, categories', DISTRIBUTIONS + 'CategoricalPd.kl', swapped, 'distributions',
          ['KL divergence', 'gradients'], 'cat'),
    Fault('entropy without the 1 in log 2 pi e', DISTRIBUTIONS + 'DiagGaussianPd.entropy',
          result(lambda h, pd: h - pd.mean.shape[-1] / 2), 'distributions', ['entropy'], 'diag'),
    Fault('probabilities with a floor', DISTRIBUTIONS + 'CategoricalPd.mean',
          lambda original: property(lambda self: original.fget(self) + 1e-6), 'distributions', ['parameters'], 'cat'),
    Fault('the least probable action', DISTRIBUTIONS + 'CategoricalPd.mode',
          lambda original: lambda self: tf.argmin(self.logits, axis=-1, output_type=tf.int32), 'distributions',
          ['mode'], 'cat'),
    Fault('half rounded up', DISTRIBUTIONS + 'BernoulliPd.mode',
          lambda original: lambda self: tf.cast(self.ps >= 0.5, tf.int32), 'distributions', ['mode at one half'],
          'bern'),
    Fault('mixture of weight 1 each', DISTRIBUTIONS + 'GaussianMixturePd.neglogp',
          result(lambda neglogp, pd, x: neglogp - np.log(pd.mean.shape[-2])), 'gmm',
          ['released log_prob', 'mixture log-density'], 'K2'),
    Fault('the density for the mean of log-densities', DISTRIBUTIONS + 'GaussianMixturePd.neglogp',
          lambda original: lambda self, x: -self.dist.log_prob(x), 'gmm',
          ['released log_prob', 'gradient of released log_prob'], 'K2'),
    Fault('parameters off by 1e-5', 'common.policies:PolicyWithValue.pd',
          lambda original: lambda self, *args: self.pdtype.pdfromflat(original(self, *args).flatparam() + 1e-5), 'gmm',
          ['means and log standard deviations', 'component log-densities'], 'K2'),
    # conjugate gradients, returns, filters, Adam
    Fault('A + 1e-4 for A', 'common.cg:cg', inexact_products, 'cg',
          ['iterates and solution', 'iterates, products fed in', 'directions, products fed in'], 'f32_iters10'),
    Fault('the norm for its square in the stopping rule', 'common.cg:cg', root_of_tolerance, 'cg',
          ['number of products'], 'f64_tol'),
    Fault('lambda for gamma lambda', 'trpo_mpi.trpo_mpi:add_vtarg_and_adv', lam_alone, 'gae',
          ['advantages', 'TD(lambda) returns', 'standardised advantages']),
    Fault('n - 1 for n in the standard deviation', MOMENTS, sample_deviation, 'gae', ['standardised advantages']),
    Fault('mean square for the variance', 'common.math_util:explained_variance',
          lambda original: lambda ypred, y: 1 - np.mean((y - ypred) ** 2) / np.var(y), 'math_util',
          ['explained variance'], 'ev'),
    Fault('the discount in float32', 'common.math_util:discount',
          lambda original: lambda x, gamma: original(x, float(np.float32(gamma))), 'math_util', ['discount'],
          'disc_099'),
    Fault('another initial count', 'common.mpi_running_mean_std:RunningMeanStd.__init__',
          lambda original: lambda self, epsilon=1e-3, shape=(): original(self, epsilon, shape), 'running_mean_std',
          ['mpi: sums and count'], '0'),
    Fault('n - 1 for n in the variance', 'common.mpi_running_mean_std:RunningMeanStd._assign',
          with_sample_variance, 'running_mean_std', ['mpi: mean and std'], '2'),
    Fault('n - 1 for n in the batch variance', 'common.running_mean_std:RunningMeanStd.update_from_moments',
          lambda original: lambda self, mean, var, n: original(self, mean, var * n / max(n - 1, 1), n),
          'running_mean_std', ['numpy: mean, variance, count'], '2'),
    Fault('Adam without bias correction', 'common.mpi_adam:MpiAdam.update', uncorrected_adam, 'mpi_adam',
          ['parameters']),
    Fault('epsilon inside the root', 'common.mpi_adam:MpiAdam.update', inner_epsilon, 'mpi_adam', ['parameters']),
    Fault('beta2 of 0.99', 'common.mpi_adam:MpiAdam.__init__', argument(beta2=lambda beta2: 0.99), 'mpi_adam',
          ['parameters', 'moments']),
    Fault('time counted twice', 'common.mpi_adam:MpiAdam.update', counted_twice, 'mpi_adam', ['time']),
    # TRPO, Gaussian
    Fault('another initial count', 'common.mpi_running_mean_std:RunningMeanStd.__init__',
          lambda original: lambda self, epsilon=1e-3, shape=(): original(self, epsilon, shape), 'trpo_gaussian',
          ['filter: sums and count'], 'it0'),
    Fault('epsilon added to the standard deviation', 'common.mpi_running_mean_std:RunningMeanStd._assign',
          result(lambda _, rms, *args: rms.std.assign(rms.std + 1e-5)), 'trpo_gaussian',
          ['filter: mean and std', 'value predictions', 'gradient', 'Fisher-vector products: probes',
           'value fit: first gradient', 'value fit: last gradient'], 'it0'),
    Fault('lambda for gamma lambda', 'trpo_mpi.trpo_mpi:add_vtarg_and_adv', lam_alone, 'trpo_gaussian',
          ['advantages and returns'], 'it0'),
    Fault('a log-determinant left out', DISTRIBUTIONS + 'DiagGaussianPd.neglogp', without_logdet, 'trpo_gaussian',
          ['line search: losses of trials'], 'it0', compiled=True),
    Fault('KL arguments swapped', DISTRIBUTIONS + 'DiagGaussianPd.kl', swapped, 'trpo_gaussian',
          ['line search: losses of trials'], 'it0', compiled=True),
    Fault('entropy without the 1 in log 2 pi e', DISTRIBUTIONS + 'DiagGaussianPd.entropy',
          result(lambda h, pd: h - pd.mean.shape[-1] / 2), 'trpo_gaussian', ['losses before'], 'it0', compiled=True),
    Fault('curvature 1 for log standard deviations', 'trpo_mpi.by_hand:GaussianFisher.given', half_of_logstd,
          'trpo_gaussian', ['Fisher-vector products: probes', 'Fisher-vector products: CG', 'shs', 'CG direction',
                            'policy change, all by the port'], 'it0'),
    Fault('damping + 1 %', 'trpo_mpi.trust_region:trust_region_step', argument(cg_damping=lambda d: d * 1.01),
          'trpo_gaussian', ['Fisher-vector products: CG', 'CG direction', 'shs', 'policy change, all by the port'],
          'it0'),
    Fault('max_kl + 0.1 %', 'trpo_mpi.trust_region:trust_region_step', argument(max_kl=lambda kl: kl * 1.001),
          'trpo_gaussian', ['lm and expected improvement', 'full step', 'policy change'], 'it0'),
    Fault('CG on A + 1e-4', 'trpo_mpi.trust_region:cg', inexact_products, 'trpo_gaussian',
          ['CG, recorded products fed in', 'CG direction', 'full step', 'policy change',
           'policy change, all by the port'], 'it0'),
    Fault('line search from half a step', 'trpo_mpi.trust_region:linesearch', half_steps, 'trpo_gaussian',
          ['line search: step size', 'line search: losses of trials', 'policy parameters after', 'policy change'],
          'it0'),
    Fault('Adam without bias correction', 'common.mpi_fit:minimize', uncorrected_fit, 'trpo_gaussian',
          ['value fit: last gradient', 'value parameters, change', 'Adam moments after'], 'it0', compiled=True),
    Fault('time counted twice', 'common.mpi_fit:minimize', counted_twice_in_the_fit, 'trpo_gaussian',
          ['Adam time after'], 'it0'),
    # TRPO, flow
    Fault('epsilon 1e-5 in layer normalisation', 'common.flows:standardize', other_epsilon, 'trpo_flow',
          ['state vector', 'forward map, per coupling', 'forward map', 'inverse, per coupling',
           'log-determinant, per coupling', 'inverse and log-probability', 'the same of forward samples'],
          'final', compiled=True,
          also={'it1': ['gradient', 'Fisher-vector products: probes', 'log-probabilities after']}),
    Fault('a log-determinant left out', 'common.flows:AffineCoupling._forward_log_det_jacobian', without_first_logdet,
          'trpo_flow', ['log-determinant, per coupling', 'inverse and log-probability', 'the same of forward samples',
                        'sampled entropy'], 'final', compiled=True,
          also={'it1': ['gradient', 'line search: losses of trials', 'log-probabilities after']}),
    Fault('the true Hessian of layer normalisation', 'trpo_mpi.losses:released_moments',
          lambda original: contextlib.nullcontext, 'trpo_flow',
          ['Fisher-vector products: probes', 'Fisher-vector products: CG', 'shs'], 'it1', compiled=True),
    Fault('epsilon added to the standard deviation', 'common.models:_normalize_clip_observation',
          epsilon_in_denominator, 'trpo_flow', ['normalised observations'], 'final', compiled=True),
    Fault('damping + 1 %', 'trpo_mpi.trust_region:trust_region_step', argument(cg_damping=lambda d: d * 1.01),
          'trpo_flow', ['Fisher-vector products: CG', 'shs'], 'it2',
          also={'it0': ['CG direction', 'policy change, all by the port']}),
    Fault('max_kl + 1 %', 'trpo_mpi.trust_region:trust_region_step', argument(max_kl=lambda kl: kl * 1.01),
          'trpo_flow', ['lm and expected improvement', 'full step', 'policy change'], 'it0'),
    Fault('an observation left out', 'common.mpi_running_mean_std:RunningMeanStd.update', another_row, 'trpo_flow',
          ['filter: update'], 'it0'),
    # PPO
    Fault('n - 1 for n in the standard deviation', 'ppo2.model:Model.minibatch', advantages_by_sample_deviation, 'ppo2',
          ['advantages', 'losses, KL, clip fraction', 'gradient'], 'case1'),
    Fault('clipping range + 1 %', 'ppo2.model:Model.minibatch', wider_clipping, 'ppo2', ['losses, KL, clip fraction'],
          'case1'),
    Fault('a log-determinant left out', DISTRIBUTIONS + 'DiagGaussianPd.neglogp', without_logdet, 'ppo2',
          ['means, probabilities, values', 'losses, KL, clip fraction', 'gradient'], 'case1', compiled=True),
    Fault('entropy with a weight of 1e-3', 'ppo2.model:Model.__init__', argument(ent_coef=lambda c: c + 1e-3), 'ppo2',
          ['gradient', 'all updates in a row'], 'case1', compiled=True),
    Fault('weight of the value loss + 1 %', 'ppo2.model:Model.__init__', argument(vf_coef=lambda c: c * 1.01), 'ppo2',
          ['gradient', 'gradient: norm'], 'case1', compiled=True),
    Fault('a gradient of any length', 'common.adam:AdamOptimizer.apply_gradients', never_clipped, 'ppo2',
          ['Adam: moments'], 'case1', compiled=True),
    Fault('epsilon 1e-8', 'common.adam:AdamOptimizer.__init__', argument(epsilon=lambda e: 1e-8), 'ppo2',
          ['parameters after', 'change of the parameters', 'all updates in a row'], 'case0', compiled=True),
    Fault('Adam without bias correction', 'common.adam:AdamOptimizer.update', uncorrected_step, 'ppo2',
          ['parameters after', 'change of the parameters', 'all updates in a row'], 'case1'),
    # K-FAC
    Fault('n - 1 for n in the factors', 'acktr.kfac_blocks:second_moment', one_sample_less, 'kfac_gated',
          ['factors of one batch', 'running averages', 'eigenvalues', 'preconditioned gradients'], 'pi'),
    Fault('damping + 1 %', 'acktr.kfac_blocks:solve_damped', more_damping, 'kfac_gated',
          ['preconditioned gradients', 'updates', 'vFv', 'momenta', 'parameters', 'way of the parameters, nothing fed'],
          'pi'),
    Fault('weight decay left out of the damping', 'acktr.kfac:KfacOptimizer.getStats', no_decay_in_damping,
          'kfac_gated', ['preconditioned gradients', 'updates', 'vFv', 'momenta', 'parameters',
                         'way of the parameters, nothing fed'], 'pi', also={'vf': ['preconditioned gradients',
                                                                                  'momenta']}),
    Fault('weight decay left out of the loss', 'acktr.value_functions:weight_decay_dict', no_decay_at_all, 'kfac_gated',
          ['losses', 'gradients'], 'vf'),
    Fault('averages decay a little faster', 'acktr.kfac:KfacOptimizer._apply_stats', decay_of_averages, 'kfac_gated',
          ['running averages'], 'pi'),
    Fault('the KL clip sets in early', 'acktr.kfac:KfacOptimizer.getKfacPrecondUpdates', smaller_vFv, 'kfac_gated',
          ['updates', 'momenta'], 'pi'),
    Fault('the accumulator scaled by 1 - momentum', 'acktr.kfac:KfacOptimizer.apply_gradients_kfac', plain_momentum,
          'kfac_gated', ['momenta'], 'pi'),
    Fault('no momentum in the cold phase', 'acktr.kfac:KfacOptimizer.apply_gradients', no_cold_momentum, 'kfac_gated',
          ['momenta', 'parameters'], 'pi'),
    Fault('decompositions counted twice', 'acktr.kfac:KfacOptimizer.applyStatsEigen', decomposed_twice, 'kfac_gated',
          ['counters'], 'pi'),
    # continuous ACKTR
    Fault('n for n - 1 in the filter', 'common.running_stat:RunningStat.var', population_variance,
          'acktr_cont_gaussian_gated', ['filter: observations', 'filter: statistics'], 'it1'),
    Fault('the critic sees log standard deviations', 'acktr.policies:seen_by_critic', log_of_std,
          'acktr_cont_gaussian_gated', ['what the critic is told of actions'], 'it1', compiled=True),
    Fault('KL arguments swapped', 'acktr.policies:kl_terms', swapped_terms, 'acktr_cont_gaussian_gated',
          ['KL divergence'], 'it1', compiled=True),
    Fault('the critic sees steps, not tens of them', 'acktr.value_functions:NeuralNetValueFunction._preproc',
          time_in_steps, 'acktr_cont_gaussian_gated',
          ['values before the fit', 'values after the fit', 'critic: vFv', 'critic: momenta',
           'critic: change of the parameters'], 'it2'),
    Fault('damping + 1 %', 'acktr.kfac_blocks:solve_damped', more_damping, 'acktr_cont_gaussian_gated',
          ['policy: vFv', 'policy: momenta', 'policy: change of the parameters'], 'it2'),
    Fault('decompositions counted twice', 'acktr.kfac:KfacOptimizer.applyStatsEigen', decomposed_twice,
          'acktr_cont_gaussian_gated', ['policy: counters', 'critic: counters'], 'it2'),
    Fault('lambda for gamma lambda', 'acktr.acktr_cont:compute_advantages', lam_alone_in_paths,
          'acktr_cont_gaussian_gated', ['returns and advantages'], 'it0'),
    Fault('the next step size + 0.1 %', 'acktr.acktr_cont:adapt_stepsize', result(lambda size, *args: size * 1.001),
          'acktr_cont_gaussian_gated', ['next step size'], 'it0'),
    Fault('actions squashed', 'acktr.cont_model:scale_action',
          lambda original: lambda ac, space: original(np.tanh(ac), space), 'acktr_cont_gaussian_gated',
          ['actions sent'], 'it0'),
    Fault('n - 1 for n in the standard deviation', MOMENTS, sample_deviation, 'acktr_cont_gaussian_gated',
          ['standardised advantages'], 'it0'),
    Fault('a log-determinant left out', 'common.flows:AffineCoupling._forward_log_det_jacobian', without_first_logdet,
          'acktr_cont_flow', ['what the critic is told of actions', 'policy: losses', 'policy: gradient',
                              'policy: log-densities after', 'KL divergence'], 'it1', compiled=True),
    Fault('n - 1 for n in the factors', 'acktr.kfac_blocks:second_moment', one_sample_less, 'acktr_cont_flow',
          ['policy: factors', 'policy: eigenvalues'], 'it1', slow=True),
]

# checks of the traces themselves
WITHOUT = {('stages_ppo2', 'parameters by name'), ('stages_trpo_flow', 'entries without effect')}


def originals(where):
    """(object that has the attribute, its name, what it is)."""
    module, _, path = where.partition(':')
    *parents, name = path.split('.')
    holder = importlib.import_module(PACKAGE + module)
    for parent in parents:
        holder = getattr(holder, parent)
    return holder, name, operator.attrgetter(name)(holder)


def stage_of(trace, name):
    from registry import STAGES_OF
    return next(stage for stage in importlib.import_module(STAGES_OF[trace]).STAGES if stage.name == name)


# the compiled ones last: after them all is compiled again
@pytest.mark.parametrize('fault', [
    pytest.param(fault, id=f'{fault.trace}: {fault.what}', marks=[pytest.mark.slow] if fault.slow else [])
    for fault in sorted(FAULTS, key=lambda fault: fault.compiled)])
def test_a_fault_is_found(fault):
    trace = GOLDEN.traces[fault.trace]
    holder, name, original = originals(fault.where)
    forget(fault.compiled)
    try:
        with mock.patch.object(holder, name, fault.faulty(original)):
            results = [stage_of(fault.trace, stage).run(trace, label) for label, stage in fault.places()]
    finally:
        forget(fault.compiled)
    missed = [str(result) for result in results if result.passed]
    assert not missed


def code_of(stage):
    """Stages of two traces that are computed by one function are one."""
    return stage.compute.__module__, stage.name


def test_every_stage_has_a_fault():
    judged = {code_of(stage) for _, stage, label in GOLDEN.cases()
              if label is not None and stage.information is not True}
    found = {code_of(stage_of(fault.trace, name)) for fault in FAULTS for _, name in fault.places()}
    assert judged - found == WITHOUT
