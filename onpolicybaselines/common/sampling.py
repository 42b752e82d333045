"""What action distributions have here beside upstream's methods: noise from the host, and estimates from samples.

Noise: `PdType.noise` draws, on the host, what `Pd.sample` pushes forward, so that one numpy Generator decides every
action of a run. Estimates stand in for closed forms that mixtures and flows have not. B: batch (states).
"""
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from onpolicybaselines.a2c.utils import fc
from onpolicybaselines.common.layers import record_layer
from onpolicybaselines.common.variables import constant_initializer, get_variable


class NoClosedFormError(TypeError):
    """A quantity was asked for that has no closed form; the message names the estimator to use instead."""


class SampledPd:
    """What `Pd` adds to upstream's.

    dist: the TFP distribution, batch shape [B].
    """

    has_analytic_kl = True
    has_analytic_entropy = True
    dist: tfp.distributions.Distribution

    def fromflat(self, flat: tf.Tensor) -> 'SampledPd':
        """The same family at other parameters `flat` (as `flatparam`)."""
        raise NotImplementedError

    def at(self, flat: tf.Tensor) -> 'SampledPd':
        """`fromflat`."""
        return self.fromflat(flat)

    def sampled_kl(self, other: 'SampledPd', x: tf.Tensor) -> tf.Tensor:
        """Unbiased estimate of KL(self || other) from one action x per state drawn from self, [B]; single terms can be
        negative."""
        return self.logp(x) - other.logp(x)

    def sampled_entropy(self, n: int = 10, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Estimate of the entropy from `n` actions per state, [B]; noise: [n * B, ...], all states n times over.

        Actions of continuous families are reparameterised, so its gradient is the entropy's (paper, section 4.1).
        """
        tiled = self.at(tf.tile(self.flatparam(), [n, 1]))
        return tf.reduce_mean(tf.reshape(tiled.neglogp(tiled.sample(noise)), [n, -1]), axis=0)


class NoClosedForms:
    """Before `Pd` in the bases of a family whose divergence and entropy are known by estimates only."""

    has_analytic_kl = False
    has_analytic_entropy = False

    def kl(self, other: SampledPd) -> tf.Tensor:
        """Raises NoClosedFormError."""
        raise NoClosedFormError(f'{type(self).__name__} has no closed-form KL: use sampled_kl(other, x)')

    def entropy(self) -> tf.Tensor:
        """Raises NoClosedFormError."""
        raise NoClosedFormError(f'{type(self).__name__} has no closed-form entropy: use sampled_entropy(n)')


class NoisePdType:
    """What `PdType` adds to upstream's.

    own_state_network: the family reads the encoded observation itself instead of the policy network's latent.
    init_logstd: what `logstd` starts at.
    """

    own_state_network = False
    init_logstd = 0.0

    @property
    def noise_size(self) -> int:
        """Numbers of noise in an action: one per dimension, or per logit of a family on integers."""
        return int((self.sample_shape() if self.sample_dtype().is_floating else self.param_shape())[0])

    def noise(self, np_random: np.random.Generator, n: int) -> np.ndarray:
        """Host-side noise for n actions, float32 [n, noise_size]: standard normal, or uniform for integers."""
        draw = np_random.standard_normal if self.sample_dtype().is_floating else np_random.random
        return draw((n, self.noise_size), dtype=np.float32)

    def stateless_noise(self, seed: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
        """`noise` drawn by TensorFlow from a seed [2], for exported policies; whoever overrides one overrides both."""
        draw = tf.random.stateless_normal if self.sample_dtype().is_floating else tf.random.stateless_uniform
        return draw([n, self.noise_size], seed)

    def logstd(self, name: str, mean: tf.Tensor) -> tf.Tensor:
        """A log standard deviation that does not depend on the state, once per state of `mean` [B, A]."""
        logstd = get_variable(name, [1, mean.shape[-1]], constant_initializer(self.init_logstd))
        return record_layer('free', (logstd,), logstd, mean * 0.0 + logstd)


def gaussian_logstd(pdtype: NoisePdType, latent: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """The log standard deviations of a `DiagGaussianPdType` at states with `latent` [B, n], as `mean` [B, A]."""
    if pdtype.fixed_logstd:
        return mean * 0.0 + pdtype.init_logstd
    if pdtype.state_dependent_std: # weights of 0: it starts at init_logstd in every state
        return fc(latent, 'pi/logstd', pdtype.size, init_scale=0.0, init_bias=pdtype.init_logstd)
    return pdtype.logstd('pi/logstd', mean)


def normal_noise(noise: tf.Tensor | None, like: tf.Tensor) -> tf.Tensor:
    """`noise` in the type of `like`; if None, TensorFlow's own, standard normal, in its shape."""
    return tf.random.normal(tf.shape(like), dtype=like.dtype) if noise is None else tf.cast(noise, like.dtype)


def uniform_noise(noise: tf.Tensor | None, like: tf.Tensor) -> tf.Tensor:
    """`noise` in the type of `like`; if None, TensorFlow's own, uniform on [0, 1), in its shape."""
    return tf.random.uniform(tf.shape(like), dtype=like.dtype) if noise is None else tf.cast(noise, like.dtype)


def entropy_of(pd: SampledPd, noise: tf.Tensor) -> tf.Tensor:
    """Entropies [B]: in closed form, or sampled with `noise`, that of `entropy_noise`."""
    if pd.has_analytic_entropy:
        return pd.entropy()
    return pd.sampled_entropy(tf.shape(noise)[0] // tf.shape(pd.flatparam())[0], noise)


def entropy_noise(pdtype: NoisePdType, np_random: np.random.Generator, n: int, samples: int = 10) -> np.ndarray:
    """What `entropy_of` needs for n states, [samples * n, noise_size]; nothing for families with a closed form."""
    return pdtype.noise(np_random, 0 if pdtype.pdclass().has_analytic_entropy else samples * n)
