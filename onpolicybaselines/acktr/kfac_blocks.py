"""Curvature blocks of K-FAC: the Fisher information of one layer, from its inputs and back-propagated gradients.

B: batch, k: layers side by side (1 for a plain one), T: positions of a convolution's output,
a: input of one sample with a 1 for the bias, g: gradient of one sample's sampled loss by the pre-activation h.
A = E[a a'] [k or 1, in + 1, in + 1] and G = E[g g'] [k, out, out] are the factors of the Fisher matrix A kron G, whose
rows and columns are the entries of [w; b], [in + 1, out], row by row (Martens & Grosse 2015).

Everything here is TensorFlow, to be compiled by the optimizer or called as it is.
"""
import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from onpolicybaselines.acktr.kfac_utils import eigh, second_moment, solve_damped
from onpolicybaselines.common.layers import Layer


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

    def decompose(self) -> None:
        """Eigen-decompose the factors as they are now."""
        for stats, variables in zip(self.stats, self.eigen, strict=True):
            for variable, value in zip(variables, eigh(stats), strict=True):
                variable.assign(value)

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
    """F of h = x gamma + beta, x being normalised: one full matrix for beta and one for gamma, none between them."""

    def _gradients(self, layer, grad):
        return [grad, grad * layer.x]


BLOCKS = {'dense': DenseBlock, 'conv2d': Conv2DBlock, 'scale_and_shift': ScaleAndShiftBlock, 'free': FullBlock}


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
