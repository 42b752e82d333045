"""K-FAC: natural gradients with a Kronecker-factored Fisher matrix (Martens & Grosse 2015; upstream acktr/kfac.py).

Layers leave a record of their inputs and pre-activations, from which a block of `kfac_blocks` makes the factors. All is
synchronous, and the same to the bit on all MPI ranks.
"""
import tensorflow as tf
import numpy as np
import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onpolicybaselines.acktr.kfac_blocks import CurvatureBlock, FisherMatrix, Options, blocks_of
from onpolicybaselines.acktr.kfac_tape import compiled, gradients, layers, taped
from onpolicybaselines.common import tf_util as U
from onpolicybaselines.common.checks import check_values
from onpolicybaselines.common.compiled import to_numpy
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.gradients import check_finite_parts, clip_by_global_norm
from onpolicybaselines.common.keywords import Count, Positive, check_ranges, nearest
from onpolicybaselines.common.math_util import unflatten_vector
from onpolicybaselines.common.mpi_world import check_synced
from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.variables import name_of


class KfacOptimizer:
    """Momentum on gradients preconditioned by the Fisher matrix of each layer, after a first phase of plain momentum.

    Args:
        learning_rate: a number or a function that gives one; may be set anew at any time, as may `cold_lr`.
        momentum: of both phases. The preconditioned step is learning_rate * (1 - momentum) * accumulator.
        clip_kl: bound on v'Fv, v = learning_rate * preconditioned gradient: a longer step is scaled down to it.
        kfac_update: updates from one eigen-decomposition to the next.
        stats_accum_iter: updates whose factors are averaged evenly, before exponential decay; used with
            full_stats_init, and otherwise cold_iter is.
        full_stats_init: gather factors after the cold phase only, and take no step until there are stats_accum_iter.
        cold_iter: updates of the cold phase, which has one more; the preconditioner comes in with its last two.
        cold_lr: learning rate of the cold phase; None is that of `learning_rate`.
        is_async, async_stats: upstream's background threads. Accepted, without effect: all is synchronous here.
        epsilon: damping, added to the products of eigenvalues.
        stats_decay: weight of the past in the running averages.
        blockdiag_bias: no terms between a layer's weights and its bias.
        channel_fac: not supported.
        factored_damping: each factor damped by its part of the root of epsilon.
        approxT2: convolutions have one factor row per image, summed over positions.
        use_float64: factors, eigenvectors and preconditioning in float64 (eigen-decompositions always are).
        weight_decay_dict: {name of a weight: coefficient}, added to its damping; that of a bias is its weight's.
        max_grad_norm: of the gradient in the cold phase; None is no bound.
        released_repeats: layers used R times in a pass have R times the Fisher matrix, as upstream.

    Raises UsageError for arguments out of range.

    >>> from onpolicybaselines.common.layers import record_layer
    >>> w, b = tf.Variable([[0.], [0.]], name='w'), tf.Variable([0.], name='b')
    >>> def losses(x, y, noise):
    ...     h = record_layer('dense', (w, b), x, tf.matmul(x, w) + b)
    ...     return tf.reduce_mean((h - y)**2) / 2, tf.reduce_mean((h - tf.stop_gradient(h + noise))**2) / 2
    >>> optim = KfacOptimizer(1., momentum=0., cold_iter=1, cold_lr=0., kfac_update=1, epsilon=1e-6, clip_kl=1e6)
    >>> column = tf.TensorSpec([None, 1])
    >>> update = optim.minimize(losses, [w, b], tf.TensorSpec([None, 2]), column, column)
    >>> x, noise = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]), np.array([[-1], [1], [1], [-1]])
    >>> loss, _ = update(x, x @ [[2], [3]] + 4, noise)
    >>> w.numpy().round(3).T, b.numpy().round(3)        # the step is Newton's: the Fisher matrix is the Hessian here
    (array([[2., 3.]], dtype=float32), array([4.], dtype=float32))
    """

    def __init__(self, learning_rate: float | Callable[[], float] = 0.01, momentum: float = 0.9,
                 clip_kl: Positive[float] = 0.01, kfac_update: Count = 2, stats_accum_iter: Count = 60,
                 full_stats_init: bool = False, cold_iter: Count = 100,
                 cold_lr: float | Callable[[], float] | None = None, is_async: bool = False, async_stats: bool = False,
                 epsilon: Positive[float] = 1e-2, stats_decay: float = 0.95, blockdiag_bias: bool = False,
                 channel_fac: bool = False, factored_damping: bool = False, approxT2: bool = False,
                 use_float64: bool = False, weight_decay_dict: Mapping[str, float] | None = None,
                 max_grad_norm: float | None = 0.5, released_repeats: bool = False):
        unused = 'cold_iter' if full_stats_init else 'stats_accum_iter'
        check_ranges(KfacOptimizer.__init__, {**locals(), unused: None})
        if channel_fac:
            raise UsageError('channel_fac is not supported: leave it out (or use approxT2 for cheaper convolutions)')
        self.max_grad_norm = max_grad_norm
        self.learning_rate = learning_rate
        self._momentum = momentum
        self._clip_kl = clip_kl
        self._kfac_update = kfac_update
        self._epsilon = epsilon
        self._stats_decay = stats_decay
        self._blockdiag_bias = blockdiag_bias
        self._approxT2 = approxT2
        self._use_float64 = use_float64
        self._factored_damping = factored_damping
        self._released_repeats = released_repeats
        self._cold_iter = cold_iter
        self.cold_lr = cold_lr
        self._stats_accum_iter = stats_accum_iter
        self._weight_decay_dict = dict(weight_decay_dict or {})
        self._full_stats_init = full_stats_init
        if not self._full_stats_init:
            self._stats_accum_iter = self._cold_iter

        # of updates: cold ones, all, without eigen-decomposition, with one, and those whose factors were gathered
        self.sgd_step = 0
        self.global_step = 0
        self.cold_step = 0
        self.factor_step = 0
        self.stats_step = 0
        self.vFv = 0.

        self.fisher = FisherMatrix()
        self.param_vars = []
        self.stats = []
        self.stats_eigen = []
        self.kfac_momentum = self.cold_momentum = np.zeros(0)

    def getFactors(self, g: Sequence[tf.Tensor | None],
                   varlist: Sequence[tf.Variable]) -> list[tuple[CurvatureBlock, list[tuple]]]:
        """See `kfac_blocks.blocks_of`; g: gradients of the sampled loss by the h of the layers on record."""
        options = Options('float64' if self._use_float64 else varlist[0].dtype.name, self._blockdiag_bias,
                          self._factored_damping, self._approxT2, self._released_repeats)
        return blocks_of(layers(), g, varlist, options)

    def getStats(self, factors: Sequence[tuple[CurvatureBlock, list[tf.Tensor]]],
                 varlist: Sequence[tf.Variable]) -> list[list[tf.Variable]]:
        """The running averages of the factors of each block, 0 at first."""
        if len(self.stats) == 0:
            blocks, tensors = zip(*factors, strict=True)
            damping = [self._epsilon + self._weight_decay_dict.get(name_of(var), 0.) for var in varlist]
            self.fisher = FisherMatrix(varlist, blocks, damping)
            self.fisher.initialize(tensors)
            self.stats = [block.stats for block in blocks]
        return self.stats

    def compute_stats(self, loss_sampled: tf.Tensor,
                      var_list: Sequence[tf.Variable] | None = None) -> list[list[tf.Tensor]]:
        """The factors of this batch, for each block; for a loss on the tape.

        loss_sampled: batch mean of log p of what the model itself sampled, or of -log p; its gradients make the Fisher
        matrix. var_list: None is that of `minimize`.
        """
        varlist = var_list
        if varlist is None:
            varlist = self.param_vars

        gs = gradients(loss_sampled, [layer.h for layer in layers()])
        factors = [(block, block.factors(*zip(*uses, strict=True))) for block, uses in self.getFactors(gs, varlist)]
        self.getStats(factors, varlist)
        return [statsUpdates for _, statsUpdates in factors]

    def apply_stats(self, statsUpdates: Sequence[Sequence[tf.Tensor]]) -> None:
        """Merge new factors into the running averages.

        Raises FloatingPointError, with nothing changed, for factors that are not finite.
        """
        def updateAccumStats():
            if not self._full_stats_init or self.sgd_step > self._cold_iter:
                self._apply_stats(statsUpdates, accumulate=True, accumulateCoeff=1. / self._stats_accum_iter)

        def updateRunningAvgStats():
            self._apply_stats(statsUpdates)

        if self.stats_step >= self._stats_accum_iter:
            updateRunningAvgStats()
        else:
            updateAccumStats()

    def _apply_stats(self, statsUpdates, accumulate=False, accumulateCoeff=0.):
        check_finite_parts(f'K-FAC update {self.global_step + 1}: the factors of {{!r}} are',
                           ((block.variables[0], factor) for block, factors
                            in zip(self.fisher.blocks, statsUpdates, strict=True) for factor in factors))
        weights = (1., accumulateCoeff) if accumulate else (self._stats_decay, 1. - self._stats_decay)
        self.fisher.update(statsUpdates, tf.constant(weights, statsUpdates[0][0].dtype))
        self.stats_step += 1

    def getStatsEigen(self, stats: Sequence[Sequence[tf.Variable]] | None = None) -> list[list[tuple]]:
        """Eigenvalues and eigenvectors of the running averages when last decomposed, for each block."""
        if len(self.stats_eigen) == 0:
            self.stats_eigen = [block.eigen for block in self.fisher.blocks]
        return self.stats_eigen

    def computeStatsEigen(self) -> list[list[tuple]]:
        """The eigen-decompositions of the running averages as they are now, for each block."""
        return self.fisher.eigh()

    def applyStatsEigen(self, eigen_list: Sequence[Sequence[tuple]]) -> None:
        """Precondition with what `computeStatsEigen` gave from now on."""
        self.fisher.set_eigen(eigen_list)
        self.factor_step += 1

    def getKfacPrecondUpdates(self, grads: np.ndarray) -> np.ndarray:
        """The preconditioned gradient, flat [n], scaled down where v'Fv would pass clip_kl. Sets `vFv`.

        Raises FloatingPointError where it is not finite.
        """
        update, vg = to_numpy(self.fisher.multiply_inverse(tf.constant(grads)))
        vg = float(vg) * _value(self.learning_rate)**2
        if not math.isfinite(vg):
            raise FloatingPointError(f'K-FAC update {self.global_step}: the preconditioned gradient is not finite')
        self.vFv = vg
        scaling = math.sqrt(self._clip_kl / vg) if vg > self._clip_kl else 1.
        return scaling * update

    def compute_gradients(self, loss: tf.Tensor, var_list: Sequence[tf.Variable] | None = None) -> tf.Tensor:
        """Gradient of a loss on the tape by var_list (None: that of `minimize`), flat [n]."""
        varlist = var_list
        if varlist is None:
            varlist = self.param_vars
        g = gradients(loss, varlist)

        return U.flatgrad(g, varlist)

    def apply_gradients_kfac(self, grads: np.ndarray) -> np.ndarray:
        """Preconditioner and its momentum brought up to date; returns the step [n], 0 before its phase begins."""
        self.global_step += 1
        if self.stats_step % self._kfac_update == 0 and self.stats_step >= self._stats_accum_iter:
            self.applyStatsEigen(self.computeStatsEigen())
        else:
            self.cold_step += 1

        u = self.getKfacPrecondUpdates(grads) if self.factor_step > 0 else grads
        if not self.is_warm():
            return np.zeros_like(u)
        self.kfac_momentum = self._momentum * self.kfac_momentum + u
        return _value(self.learning_rate) * (1. - self._momentum) * self.kfac_momentum

    def apply_gradients(self, grads: np.ndarray) -> None:
        """One update of the variables along the gradient [n].

        In the last two updates of the cold phase both steps are taken, as upstream's conditions have it. Raises
        RuntimeError if the parameters of MPI ranks differ (looked at every 100 updates).
        """
        theta = self._get_flat()
        if self.global_step % 100 == 0:
            check_synced(theta, f'K-FAC, update {self.global_step + 1}')

        def coldSGDstart():
            sgd_grads = clip_by_global_norm(grads, self.max_grad_norm)
            self.cold_momentum = self._momentum * self.cold_momentum + sgd_grads
            self.sgd_step += 1
            return _value(self.learning_rate if self.cold_lr is None else self.cold_lr) * self.cold_momentum

        step = coldSGDstart() if self.is_cold() else 0.
        theta = theta - step - self.apply_gradients_kfac(grads)
        check_values(f'K-FAC update {self.global_step}', step=theta)
        self._set_from_flat(theta)

    def is_cold(self) -> bool:
        """Whether this update takes a plain momentum step."""
        return self.sgd_step <= self._cold_iter

    def is_warm(self) -> bool:
        """Whether this update takes a preconditioned step; asked after the plain one is counted."""
        if self._full_stats_init:
            return self.factor_step > 0
        return self.sgd_step >= self._cold_iter

    def minimize(self, losses: Callable, var_list: Sequence[tf.Variable], *inputs: tf.TensorSpec) -> Callable:
        """Compile the update; returns it as a function of arrays like `inputs` that gives the losses' values.

        losses(*inputs) -> (loss, loss_sampled, ...), means over the first axis of the inputs, the batch: what is to be
        minimised, log p of samples of the model, or -log p, and whatever else is of interest.

        MPI: losses, gradients and factors are averaged over ranks, weighted by their batch sizes: the update is
        that of one rank with all their batches. All ranks must begin with the same parameters.

        Raises UsageError where a variable has no curvature block, the update does so for a batch of one sample, and
        FloatingPointError, with no parameter changed, where gradients or factors are not finite.
        """
        if self.param_vars:
            raise RuntimeError('this optimizer minimises something already: make another one')
        self.param_vars = list(var_list)
        names = list(map(name_of, self.param_vars))
        for name in self._weight_decay_dict:
            if name not in names:
                raise UsageError(f'weight_decay_dict: no variable {name!r}{nearest(name, names)}')
        self._get_flat, self._set_from_flat = U.GetFlat(self.param_vars), U.SetFromFlat(self.param_vars)
        self.kfac_momentum = np.zeros_like(self._get_flat())
        self.cold_momentum = np.zeros_like(self.kfac_momentum)

        def compute(*args):
            with taped(losses, *args) as values:
                loss, loss_sampled, *_ = values
                grads = self.compute_gradients(loss, var_list=var_list)
                return values, grads, self.compute_stats(loss_sampled, var_list=var_list)

        compute = compiled(compute, inputs)

        def update(*args):
            values, grads, statsUpdates = compute(*args)
            grads = grads.numpy()
            pieces = unflatten_vector(grads, [v.shape for v in self.param_vars])
            check_finite_parts(f'K-FAC update {self.global_step + 1}: the gradients of {{!r}} are',
                               zip(self.param_vars, pieces, strict=True))
            loss, _, *others = values = tuple(map(float, values))
            check_values(f'K-FAC update {self.global_step + 1}', loss=[loss, *others])
            self.apply_stats(statsUpdates)
            self.apply_gradients(grads)
            return values

        return update

    def state(self) -> State:
        """Counters, learning rates that are numbers, accumulators, factors and eigen-decompositions."""
        rates = {'learning_rate': self.learning_rate, 'cold_lr': self.cold_lr}
        return {'sgd_step': self.sgd_step, 'global_step': self.global_step, 'cold_step': self.cold_step,
                'factor_step': self.factor_step, 'stats_step': self.stats_step, 'vFv': self.vFv,
                **{name: rate for name, rate in rates.items() if not callable(rate)},
                'kfac_momentum': np.array(self.kfac_momentum), 'cold_momentum': np.array(self.cold_momentum),
                'fisher': self.fisher.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave, once `minimize` was called.

        Raises ValueError, with nothing changed, if it is of other variables.
        """
        check_shapes('K-FAC', state, self.state())
        check_shapes('K-FAC', state['fisher'], self.fisher.state())
        self.fisher.set_state(state['fisher'])
        for name in state.keys() - {'fisher'}:
            setattr(self, name, copy.copy(state[name]))


def _value(rate):
    return float(rate() if callable(rate) else rate)
