"""K-FAC: natural gradients with a Kronecker-factored Fisher matrix (Martens & Grosse 2015; upstream acktr/kfac.py).

Layers leave a record of their inputs and pre-activations (`recording_layers`), from which a block of
`kfac_blocks` makes the factors. All is synchronous, and the same to the bit on all MPI ranks.
"""
import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.acktr.kfac_blocks import BLOCKS, CurvatureBlock, Options
from onpolicybaselines.common.compiled import to_numpy
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import nearest
from onpolicybaselines.common.layers import Layer, recording_layers
from onpolicybaselines.common.mpi_util import allsum, check_synced, size

_compiled = functools.partial(tf.function, autograph=False)
# of updates: cold ones, all, without eigen-decomposition, with one, and those whose factors were gathered
COUNTERS = ('sgd_step', 'global_step', 'cold_step', 'factor_step', 'stats_step')
STATE = (*COUNTERS, 'vFv', 'kfac_momentum', 'cold_momentum')


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

    The state to checkpoint is `state()` and the variables.
    """

    def __init__(self, learning_rate: float | Callable[[], float] = 0.01, momentum: float = 0.9,
                 clip_kl: float = 0.01, kfac_update: int = 2, stats_accum_iter: int = 60,
                 full_stats_init: bool = False, cold_iter: int = 100,
                 cold_lr: float | Callable[[], float] | None = None, is_async: bool = False, async_stats: bool = False,
                 epsilon: float = 1e-2, stats_decay: float = 0.95, blockdiag_bias: bool = False,
                 channel_fac: bool = False, factored_damping: bool = False, approxT2: bool = False,
                 use_float64: bool = False, weight_decay_dict: Mapping[str, float] | None = None,
                 max_grad_norm: float | None = 0.5, released_repeats: bool = False):
        if channel_fac:
            raise UsageError('channel_fac is not supported: leave it out (or use approxT2 for cheaper convolutions)')
        if not full_stats_init:
            stats_accum_iter = cold_iter
        for name, value in [('kfac_update', kfac_update),
                            ('stats_accum_iter' if full_stats_init else 'cold_iter', stats_accum_iter)]:
            if value < 1:
                raise UsageError(f'{name}={value}: use at least 1')
        for name, value in [('epsilon', epsilon), ('clip_kl', clip_kl)]:
            if not value > 0:
                raise UsageError(f'{name}={value}: use a positive number')
        self.learning_rate = learning_rate
        self.cold_lr = cold_lr
        self.max_grad_norm = max_grad_norm
        self._momentum = momentum
        self._clip_kl = clip_kl
        self._kfac_update = kfac_update
        self._epsilon = epsilon
        self._stats_decay = stats_decay
        self._use_float64 = use_float64
        self._cold_iter = cold_iter
        self._stats_accum_iter = stats_accum_iter
        self._weight_decay_dict = dict(weight_decay_dict or {})
        self._full_stats_init = full_stats_init
        self._block_options = {'blockdiag_bias': blockdiag_bias, 'factored_damping': factored_damping,
                               'approxT2': approxT2, 'released_repeats': released_repeats}

        for name in COUNTERS:
            setattr(self, name, 0)
        self.vFv = 0.
        self.blocks: list[CurvatureBlock] = []
        self.var_list: list[tf.Variable] = []
        self.kfac_momentum = self.cold_momentum = np.zeros(0)

    @property
    def _lr(self):
        return float(_value(self.learning_rate))

    @property
    def _cold_lr(self):
        return self._lr if self.cold_lr is None else float(_value(self.cold_lr))

    def get_factors(self, layers: Sequence[Layer],
                    grads: Sequence[tf.Tensor | None]) -> list[tuple[CurvatureBlock, list[tuple]]]:
        """A new block for each layer with variables in `var_list`, in that order, and its uses: (layer, gradient by h).

        grads: of the sampled loss; uses without one do not count. Raises UsageError for a kind of layer without a
        block, and for a variable that is not in exactly one layer.
        """
        ours = {id(v): i for i, v in enumerate(self.var_list)}
        uses: dict[tuple, list[tuple]] = {}
        for layer, grad in zip(layers, grads, strict=True):
            if grad is not None and any(id(v) in ours for v in layer.variables):
                uses.setdefault((layer.kind, *map(id, layer.variables)), []).append((layer, grad))
        found = [of_layer[0][0] for of_layer in uses.values()]
        self._check_layers(found)
        options = Options(dtype='float64' if self._use_float64 else self.var_list[0].dtype.name, **self._block_options)
        blocks = [BLOCKS[layer.kind](layer.variables, options) for layer in found]
        return sorted(zip(blocks, uses.values(), strict=True),
                      key=lambda factor: min(ours[id(v)] for v in factor[0].variables))

    def _check_layers(self, layers):
        count = Counter(id(v) for layer in layers for v in layer.variables)
        for v in self.var_list:
            if count[id(v)] != 1:
                found = f'{count[id(v)]} different layers' if count[id(v)] else 'no layer on record'
                raise UsageError(f'K-FAC: in the sampled loss, variable {_name(v)!r} is used by {found}, and must be '
                                 'by one (record_layer)')
            count[id(v)] = 0
        for layer in layers:
            if layer.kind not in BLOCKS:
                raise UsageError(f'K-FAC has no curvature block for {_name(layer.variables[0])!r}, which is in a layer '
                                 f'of kind {layer.kind!r}: it knows {", ".join(BLOCKS)}')
            for v in layer.variables:
                if count[id(v)]:
                    raise UsageError(f'K-FAC: variable {_name(v)!r} is not to be optimized, but its layer is')

    def compute_stats(self, tape: tf.GradientTape, loss_sampled: tf.Tensor,
                      layers: Sequence[Layer]) -> list[list[tf.Tensor]]:
        """The factors of this batch, for each of `blocks`, which it makes; part of the compiled function.

        loss_sampled: batch mean of -log p of what the model itself sampled; its gradients make the Fisher matrix.
        """
        factors = self.get_factors(layers, tape.gradient(loss_sampled, [layer.h for layer in layers]))
        self.blocks = [block for (block, _) in factors]
        return [block.factors(*zip(*uses, strict=True)) for (block, uses) in factors]

    def apply_stats(self, stats_updates: Sequence[Sequence[tf.Tensor]]) -> None:
        """Merge new factors into the running averages.

        Raises FloatingPointError, with nothing changed, for factors that are not finite.
        """
        if self._full_stats_init and self.sgd_step <= self._cold_iter:
            return
        self._check_finite('the factors', ((block.variables[0], factor) for block, factors
                                           in zip(self.blocks, stats_updates, strict=True) for factor in factors))
        accumulate = self.stats_step < self._stats_accum_iter
        weights = (1., 1. / self._stats_accum_iter) if accumulate else (self._stats_decay, 1. - self._stats_decay)
        self._update_blocks(stats_updates, tf.constant(weights, stats_updates[0][0].dtype))
        self.stats_step += 1

    @_compiled
    def _update_blocks(self, stats_updates, weights):
        for block, factors in zip(self.blocks, stats_updates, strict=True):
            block.update(factors, weights[0], weights[1])

    def _check_finite(self, what, arrays):
        for variable, array in arrays:
            if not np.isfinite(array).all():
                raise FloatingPointError(f'K-FAC update {self.global_step + 1}: {what} of {_name(variable)!r} are not '
                                         'finite; parameters unchanged')

    def compute_stats_eigen(self) -> None:
        """Eigen-decompose the running averages: what preconditions from now on."""
        self._decompose_blocks()
        self.factor_step += 1

    @_compiled
    def _decompose_blocks(self):
        for block in self.blocks:
            block.decompose()

    def get_kfac_precond_updates(self, grads: np.ndarray) -> np.ndarray:
        """The preconditioned gradient, flat [n], scaled down where v'Fv would pass clip_kl. Sets `vFv`.

        Raises FloatingPointError where it is not finite.
        """
        update, product = to_numpy(self._precondition(tf.constant(grads)))
        vFv = float(product) * self._lr**2
        if not math.isfinite(vFv):
            raise FloatingPointError(f'K-FAC update {self.global_step}: the preconditioned gradient is not finite')
        self.vFv = vFv
        return update * math.sqrt(self._clip_kl / vFv) if vFv > self._clip_kl else update

    @_compiled
    def _precondition(self, grads):
        """The preconditioned gradient, and its product with the gradient."""
        pieces = dict(zip(map(id, self.var_list), self._split(grads), strict=True))
        for block in self.blocks:
            damping = [self._epsilon + self._weight_decay_dict.get(_name(v), 0.) for v in block.variables]
            solved = block.multiply_inverse([pieces[id(v)] for v in block.variables], damping)
            pieces.update(zip(map(id, block.variables), solved, strict=True))
        update = tf.cast(tf.concat([tf.reshape(piece, [-1]) for piece in pieces.values()], axis=0), grads.dtype)
        return update, tf.reduce_sum(tf.cast(update, tf.float64) * tf.cast(grads, tf.float64))

    def _split(self, flat):
        pieces = tf.split(flat, [U.numel(v) for v in self.var_list])
        return [tf.reshape(piece, v.shape) for v, piece in zip(self.var_list, pieces, strict=True)]

    def compute_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> tf.Tensor:
        """Gradient of the loss by `var_list`, flat [n]; part of the compiled function."""
        return U.flatgrad(tape.gradient(loss, self.var_list), self.var_list)

    def apply_gradients_kfac(self, grads: np.ndarray) -> np.ndarray:
        """Preconditioner and its momentum brought up to date; returns the step [n], 0 before its phase begins."""
        self.global_step += 1
        if self.stats_step % self._kfac_update == 0 and self.stats_step >= self._stats_accum_iter:
            self.compute_stats_eigen()
        else:
            self.cold_step += 1
        if self.factor_step > 0:
            grads = self.get_kfac_precond_updates(grads)
        if not self.is_warm():
            return np.zeros_like(grads)
        self.kfac_momentum = self._momentum * self.kfac_momentum + grads
        return self._lr * (1. - self._momentum) * self.kfac_momentum

    def is_cold(self) -> bool:
        """Whether this update takes a plain momentum step."""
        return self.sgd_step <= self._cold_iter

    def is_warm(self) -> bool:
        """Whether this update takes a preconditioned step; asked after the plain one is counted."""
        if self._full_stats_init:
            return self.factor_step > 0
        return self.sgd_step >= self._cold_iter

    def apply_gradients(self, grads: np.ndarray) -> None:
        """One update of the variables along the gradient [n].

        In the last two updates of the cold phase both steps are taken, as upstream's conditions have it. Raises
        RuntimeError if the parameters of MPI ranks differ (looked at every 100 updates).
        """
        theta = self._get_flat()
        if self.global_step % 100 == 0:
            check_synced(theta, f'K-FAC, update {self.global_step + 1}')
        step = self._cold_sgd(grads) if self.is_cold() else 0.
        self._set_from_flat(theta - step - self.apply_gradients_kfac(grads))

    def _cold_sgd(self, grads):
        if self.max_grad_norm is not None:
            norm = math.sqrt(np.sum(np.square(grads, dtype='float64')))
            grads = grads * (self.max_grad_norm / max(norm, self.max_grad_norm))
        self.cold_momentum = self._momentum * self.cold_momentum + grads
        self.sgd_step += 1
        return self._cold_lr * self.cold_momentum

    def minimize(self, losses: Callable, var_list: Sequence[tf.Variable], *inputs: tf.TensorSpec) -> Callable:
        """Compile the update; returns it as a function of arrays like `inputs` that gives the losses' values.

        losses(*inputs) -> (loss, loss_sampled, ...), means over the first axis of the inputs, the batch: what is to be
        minimised, -log p of samples of the model (see `compute_stats`), and whatever else is of interest.

        MPI: losses, gradients and factors are averaged over ranks, weighted by their batch sizes: the update is
        that of one rank with all their batches. All ranks must begin with the same parameters.

        Raises UsageError where a variable has no curvature block, the update does so for a batch of one sample, and
        FloatingPointError, with no parameter changed, where gradients or factors are not finite.
        """
        self._start(var_list)

        def evaluate(*args):
            with tf.GradientTape(persistent=True) as tape, recording_layers() as layers:
                values = losses(*args)
            loss, loss_sampled, *_ = values
            return (tuple(values), self.compute_gradients(tape, loss),
                    self.compute_stats(tape, loss_sampled, layers))

        compiled = tf.function(evaluate, input_signature=inputs, autograph=False)
        *_, stats = compiled.get_concrete_function().structured_outputs
        for block, factors in zip(self.blocks, stats, strict=True):
            block.initialize([factor.shape for factor in factors])
        ends = np.cumsum([U.numel(v) for v in self.var_list])

        def update(*args):
            args = [tf.constant(arg, spec.dtype) for (arg, spec) in zip(args, inputs, strict=True)]
            values, grads, stats = _mean_over_ranks(len(args[0]), *compiled(*args))
            grads = grads.numpy()
            self._check_finite('the gradients', zip(self.var_list, np.split(grads, ends[:-1]), strict=True))
            self.apply_stats(stats)
            self.apply_gradients(grads)
            return tuple(map(float, values))

        return update

    def _start(self, var_list):
        if self.var_list:
            raise RuntimeError('this optimizer minimises something already: make another one')
        self.var_list = list(var_list)
        names = [_name(v) for v in self.var_list]
        for name in self._weight_decay_dict:
            if name not in names:
                raise UsageError(f'weight_decay_dict: no variable {name!r}{nearest(name, names)}')
        self._get_flat, self._set_from_flat = U.GetFlat(self.var_list), U.SetFromFlat(self.var_list)
        self.kfac_momentum = np.zeros_like(self._get_flat())
        self.cold_momentum = np.zeros_like(self.kfac_momentum)

    def state(self) -> dict[str, np.ndarray]:
        """Counters, accumulators, factors and eigen-decompositions by name, once `minimize` was called."""
        return {**{name: np.array(getattr(self, name)) for name in STATE},
                **{name: v.numpy() for name, v in self._state_variables().items()}}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` gave. Raises UsageError, with nothing changed, if it is of other variables."""
        expected, found = ({name: np.shape(value) for name, value in s.items()} for s in (self.state(), state))
        for name in {**expected, **found}:
            if expected.get(name) != found.get(name):
                raise UsageError(f'K-FAC state: {name} is {found.get(name, "missing")} there and '
                                 f'{expected.get(name, "missing")} here')
        for name in STATE:
            setattr(self, name, state[name].item() if np.ndim(state[name]) == 0 else state[name].copy())
        for name, v in self._state_variables().items():
            v.assign(state[name])

    def _state_variables(self):
        variables = {}
        for block in self.blocks:
            for i, (stats, (e, Q)) in enumerate(zip(block.stats, block.eigen, strict=True)):
                prefix = f'{_name(block.variables[0])}/{i}'
                variables |= {f'{prefix}/stats': stats, f'{prefix}/e': e, f'{prefix}/Q': Q}
        return variables


def _name(variable):
    return variable.name.split(':')[0]


def _value(rate):
    return rate() if callable(rate) else rate


def _mean_over_ranks(batch, *values):
    """Means of nested tensors over ranks, weighted by batch size."""
    total = float(allsum(batch))
    if total < 2:
        raise UsageError('K-FAC needs a batch of at least two samples')
    if size() == 1:
        return values
    arrays = to_numpy(tf.nest.flatten(values))
    flat = allsum(np.concatenate([np.ravel(array) for array in arrays]) * (float(batch) / total))
    pieces = np.split(flat, np.cumsum([np.size(array) for array in arrays])[:-1])
    means = [tf.constant(piece.reshape(np.shape(array)), array.dtype)
             for piece, array in zip(pieces, arrays, strict=True)]
    return tf.nest.pack_sequence_as(values, means)
