"""Layers that create their variables by name, returns, schedules (upstream a2c/utils.py)."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.checks import check_images
from onpolicybaselines.common.keywords import check_choice, nearest
from onpolicybaselines.common.layers import record_layer, standardize
from onpolicybaselines.common.math_util import discount_with_boundaries
from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.tf_util import flattenallbut0, intprod
from onpolicybaselines.common.variables import constant_initializer, get_variable, variable_scope


def ortho_init(scale: float = 1.0) -> Callable:
    """Orthogonal matrix times `scale` (Saxe et al. 2014); of the flattened filter for 4-D shapes [h, w, in, out]."""
    def _ortho_init(shape, np_random):
        flat_shape = (int(np.prod(shape[:-1])), shape[-1])
        a = np_random.standard_normal(flat_shape)
        u, _, v = np.linalg.svd(a, full_matrices=False)
        q = u if u.shape == flat_shape else v
        q = q.reshape(shape)
        return scale * q
    return _ortho_init

def conv(x: tf.Tensor, scope: str, *, nf: int, rf: int, stride: int, pad: str = 'VALID', init_scale: float = 1.0,
         data_format: str = 'NHWC', one_dim_bias: bool = False) -> tf.Tensor:
    """2-D convolution with `nf` filters of size rf x rf, plus bias; x: [B, H, W, C] (or [B, C, H, W])."""
    check_choice('data_format', data_format, ('NHWC', 'NCHW'), ValueError)
    if data_format == 'NHWC':
        channel_ax = 3
        strides = [1, stride, stride, 1]
    elif data_format == 'NCHW':
        channel_ax = 1
        strides = [1, 1, stride, stride]
    bias_var_shape = [nf] if one_dim_bias else [1, nf, 1, 1]
    check_images(scope, x.shape[1:], rf, pad, channel_ax)
    nin = x.shape[channel_ax]
    wshape = [rf, rf, nin, nf]
    with variable_scope(scope):
        w = get_variable("w", wshape, initializer=ortho_init(init_scale))
        b = get_variable("b", bias_var_shape, initializer=constant_initializer(0.0))
        h = tf.nn.conv2d(x, w, strides=strides, padding=pad, data_format=data_format)
        h = tf.nn.bias_add(h, tf.reshape(b, [nf]), data_format=data_format)
        return record_layer('conv2d', (w, b), x, h, strides=strides, padding=pad, data_format=data_format)

def fc(x: tf.Tensor, scope: str, nh: int, *, init_scale: float = 1.0, init_bias: float = 0.0) -> tf.Tensor:
    """Fully connected layer: x @ w + b, [B, in] -> [B, nh]."""
    with variable_scope(scope):
        nin = x.shape[1]
        w = get_variable("w", [nin, nh], initializer=ortho_init(init_scale))
        b = get_variable("b", [nh], initializer=constant_initializer(init_bias))
        return record_layer('dense', (w, b), x, tf.matmul(x, w)+b)

def batch_to_seq(h: tf.Tensor, nbatch: int, nsteps: int, flat: bool = False) -> list[tf.Tensor]:
    """[nbatch * nsteps, ...] as a list of nsteps tensors [nbatch, features] (or [nbatch] with `flat`).

    nbatch may be -1: what the length of h makes it.
    """
    if flat:
        h = tf.reshape(h, [nbatch, nsteps])
    else:
        h = tf.reshape(h, [nbatch, nsteps, intprod(h.shape[1:])])
    return tf.unstack(h, num=nsteps, axis=1)

def seq_to_batch(h: Sequence[tf.Tensor], flat: bool = False) -> tf.Tensor:
    """Undo `batch_to_seq`."""
    stacked = tf.stack(h, axis=1)
    return tf.reshape(stacked, [-1] if flat else [-1, stacked.shape[-1]])

def lstm(xs: Sequence[tf.Tensor], ms: Sequence[tf.Tensor], s: tf.Tensor, scope: str, nh: int,
         init_scale: float = 1.0) -> tuple[list[tf.Tensor], tf.Tensor]:
    """LSTM over a list of inputs [B, in]; ms [B, 1] is 1 where an episode starts, s [B, 2 nh] is (cell, hidden)."""
    nin = xs[0].shape[1]
    with variable_scope(scope):
        wx = get_variable("wx", [nin, nh*4], initializer=ortho_init(init_scale))
        wh = get_variable("wh", [nh, nh*4], initializer=ortho_init(init_scale))
        b = get_variable("b", [nh*4], initializer=constant_initializer(0.0))

    xs = list(xs)
    c, h = tf.split(s, 2, axis=1)
    for idx, (x, m) in enumerate(zip(xs, ms, strict=True)):
        c = c*(1-m)
        h = h*(1-m)
        z = tf.matmul(x, wx) + tf.matmul(h, wh) + b
        i, f, o, u = tf.split(z, 4, axis=1)
        i = tf.sigmoid(i)
        f = tf.sigmoid(f)
        o = tf.sigmoid(o)
        u = tf.tanh(u)
        c = f*c + i*u
        h = o*tf.tanh(c)
        xs[idx] = h
    s = tf.concat([c, h], axis=1)
    return xs, s

def _ln(x, g, b, e=1e-5):
    x = standardize(x, e)
    x = x*g+b
    return x

def lnlstm(xs: Sequence[tf.Tensor], ms: Sequence[tf.Tensor], s: tf.Tensor, scope: str, nh: int,
           init_scale: float = 1.0) -> tuple[list[tf.Tensor], tf.Tensor]:
    """`lstm` with layer-normalised input, recurrent and cell terms (Ba et al. 2016)."""
    nin = xs[0].shape[1]
    with variable_scope(scope):
        wx = get_variable("wx", [nin, nh*4], initializer=ortho_init(init_scale))
        gx = get_variable("gx", [nh*4], initializer=constant_initializer(1.0))
        bx = get_variable("bx", [nh*4], initializer=constant_initializer(0.0))

        wh = get_variable("wh", [nh, nh*4], initializer=ortho_init(init_scale))
        gh = get_variable("gh", [nh*4], initializer=constant_initializer(1.0))
        bh = get_variable("bh", [nh*4], initializer=constant_initializer(0.0))

        b = get_variable("b", [nh*4], initializer=constant_initializer(0.0))

        gc = get_variable("gc", [nh], initializer=constant_initializer(1.0))
        bc = get_variable("bc", [nh], initializer=constant_initializer(0.0))

    xs = list(xs)
    c, h = tf.split(s, 2, axis=1)
    for idx, (x, m) in enumerate(zip(xs, ms, strict=True)):
        c = c*(1-m)
        h = h*(1-m)
        z = _ln(tf.matmul(x, wx), gx, bx) + _ln(tf.matmul(h, wh), gh, bh) + b
        i, f, o, u = tf.split(z, 4, axis=1)
        i = tf.sigmoid(i)
        f = tf.sigmoid(f)
        o = tf.sigmoid(o)
        u = tf.tanh(u)
        c = f*c + i*u
        h = o*tf.tanh(_ln(c, gc, bc))
        xs[idx] = h
    s = tf.concat([c, h], axis=1)
    return xs, s

def conv_to_fc(x: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] as [B, H W C]."""
    return flattenallbut0(x)

def discount_with_dones(rewards: Sequence, dones: Sequence, gamma: float) -> np.ndarray:
    """Discounted sums along axis 0, float64 [T, ...], that do not reach beyond a step with `dones`, the last of its
    episode."""
    return discount_with_boundaries(np.asarray(rewards, 'float64'), np.roll(dones, 1, axis=0), gamma)

def constant(p: float) -> float:
    """1 at any fraction p of the training that has passed."""
    return 1

def linear(p: float) -> float:
    """From 1 to 0."""
    return 1-p

def middle_drop(p: float) -> float:
    """Linear for the first quarter, then 0.075."""
    eps = 0.75
    if 1-p<eps:
        return eps*0.1
    return 1-p

def double_linear_con(p: float) -> float:
    """From 1 at twice the speed, down to 0.125."""
    p *= 2
    eps = 0.125
    if 1-p<eps:
        return eps
    return 1-p

def double_middle_drop(p: float) -> float:
    """Linear for the first quarter, then 0.075, and 0.125 in the last quarter."""
    eps1 = 0.75
    eps2 = 0.25
    if 1-p<eps1:
        if 1-p<eps2:
            return eps2*0.5
        return eps1*0.1
    return 1-p

schedules = {
    'linear':linear,
    'constant':constant,
    'double_linear_con': double_linear_con,
    'middle_drop': middle_drop,
    'double_middle_drop': double_middle_drop
}

class Scheduler(object):
    """`v` times a schedule of the fraction of `nvalues` that has passed.

    schedule: a name in `schedules`, or a function of that fraction. Raises UsageError for an unknown name.
    """

    def __init__(self, v: float, nvalues: int, schedule: str | Callable):
        self.n = 0.
        self.v = v
        self.nvalues = nvalues
        if not callable(schedule) and schedule not in schedules:
            raise UsageError(f'unknown schedule {schedule!r}{nearest(str(schedule), schedules)}')
        self.schedule = schedule if callable(schedule) else schedules[schedule]

    def value(self) -> float:
        """The present value; the next call gives the next one."""
        current_value = self.v*self.schedule(self.n/self.nvalues)
        self.n += 1.
        return current_value

    def value_steps(self, steps: int) -> float:
        """The value after `steps` of `nvalues`."""
        return self.v*self.schedule(steps/self.nvalues)

    def state(self) -> State:
        """How many values were asked for."""
        return {'n': self.n}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError for anything else."""
        check_shapes('the schedule', state, self.state())
        self.n = state['n']
