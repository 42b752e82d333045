"""Curvature blocks of K-FAC: the Fisher information of one layer, from its inputs and back-propagated gradients.

B: batch, k: layers side by side (1 for a plain one), T: positions of a convolution's output,
a: input of one sample with a 1 for the bias, g: gradient of one sample's sampled loss by the pre-activation h.
A = E[a a'] [k or 1, in + 1, in + 1] and G = E[g g'] [k, out, out] are the factors of the Fisher matrix A kron G, whose
rows and columns are the entries of [w; b], [in + 1, out], row by row (Martens & Grosse 2015).

Blocks are TensorFlow, to be compiled or called as they are; `FisherMatrix` compiles what it does with all of them.
"""
import abc
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from onpolicybaselines.acktr.kfac_linalg import Eigen, eigh, second_moment, solve_damped
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.layers import Layer
from onpolicybaselines.common.state import State
from onpolicybaselines.common.variables import name_of, split_like


@dataclass(frozen=True)
class Options:
    """What all blocks of an optimizer have in common; see `KfacOptimizer`."""

    dtype: str = 'float32'
    blockdiag_bias: bool = False
    factored_damping: bool = False
    approxT2: bool = False
    released_repeats: bool = False


class CurvatureBlock(abc.ABC):
    """Fisher information of the variables of one layer.

    stats: running averages of the factors, each [k, n, n]; eigen: (eigenvalues [k, n], eigenvectors [k, n, n]) of each
    when last decomposed, at first those of the unit matrix.
    """

    def __init__(self, variables: Sequence[tf.Variable], options: Options | None = None):
        self.variables = tuple(variables)
        self.options = options or Options()
        self.stats: list[tf.Variable] = []
        self.eigen: list[tuple[tf.Variable, tf.Variable]] = []

    @abc.abstractmethod
    def factors(self, layers: Sequence[Layer], grads: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Factors of one batch, [k, n, n] each.

        layers: the uses of the layer in one pass; grads: gradients of the batch-mean sampled loss by their h.
        """

    def initialize(self, shapes: Sequence[Sequence[int]]) -> None:
        """Begin with factors 0 of these shapes."""
        def variable(value):
            return tf.Variable(value, trainable=False, dtype=self.options.dtype)

        self.stats = [variable(np.zeros(shape)) for shape in shapes]
        self.eigen = [(variable(np.ones(shape[:-1])), variable(np.zeros(shape) + np.eye(shape[-1])))
                      for shape in shapes]

    def update(self, factors: Sequence[tf.Tensor], old_weight: float, new_weight: float) -> None:
        """stats = old_weight * stats + new_weight * factors."""
        for stats, factor in zip(self.stats, factors, strict=True):
            stats.assign(old_weight * stats + new_weight * factor)

    def eigh(self) -> list[Eigen]:
        """The eigen-decompositions of the factors as they are now."""
        return [eigh(stats) for stats in self.stats]

    def set_eigen(self, eigen: Sequence[Eigen]) -> None:
        """Take over what `eigh` gave."""
        for variables, values in zip(self.eigen, eigen, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def named(self) -> dict[str, tf.Variable]:
        """What a state holds, by name."""
        found = {}
        for i, (stats, (e, Q)) in enumerate(zip(self.stats, self.eigen, strict=True)):
            prefix = f'{name_of(self.variables[0])}/{i}'
            found |= {f'{prefix}/stats': stats, f'{prefix}/e': e, f'{prefix}/Q': Q}
        return found

    @abc.abstractmethod
    def multiply_inverse(self, vectors: Sequence[tf.Tensor], damping: Sequence[float]) -> list[tf.Tensor]:
        """(F + damping I)^-1 times one tensor per variable, F as last decomposed; damping: one per variable."""

    @abc.abstractmethod
    def to_dense(self) -> tf.Tensor:
        """F of the present factors, [k, m, m]: all entries of the first variable, then of the next."""

    def _cast(self, x):
        return tf.cast(x, self.options.dtype)


class DenseBlock(CurvatureBlock):
    """A kron G of h = x w + b: one input [in] -> [out] or k layers side by side, w [k, in, out] and b [k, 1, out].

    Uses of one layer several times in a pass count as independent of each other: A is their mean, G their sum.

    A batch of two, whose inputs are 1 and 3 (and a 1 for the bias), and whose gradients by h are 1 and -1 (g is that of
    one sample's loss, twice that of the mean):

    >>> x, grad = tf.constant([[1.], [3.]]), tf.constant([[0.5], [-0.5]])
    >>> block = DenseBlock([tf.Variable([[0.]]), tf.Variable([0.])])
    >>> A, G = block.factors([Layer('dense', block.variables, x, 0 * x, {})], [grad])
    >>> A.numpy().tolist(), G.numpy().tolist()
    ([[[5.0, 2.0], [2.0, 1.0]]], [[[1.0]]])

    Gradients solved by that Fisher matrix and a little damping:

    >>> block.initialize([A.shape, G.shape])
    >>> block.update([A, G], 0., 1.)
    >>> block.set_eigen(block.eigh())
    >>> solved = block.multiply_inverse([tf.constant([[1.]]), tf.constant([0.])], [1e-5, 1e-5])
    >>> [v.numpy().round(2).tolist() for v in solved]
    [[[1.0]], [-2.0]]
    """

    def factors(self, layers, grads):
        moments = [self._moments(layer, grad) for layer, grad in zip(layers, grads, strict=True)]
        A, G = (tf.add_n(uses) for uses in zip(*moments, strict=True))
        A /= len(layers)
        if self.options.blockdiag_bias:
            is_bias = np.arange(A.shape[-1]) == A.shape[-1] - 1
            A = tf.where(is_bias[:, np.newaxis] == is_bias, A, tf.zeros_like(A))
        return [A, G * len(layers) if self.options.released_repeats else G]

    def _moments(self, layer, grad):
        batch = tf.shape(grad)[-2]
        a, g = self._append_one(_stacked(layer.x)), _stacked(grad) * tf.cast(batch, grad.dtype)
        return second_moment(self._cast(a), batch), second_moment(self._cast(g), batch)

    def _append_one(self, x):
        return tf.concat([x, tf.ones_like(x[..., :1])], axis=-1)

    def multiply_inverse(self, vectors, damping):
        w, b = (self._cast(v) for v in vectors)
        k, out = self.stats[1].shape[:2]
        joint = tf.concat([tf.reshape(w, [k, -1, out]), tf.reshape(b, [k, 1, out])], axis=1)
        joint = solve_damped(joint, *self.eigen, damping[0], self.options.factored_damping)
        return [tf.reshape(joint[:, :-1], w.shape), tf.reshape(joint[:, -1:], b.shape)]

    def to_dense(self):
        A, G = self.stats
        size = A.shape[-1] * G.shape[-1]
        return tf.reshape(A[:, :, tf.newaxis, :, tf.newaxis] * G[:, tf.newaxis, :, tf.newaxis, :], [-1, size, size])


class Conv2DBlock(DenseBlock):
    """A kron G of a convolution, its positions taken as independent (Grosse & Martens 2016): w [h, w, in, out].

    a is a patch of the image with a 1 for the bias; upstream's scale: A is divided by T^2 and G multiplied by it.
    approxT2: one a per image instead, the mean patch, and one g, the sum over positions.

    One image of 2 x 2 under a filter of 1 x 1, so that T = 4:

    >>> block = Conv2DBlock([tf.Variable(tf.zeros([1, 1, 1, 1])), tf.Variable([0.])])
    >>> x = tf.reshape(tf.constant([1., 2., 3., 4.]), [1, 2, 2, 1])
    >>> layer = Layer('conv2d', block.variables, x, 0 * x,
    ...               {'strides': [1, 1, 1, 1], 'padding': 'VALID', 'data_format': 'NHWC'})
    >>> A, G = block.factors([layer], [tf.ones_like(x)])
    >>> (A * 4**2).numpy().tolist(), (G / 4).numpy().tolist()      # sums over the four positions
    ([[[30.0, 10.0], [10.0, 4.0]]], [[[4.0]]])
    """

    def _moments(self, layer, grad):
        patches, grad = _patches(layer), _channels_last(grad, layer)
        batch, positions = tf.shape(grad)[0], tf.shape(grad)[1] * tf.shape(grad)[2]
        a = self._append_one(tf.reshape(patches, [batch, positions, -1]))
        a = tf.ensure_shape(a, [None, None, int(np.prod(self.variables[0].shape[:-1])) + 1])
        g = tf.reshape(grad, [batch, positions, grad.shape[-1]]) * tf.cast(batch, grad.dtype)
        if self.options.approxT2:
            a, g = tf.reduce_mean(a, axis=1), tf.reduce_sum(g, axis=1)
        else:
            positions = tf.cast(positions, grad.dtype)
            a, g = (tf.reshape(rows, [-1, rows.shape[-1]]) for rows in (a / positions, g * tf.sqrt(positions)))
        return tuple(second_moment(self._cast(_stacked(rows)), batch) for rows in (a, g))


class FullBlock(CurvatureBlock):
    """F = E[g g'] of a free vector [n] or [1, n] (or k, [k, 1, n]): h is the vector, once for each sample.

    If h is the vector itself, a batch of one, g is the gradient of the batch mean and F has rank one: upstream's rule.

    >>> v, grads = tf.Variable([[0., 0.]]), tf.constant([[1., 0.], [0., 2.]]) / 2       # two samples, of the batch mean
    >>> FullBlock([v]).factors([Layer('free', (v,), v, v, {})], [grads])[0].numpy().tolist()
    [[[0.5, 0.0], [0.0, 2.0]]]
    >>> once = tf.reduce_sum(grads, axis=0, keepdims=True)
    >>> FullBlock([v]).factors([Layer('free', (v,), v, v, {})], [once])[0].numpy().tolist()
    [[[0.25, 0.5], [0.5, 1.0]]]
    """

    def factors(self, layers, grads):
        uses = [self._gradients(layer, grad) for layer, grad in zip(layers, grads, strict=True)]
        return [self._moment([_stacked(g) for g in of_variable]) for of_variable in zip(*uses, strict=True)]

    def _gradients(self, layer, grad):
        """By each variable, for each sample, of the batch-mean loss."""
        return [grad]

    def _moment(self, uses):
        batch = tf.shape(uses[0])[-2]
        if self.options.released_repeats:
            rows = tf.concat(uses, axis=-2) * float(np.sqrt(len(uses)))
        else:
            rows = tf.add_n(uses)
        return second_moment(self._cast(rows * tf.cast(batch, rows.dtype)), batch)

    def multiply_inverse(self, vectors, damping):
        rows = [tf.reshape(self._cast(v), [s.shape[0], 1, -1]) for v, s in zip(vectors, self.stats, strict=True)]
        return [tf.reshape(solve_damped(row, None, eigen, d), v.shape)
                for v, row, eigen, d in zip(vectors, rows, self.eigen, damping, strict=True)]

    def to_dense(self):
        blocks = tf.linalg.LinearOperatorBlockDiag([tf.linalg.LinearOperatorFullMatrix(s) for s in self.stats])
        return blocks.to_dense()


class ScaleAndShiftBlock(FullBlock):
    """F of h = x gamma + beta, x being normalised: one full matrix for beta and one for gamma, none between them.

    >>> beta, gamma, x = tf.Variable([0.]), tf.Variable([1.]), tf.constant([[-1.], [3.]])
    >>> layer = Layer('scale_and_shift', (beta, gamma), x, x, {})
    >>> [F.numpy().item() for F in ScaleAndShiftBlock([beta, gamma]).factors([layer], [tf.constant([[0.5], [0.5]])])]
    [1.0, 5.0]
    """

    def _gradients(self, layer, grad):
        return [grad, grad * layer.x]


BLOCKS: dict[str, Callable[[Sequence[tf.Variable], Options], CurvatureBlock]] = {
    'dense': DenseBlock, 'conv2d': Conv2DBlock, 'scale_and_shift': ScaleAndShiftBlock, 'free': FullBlock}


def blocks_of(layers: Sequence[Layer], grads: Sequence[tf.Tensor | None], var_list: Sequence[tf.Variable],
              options: Options) -> list[tuple[CurvatureBlock, list[tuple]]]:
    """A new block for each layer with variables in `var_list`, in that order, and its uses: (layer, gradient by h).

    grads: of the sampled loss by the h of the layers; uses without one do not count. Raises UsageError for a kind of
    layer without a block, and for a variable that is not in exactly one layer.
    """
    ours = {id(v): i for i, v in enumerate(var_list)}
    uses: dict[tuple, list[tuple]] = {}
    for layer, grad in zip(layers, grads, strict=True):
        if grad is not None and any(id(v) in ours for v in layer.variables):
            uses.setdefault((layer.kind, *map(id, layer.variables)), []).append((layer, grad))
    found = [of_layer[0][0] for of_layer in uses.values()]
    _check_layers(found, var_list)
    blocks = [BLOCKS[layer.kind](layer.variables, options) for layer in found]
    return sorted(zip(blocks, uses.values(), strict=True),
                  key=lambda factor: min(ours[id(v)] for v in factor[0].variables))


def _check_layers(layers, var_list):
    count = Counter(id(v) for layer in layers for v in layer.variables)
    for v in var_list:
        if count[id(v)] != 1:
            found = f'{count[id(v)]} different layers' if count[id(v)] else 'no layer on record'
            raise UsageError(f'K-FAC: in the sampled loss, variable {name_of(v)!r} is used by {found}, and must be '
                             'by one (record_layer)')
        count[id(v)] = 0
    for layer in layers:
        if layer.kind not in BLOCKS:
            raise UsageError(f'K-FAC has no curvature block for {name_of(layer.variables[0])!r}, which is in a layer '
                             f'of kind {layer.kind!r}: it knows {", ".join(BLOCKS)}')
        for v in layer.variables:
            if count[id(v)]:
                raise UsageError(f'K-FAC: variable {name_of(v)!r} is not to be optimized, but its layer is')


_compiled = functools.partial(tf.function, autograph=False)


class FisherMatrix:
    """The Fisher matrix of `var_list`: a block for each layer, nothing between them.

    damping: one number per variable.
    """

    def __init__(self, var_list: Sequence[tf.Variable] = (), blocks: Sequence[CurvatureBlock] = (),
                 damping: Sequence[float] = ()):
        self.var_list = list(var_list)
        self.blocks = list(blocks)
        self._damping = dict(zip(map(id, self.var_list), damping, strict=True))

    def initialize(self, factors: Sequence[Sequence[tf.Tensor]]) -> None:
        """Begin with averages 0 for the factors of each block."""
        with tf.init_scope():
            for block, of_block in zip(self.blocks, factors, strict=True):
                block.initialize([factor.shape for factor in of_block])

    @_compiled
    def update(self, factors: Sequence[Sequence[tf.Tensor]], weights: tf.Tensor) -> None:
        """`CurvatureBlock.update` of each; weights: (old, new)."""
        for block, of_block in zip(self.blocks, factors, strict=True):
            block.update(of_block, weights[0], weights[1])

    @_compiled
    def eigh(self) -> list[list[Eigen]]:
        """`CurvatureBlock.eigh` of each."""
        return [block.eigh() for block in self.blocks]

    @_compiled
    def set_eigen(self, eigen: Sequence[Sequence[Eigen]]) -> None:
        """`CurvatureBlock.set_eigen` of each."""
        for block, of_block in zip(self.blocks, eigen, strict=True):
            block.set_eigen(of_block)

    @_compiled
    def multiply_inverse(self, grads: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The damped inverse times the flat gradient [n], and the product of that with the gradient, a float64."""
        pieces = dict(zip(map(id, self.var_list), split_like(self.var_list, grads), strict=True))
        for block in self.blocks:
            names = list(map(id, block.variables))
            solved = block.multiply_inverse([pieces[name] for name in names], [self._damping[name] for name in names])
            pieces.update(zip(names, solved, strict=True))
        update = tf.cast(tf.concat([tf.reshape(piece, [-1]) for piece in pieces.values()], axis=0), grads.dtype)
        return update, tf.reduce_sum(tf.cast(update, tf.float64) * tf.cast(grads, tf.float64))

    def state(self) -> State:
        """Averages and eigen-decompositions by name."""
        return {name: v.numpy() for block in self.blocks for name, v in block.named().items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        for block in self.blocks:
            for name, v in block.named().items():
                v.assign(state[name])


def _stacked(x):
    """[B, n] as [1, B, n]."""
    return x if x.shape.rank == 3 else x[tf.newaxis]


def _channels_last(x, layer):
    return x if layer.attributes['data_format'] == 'NHWC' else tf.transpose(x, [0, 2, 3, 1])


def _patches(layer):
    """[B, height, width, entries of the filter] of the output's positions."""
    kernel, attributes = layer.variables[0], layer.attributes
    height, width = (attributes['strides'][attributes['data_format'].index(axis)] for axis in 'HW')
    return tf.image.extract_patches(_channels_last(layer.x, layer), [1, *kernel.shape[:2], 1], [1, height, width, 1],
                                    [1, 1, 1, 1], attributes['padding'])
