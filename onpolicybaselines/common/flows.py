"""Coupling networks and bijectors of the normalizing-flow policy (Tang & Agrawal 2018, section 4.1 and appendix B).

B: batch, A: action dimensions, U: hidden units. Sampling runs noise x -> action y:
y = g_K o ... o g_2 o (L(s) + g_1(x)) (eq. 7), each g an affine coupling (eq. 8, Dinh et al. 2016).
"""
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from onpolicybaselines.common.compiled import concat
from onpolicybaselines.common.layers import record_layer, standardize
from onpolicybaselines.common.tf_util import flattenallbut0
from onpolicybaselines.common.variables import constant_initializer, get_variable, uniform_initializer, variable_scope

# the released code's uniform limit of last layers, by which a fresh flow is close to the identity, and its names
_LAST_LAYER = 3e-3
HIDDEN = (('dense', 'LayerNorm'), ('dense_1', 'LayerNorm_1'))
LAST = 'dense_2'


class AffineCoupling(tfb.Bijector):
    """y_keep = x_keep,  y_move = x_move * exp(s(x_keep)) + t(x_keep)  (paper, eq. 8).

    The first ceil(A/2) coordinates are kept; with `swap` the others are. s and t are one stacked network of two hidden
    layers of `units`, evaluated once a pass. With nothing to keep (A = 1) they are free parameters; with nothing to
    move the coupling is the identity. Variables are looked up under `name` of the scope at construction.

    >>> from onpolicybaselines.common.variables import VariableStore
    >>> with VariableStore(np_random=np.random.default_rng(0)).as_default():
    ...     g = AffineCoupling('g', size=3, swap=False, units=4)
    >>> x = tf.constant([[1., -2., 3.]])
    >>> y = g.forward(x)
    >>> bool(tf.reduce_all(y[:, :2] == x[:, :2])), np.allclose(g.inverse(tf.identity(y)), x)
    (True, True)
    >>> y[0, 2] == x[0, 2]  # moved, if little at first
    <tf.Tensor: shape=(), dtype=bool, numpy=False>
    """

    def __init__(self, name: str, size: int, *, swap: bool, units: int, epsilon: float = 1e-12,
                 dtype: tf.DType = tf.float32):
        first = (size + 1) // 2
        self._first = first
        self._swap = swap
        self._num_move = first if swap else size - first
        with variable_scope(name):
            self._network = _coupling_network(size, size - self._num_move, self._num_move, units, epsilon)
        self._seen, self._parameters_there = (), None
        # without `parameters`, by which TFP would take couplings for equal and share what it remembers of them
        super().__init__(forward_min_event_ndims=1, dtype=dtype, name=name)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _forward(self, x):
        keep, move = self._split(x)
        log_scale, shift = self._parameters_at(x)
        return self._remember(x, self._join(keep, move * tf.exp(log_scale) + shift))

    def _inverse(self, y):
        keep, move = self._split(y)
        log_scale, shift = self._parameters_at(y)
        return self._remember(y, self._join(keep, (move - shift) * tf.exp(-log_scale)))

    def _forward_log_det_jacobian(self, x):
        log_scale, _ = self._parameters_at(x)
        return tf.reduce_sum(log_scale, axis=-1)

    def _inverse_log_det_jacobian(self, y):
        return -self._forward_log_det_jacobian(y)

    def _parameters_at(self, x):
        """(s, t) of the kept coordinates, which are the same in the input and the output of the coupling.

        TFP asks for the map at one of the two and for the log-determinant at either: the last answer serves both.
        """
        if not any(x is seen for seen in self._seen):
            self._seen = (x,)
            self._parameters_there = self._network(self._split(x)[0])
        return self._parameters_there

    def _remember(self, x, image):
        self._seen = (x, image)
        return image

    def _split(self, x):
        halves = x[..., :self._first], x[..., self._first:]
        return halves[::-1] if self._swap else halves

    def _join(self, keep, move):
        return concat([move, keep] if self._swap else [keep, move], axis=-1)


class _Network:
    """x -> two hidden layers, layer-normalised before their ReLU -> a small last layer: [B, num_in] -> [B, num_out].

    With `stack` it is that many networks side by side, [B, num_in] -> [stack, B, num_out]. glorot_in: the number of
    inputs that the first layer's Glorot limit counts. Variables are made (or found) at construction, under the names of
    the released code.
    """

    def __init__(self, num_in: int, num_out: int, units: int, epsilon: float, *, glorot_in: int | None = None,
                 stack: int | None = None):
        self._stack = [] if stack is None else [stack]
        self._epsilon = epsilon
        glorot = [np.sqrt(6. / (n + units)) for n in (glorot_in or num_in, units)]
        self._hidden = [(*self._weights(name, size, units, limit), *self._norm(norm, units))
                        for ((name, norm), size, limit) in zip(HIDDEN, (num_in, units), glorot, strict=True)]
        self._last = self._weights(LAST, units, num_out, _LAST_LAYER)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        h = x[tf.newaxis] if self._stack else x
        for kernel, bias, beta, gamma in self._hidden:
            h = standardize(_dense(h, kernel, bias), self._epsilon)
            h = tf.nn.relu(record_layer('scale_and_shift', (beta, gamma), h, h * gamma + beta))
        return _dense(h, *self._last)

    def _weights(self, name, num_in, num_out, limit):
        with variable_scope(name):
            return (get_variable('kernel', [*self._stack, num_in, num_out], uniform_initializer(limit)),
                    get_variable('bias', [*self._stack, 1, num_out], constant_initializer(0.0)))

    def _norm(self, name, units):
        with variable_scope(name):
            return (get_variable('beta', [*self._stack, 1, units], constant_initializer(0.0)),
                    get_variable('gamma', [*self._stack, 1, units], constant_initializer(1.0)))


def _dense(x, kernel, bias):
    return record_layer('dense', (kernel, bias), x, tf.matmul(x, kernel) + bias)


def _coupling_network(size, num_keep, num_move, units, epsilon):
    """keep [B, num_keep] -> (s, t), each [B, num_move]."""
    if num_move == 0:
        return lambda keep: (keep[..., :0], keep[..., :0])
    if num_keep == 0:
        free = get_variable('free', [2, 1, num_move], uniform_initializer(_LAST_LAYER))
        def free_parameters(keep):
            shape = [2, tf.shape(keep)[0], num_move]
            return tf.unstack(record_layer('free', (free,), free, tf.broadcast_to(free, shape)))
        return free_parameters
    # the released nets read a masked vector of all `size` coordinates, so their Glorot limit counts them all
    network = _Network(num_keep, num_move, units, epsilon, glorot_in=size, stack=2)
    return lambda keep: tf.unstack(network(keep))


def state_network(ob: tf.Tensor, size: int, *, units: int = 64, epsilon: float = 1e-12) -> tf.Tensor:
    """The state vector L(s), [B, size], of encoded observations [B, ...] (paper, eq. 7)."""
    with variable_scope('statelayer'):
        ob = flattenallbut0(ob)
        return _Network(ob.shape[-1], size, units, epsilon)(ob)


def places(layers: int) -> list[tuple[str, bool]]:
    """(name, `swap`) of each coupling of `layers` pairs, in the order of sampling.

    >>> places(1)
    [('Nlayer_0', False), ('Nlayer_1', True)]
    """
    return [(f'Nlayer_{i}', i % 2 == 1) for i in range(2 * layers)]


def couplings(size: int, layers: int, *, units: int, epsilon: float, dtype: tf.DType) -> list[AffineCoupling]:
    """`layers` pairs of couplings of A = `size` coordinates, in the order of sampling."""
    return [AffineCoupling(name, size, swap=swap, units=units, epsilon=epsilon, dtype=dtype)
            for name, swap in places(layers)]


def chain(couplings: Sequence[AffineCoupling], state_vector: tf.Tensor) -> tfb.Chain:
    """Noise -> action: the couplings in order, `state_vector` [B, A] added after the first (paper, eq. 7).

    >>> shift = tf.constant([[10., 20.]])
    >>> chain([tfb.Scale(2.), tfb.Scale(3.)], shift).forward(tf.constant([[1., 1.]])).numpy()  # 3 (2 x + L)
    array([[36., 66.]], dtype=float32)
    """
    first, *others = couplings
    return tfb.Chain([*reversed(others), tfb.Shift(state_vector), first])
