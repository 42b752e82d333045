"""Networks by name (upstream common/models.py): `get_network_builder(name)(**kwargs)` gives a function of a batch.

Feed-forward: network_fn(X [B, ...]) -> latent [B, features]. Recurrent (network_fn.recurrent is True):
network_fn(X [nenv * nsteps, ...], S [nenv, 2 nlstm], M [nenv * nsteps], nsteps) -> (latent, new state), one environment
after the other; M is 1 where an episode starts, and network_fn.initial_state(nenv) gives the zeros to begin with.

network_fn.layers, where there is one: the values of its variables by name -> the same as a list of layers for
common/actors.py, which samples actions without TensorFlow. For two tanh layers with variables h1/w, h1/b, h2/w, h2/b:
    network_fn.layers = lambda arrays: [actors.dense(arrays, name, 'tanh') for name in ('h1', 'h2')]

Keywords of convolutional networks, `conv_kwargs`, go to each of their convolutions: pad, data_format, one_dim_bias.
"""
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from onpolicybaselines.a2c import utils
from onpolicybaselines.a2c.utils import batch_to_seq, conv, conv_to_fc, fc, seq_to_batch
from onpolicybaselines.common.checks import check_convs
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import Layers, Width, nearest
from onpolicybaselines.common.layers import layer_norm as normalize_layer
from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd
from onpolicybaselines.common.network_fn import (
    Activation,
    check_conv_keywords,
    get_activation,
    with_layers,
    with_state,
)
from onpolicybaselines.common.tf_util import flattenallbut0
from onpolicybaselines.common.variables import to_float, variable_scope

mapping = {}

def register(name: str) -> Callable:
    """Decorator: make a network builder known to `--network` under `name`."""
    def _thunk(func):
        mapping[name] = func
        return func
    return _thunk

def nature_cnn(unscaled_images: tf.Tensor, **conv_kwargs) -> tf.Tensor:
    """The network of Mnih et al. (Nature 2015): images [B, H, W, C] of 0..255 -> [B, 512]."""
    scaled_images = to_float(unscaled_images) / 255.
    activ = tf.nn.relu
    h = activ(conv(scaled_images, 'c1', nf=32, rf=8, stride=4, init_scale=np.sqrt(2),
                   **conv_kwargs))
    h2 = activ(conv(h, 'c2', nf=64, rf=4, stride=2, init_scale=np.sqrt(2), **conv_kwargs))
    h3 = activ(conv(h2, 'c3', nf=64, rf=3, stride=1, init_scale=np.sqrt(2), **conv_kwargs))
    h3 = conv_to_fc(h3)
    return activ(fc(h3, 'fc1', nh=512, init_scale=np.sqrt(2)))

def build_impala_cnn(unscaled_images: tf.Tensor, depths: Sequence[int] = (16, 32, 32), **conv_kwargs) -> tf.Tensor:
    """The residual network of IMPALA (Espeholt et al. 2018): images of 0..255 -> [B, 256]."""
    def conv_layer(out, name, depth):
        return conv(out, name, nf=depth, rf=3, stride=1, pad='SAME', **conv_kwargs)

    def residual_block(inputs, name):
        depth = inputs.shape[-1]
        out = conv_layer(tf.nn.relu(inputs), name + '_a', depth)
        return conv_layer(tf.nn.relu(out), name + '_b', depth) + inputs

    def conv_sequence(inputs, name, depth):
        out = conv_layer(inputs, name, depth)
        out = tf.nn.max_pool2d(out, ksize=3, strides=2, padding='SAME')
        out = residual_block(out, name + '_res0')
        return residual_block(out, name + '_res1')

    out = to_float(unscaled_images) / 255.
    for i, depth in enumerate(depths):
        out = conv_sequence(out, f'layer_{i}', depth)

    out = tf.nn.relu(flattenallbut0(out))
    return tf.nn.relu(fc(out, 'fc', nh=256))


@register("mlp")
def mlp(num_layers: Layers = 2, num_hidden: Width = 64, activation: Activation | Callable = 'tanh',
        layer_norm: bool = False) -> Callable:
    """Fully connected layers.

    num_layers      number of hidden layers
    num_hidden      units of each
    activation      name of a function of tf.nn (or a function)
    layer_norm      normalise each layer before its activation
    """
    activation = get_activation(activation)

    def network_fn(X):
        h = flattenallbut0(X)
        for i in range(num_layers):
            h = fc(h, 'mlp_fc{}'.format(i), nh=num_hidden, init_scale=np.sqrt(2))
            if layer_norm:
                with variable_scope('mlp_fc{}'.format(i)):
                    h = normalize_layer(h)
            h = activation(h)

        return h

    return with_layers(network_fn, [f'mlp_fc{i}' for i in range(num_layers)], activation, layer_norm)


@register("cnn")
def cnn(**conv_kwargs) -> Callable:
    """`nature_cnn`."""
    check_conv_keywords(conv_kwargs)
    def network_fn(X):
        return nature_cnn(X, **conv_kwargs)
    return network_fn

@register("impala_cnn")
def impala_cnn(**conv_kwargs) -> Callable:
    """`build_impala_cnn`, whose `pad` is its own."""
    check_conv_keywords(conv_kwargs, 'pad')
    def network_fn(X):
        return build_impala_cnn(X, **conv_kwargs)
    return network_fn

@register("cnn_small")
def cnn_small(**conv_kwargs) -> Callable:
    """Two small convolutions and 128 units, upstream's Atari network for TRPO."""
    check_conv_keywords(conv_kwargs)
    def network_fn(X):
        h = to_float(X) / 255.

        activ = tf.nn.relu
        h = activ(conv(h, 'c1', nf=8, rf=8, stride=4, init_scale=np.sqrt(2), **conv_kwargs))
        h = activ(conv(h, 'c2', nf=16, rf=4, stride=2, init_scale=np.sqrt(2), **conv_kwargs))
        h = conv_to_fc(h)
        h = activ(fc(h, 'fc1', nh=128, init_scale=np.sqrt(2)))
        return h
    return network_fn

@register("lstm")
def lstm(nlstm: Width = 128, layer_norm: bool = False) -> Callable:
    """LSTM on the flattened observation.

    nlstm           units
    layer_norm      the layer-normalised version
    """

    def network_fn(X, S, M, nsteps=1):
        h = flattenallbut0(X)

        xs = batch_to_seq(h, -1, nsteps)
        ms = batch_to_seq(to_float(M), -1, nsteps)

        if layer_norm:
            h5, snew = utils.lnlstm(xs, ms, to_float(S), scope='lnlstm', nh=nlstm)
        else:
            h5, snew = utils.lstm(xs, ms, to_float(S), scope='lstm', nh=nlstm)

        h = seq_to_batch(h5)

        return h, snew

    return with_state(network_fn, 2*nlstm)


@register("lnlstm")
def lnlstm(nlstm: Width = 128) -> Callable:
    """Layer-normalised LSTM on the flattened observation.

    nlstm           units
    """
    return lstm(nlstm, layer_norm=True)

@register("cnn_lstm")
def cnn_lstm(nlstm: Width = 128, layer_norm: bool = False, conv_fn: Callable = nature_cnn,
             **conv_kwargs) -> Callable:
    """LSTM on convolutions.

    nlstm           units
    layer_norm      the layer-normalised version
    conv_fn         function (images, **conv_kwargs) -> [B, n]
    """
    check_conv_keywords(conv_kwargs)

    def network_fn(X, S, M, nsteps=1):
        h = conv_fn(X, **conv_kwargs)

        xs = batch_to_seq(h, -1, nsteps)
        ms = batch_to_seq(to_float(M), -1, nsteps)

        if layer_norm:
            h5, snew = utils.lnlstm(xs, ms, to_float(S), scope='lnlstm', nh=nlstm)
        else:
            h5, snew = utils.lstm(xs, ms, to_float(S), scope='lstm', nh=nlstm)

        h = seq_to_batch(h5)

        return h, snew

    return with_state(network_fn, 2*nlstm)

@register("impala_cnn_lstm")
def impala_cnn_lstm() -> Callable:
    """LSTM of 256 units on IMPALA's network."""
    return cnn_lstm(nlstm=256, conv_fn=build_impala_cnn)

@register("cnn_lnlstm")
def cnn_lnlstm(nlstm: Width = 128, **conv_kwargs) -> Callable:
    """Layer-normalised LSTM on `nature_cnn`.

    nlstm           units
    """
    return cnn_lstm(nlstm, layer_norm=True, **conv_kwargs)


@register("conv_only")
def conv_only(convs: Sequence[tuple[int, int, int]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1)), **conv_kwargs) -> Callable:
    """Convolutions only.

    convs           (number of filters, filter size, stride) of each layer
    """
    check_conv_keywords(conv_kwargs)
    check_convs(convs)
    def network_fn(X):
        out = to_float(X) / 255.
        with variable_scope("convnet"):
            for i, (num_outputs, kernel_size, stride) in enumerate(convs):
                out = tf.nn.relu(conv(out, f'Conv_{i}', nf=num_outputs, rf=kernel_size, stride=stride,
                                      **{'pad': 'SAME', **conv_kwargs}))
        return out
    return network_fn

def _normalize_clip_observation(x, clip_range=(-5.0, 5.0)):
    """(the filter of observations like `x`, a function of a batch, its running mean and standard deviation)."""
    rms = RunningMeanStd(shape=tuple(x.shape[1:]))
    norm_x = lambda x: tf.clip_by_value((to_float(x) - to_float(rms.mean)) / to_float(rms.std), *clip_range)
    return norm_x, rms


def get_network_builder(name: str | Callable) -> Callable[..., Callable]:
    """The builder registered under `name`; a callable is returned as it is.

    Add your own with `@register('my_network')` on a function of keywords that returns a network_fn.
    Raises UsageError for a name that is not registered.
    """
    if callable(name):
        return name
    elif name in mapping:
        return mapping[name]
    else:
        raise UsageError(f'unknown network {name!r}{nearest(name, mapping)}')
