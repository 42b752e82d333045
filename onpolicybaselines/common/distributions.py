"""Probability distributions over actions (upstream common/distributions.py, with mixtures and flows).

B: batch (states), A: action dimensions, K: mixture components. A `PdType` is a family and owns its head's variables;
a `Pd` is the batch of distributions at given states. Densities come from TensorFlow Probability; noise and what is
estimated from samples from common/sampling.py. Log-probabilities and entropies are in nats.
"""
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from gymnasium import spaces

from onpolicybaselines.a2c.utils import fc
from onpolicybaselines.common import flows
from onpolicybaselines.common.action_spaces import check_action_space
from onpolicybaselines.common.compiled import concat
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import Components, LogStd, NonNegative, Normalized, Pairs, check_ranges
from onpolicybaselines.common.sampling import (
    NoClosedForms,
    NoisePdType,
    SampledPd,
    gaussian_logstd,
    normal_noise,
    uniform_noise,
)
from onpolicybaselines.common.variables import variable_scope

tfd = tfp.distributions

class Pd(SampledPd):
    """A batch of distributions over actions."""
    def flatparam(self) -> tf.Tensor:
        """The state-dependent parameters, [B, n]."""
        raise NotImplementedError
    def mode(self) -> tf.Tensor:
        """The deterministic action, [B, ...]."""
        raise NotImplementedError
    def neglogp(self, x: tf.Tensor) -> tf.Tensor:
        """-log p(x), [B], for actions x [B, ...]."""
        raise NotImplementedError
    def kl(self, other: 'Pd') -> tf.Tensor:
        """KL(self || other) in closed form, [B]."""
        raise NotImplementedError
    def entropy(self) -> tf.Tensor:
        """Entropy in closed form, [B]."""
        raise NotImplementedError
    def sample(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Actions [B, ...] from `noise` of `PdType.noise`; from TensorFlow's own generator if None."""
        raise NotImplementedError
    def logp(self, x: tf.Tensor) -> tf.Tensor:
        """log p(x), [B], for actions x [B, ...]."""
        return - self.neglogp(x)
    def get_shape(self) -> tf.TensorShape:
        """Shape of `flatparam`."""
        return self.flatparam().shape
    @property
    def shape(self) -> tf.TensorShape:
        """Shape of `flatparam`."""
        return self.get_shape()
    def __getitem__(self, idx):
        return self.fromflat(self.flatparam()[idx])

class PdType(NoisePdType):
    """A parametrised family of distributions."""
    def pdclass(self) -> Callable[[tf.Tensor], Pd]:
        """The class of its members."""
        raise NotImplementedError
    def pdfromflat(self, flat: tf.Tensor) -> Pd:
        """The members at parameters `flat`, [B, n]."""
        return self.pdclass()(flat)
    def pdfromlatent(self, latent_vector: tf.Tensor, init_scale: float = 1.0,
                     init_bias: float = 0.0) -> tuple[Pd, tf.Tensor]:
        """(the members at states with latent [B, n], the head's output); creates the head's variables."""
        raise NotImplementedError
    def param_shape(self) -> list[int]:
        """Shape of one state's parameters."""
        raise NotImplementedError
    def sample_shape(self) -> list[int]:
        """Shape of one action."""
        raise NotImplementedError
    def sample_dtype(self) -> tf.DType:
        """Type of an action."""
        raise NotImplementedError

    def param_placeholder(self, prepend_shape: list[int | None], name: str | None = None) -> tf.TensorSpec:
        """The TensorSpec of parameters, [*prepend_shape, *param_shape]."""
        return tf.TensorSpec(dtype=tf.float32, shape=prepend_shape+self.param_shape(), name=name)
    def sample_placeholder(self, prepend_shape: list[int | None], name: str | None = None) -> tf.TensorSpec:
        """The TensorSpec of actions, [*prepend_shape, *sample_shape]."""
        return tf.TensorSpec(dtype=self.sample_dtype(), shape=prepend_shape+self.sample_shape(), name=name)

    def __eq__(self, other):
        return (type(self) is type(other)) and (self.__dict__ == other.__dict__)

class CategoricalPdType(PdType):
    """Categorical over 0..ncat-1, for Discrete spaces."""
    def __init__(self, ncat: int):
        self.ncat = ncat
    def pdclass(self):
        return CategoricalPd
    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        pdparam = _matching_fc(latent_vector, 'pi', self.ncat, init_scale=init_scale, init_bias=init_bias)
        return self.pdfromflat(pdparam), pdparam

    def param_shape(self):
        return [self.ncat]
    def sample_shape(self):
        return []
    def sample_dtype(self):
        return tf.int32


class MultiCategoricalPdType(PdType):
    """Independent categoricals of sizes nvec, for MultiDiscrete spaces."""
    def __init__(self, nvec: Sequence[int]):
        self.ncats = [int(n) for n in nvec]
        if min(self.ncats) < 1:
            raise UsageError(f'every categorical needs at least one value, got sizes {self.ncats}')
    def pdclass(self):
        return MultiCategoricalPd
    def pdfromflat(self, flat):
        return MultiCategoricalPd(self.ncats, flat)

    def pdfromlatent(self, latent, init_scale=1.0, init_bias=0.0):
        pdparam = _matching_fc(latent, 'pi', sum(self.ncats), init_scale=init_scale, init_bias=init_bias)
        return self.pdfromflat(pdparam), pdparam

    def param_shape(self):
        return [sum(self.ncats)]
    def sample_shape(self):
        return [len(self.ncats)]
    def sample_dtype(self):
        return tf.int32

class DiagGaussianPdType(PdType):
    """Gaussian with diagonal covariance.

    size                 dimensions of an action
    fixed_logstd         keep the standard deviation where it starts for ever, as the paper's released baseline does
                         (upstream before 2018-01-25 left `logstd` out of the trained variables)
    init_logstd          log standard deviation that training starts with
    state_dependent_std  the log standard deviation is a linear layer on the policy network, not one for all states

    Raises UsageError for values out of range, and for fixed_logstd with state_dependent_std.
    """
    def __init__(self, size: int, fixed_logstd: bool = False, init_logstd: LogStd[float] = 0.0,
                 state_dependent_std: bool = False):
        check_ranges(DiagGaussianPdType.__init__, locals())
        if fixed_logstd and state_dependent_std:
            raise UsageError('fixed_logstd and state_dependent_std exclude each other: leave one out')
        self.size = size
        self.fixed_logstd = fixed_logstd
        self.init_logstd = init_logstd
        self.state_dependent_std = state_dependent_std
    def pdclass(self):
        return DiagGaussianPd

    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        mean = _matching_fc(latent_vector, 'pi', self.size, init_scale=init_scale, init_bias=init_bias)
        logstd = gaussian_logstd(self, latent_vector, mean)
        pdparam = concat([mean, logstd], axis=1)
        return self.pdfromflat(pdparam), mean

    def param_shape(self):
        return [2*self.size]
    def sample_shape(self):
        return [self.size]
    def sample_dtype(self):
        return tf.float32

class BernoulliPdType(PdType):
    """Independent coins, for MultiBinary spaces."""
    def __init__(self, size: int):
        self.size = size
    def pdclass(self):
        return BernoulliPd
    def param_shape(self):
        return [self.size]
    def sample_shape(self):
        return [self.size]
    def sample_dtype(self):
        return tf.int32
    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        pdparam = _matching_fc(latent_vector, 'pi', self.size, init_scale=init_scale, init_bias=init_bias)
        return self.pdfromflat(pdparam), pdparam

class CategoricalPd(Pd):
    """Categorical with the given logits, [B, ncat]."""
    def __init__(self, logits: tf.Tensor):
        self.logits = logits
        self.dist = tfd.Categorical(logits=logits)
    def flatparam(self):
        return self.logits
    def mode(self):
        return tf.argmax(self.logits, axis=-1, output_type=tf.int32)

    @property
    def mean(self) -> tf.Tensor:
        """Probabilities, [B, ncat]."""
        return tf.nn.softmax(self.logits)
    def neglogp(self, x):
        """-log p(x) for indices [B] or one-hot rows [B, ncat]."""
        # by one-hot rows: TensorFlow's sparse cross entropy has had no second derivatives
        if x.dtype.is_integer and x.shape.rank < self.logits.shape.rank:
            x = tf.one_hot(x, self.logits.shape[-1], dtype=self.logits.dtype)
        self.logits.shape.assert_is_compatible_with(x.shape)

        return -tf.reduce_sum(tf.cast(x, self.logits.dtype) * tf.nn.log_softmax(self.logits), axis=-1)
    def kl(self, other):
        return tfd.kl_divergence(self.dist, other.dist)
    def entropy(self):
        return self.dist.entropy()
    def sample(self, noise=None):
        u = uniform_noise(noise, self.logits)
        return tf.argmax(self.logits - tf.math.log(-tf.math.log(u)), axis=-1, output_type=tf.int32)
    @classmethod
    def fromflat(cls, flat):
        return cls(flat)

class MultiCategoricalPd(Pd):
    """Independent categoricals of sizes nvec; flat: their logits side by side, [B, sum(nvec)]."""
    def __init__(self, nvec: Sequence[int], flat: tf.Tensor):
        self.flat = flat
        self.nvec = list(nvec)
        self.categoricals = list(map(CategoricalPd,
            tf.split(flat, self.nvec, axis=-1)))
    def flatparam(self):
        return self.flat
    def mode(self):
        return tf.stack([p.mode() for p in self.categoricals], axis=-1)
    def neglogp(self, x):
        return tf.add_n([p.neglogp(px) for p, px in zip(self.categoricals, tf.unstack(x, axis=-1), strict=True)])
    def kl(self, other):
        return tf.add_n([p.kl(q) for p, q in zip(self.categoricals, other.categoricals, strict=True)])
    def entropy(self):
        return tf.add_n([p.entropy() for p in self.categoricals])
    def sample(self, noise=None):
        noises = [None] * len(self.nvec) if noise is None else tf.split(noise, self.nvec, axis=-1)
        return tf.stack([p.sample(u) for p, u in zip(self.categoricals, noises, strict=True)], axis=-1)
    def fromflat(self, flat):
        return MultiCategoricalPd(self.nvec, flat)

class DiagGaussianPd(Pd):
    """Diagonal Gaussian; flat: [mean | log standard deviation], [B, 2A]."""
    def __init__(self, flat: tf.Tensor):
        self.flat = flat
        mean, logstd = tf.split(axis=len(flat.shape)-1, num_or_size_splits=2, value=flat)
        self.mean = mean
        self.logstd = logstd
        self.std = tf.exp(logstd)
        self.dist = tfd.Independent(tfd.Normal(self.mean, self.std), reinterpreted_batch_ndims=1)
    def flatparam(self):
        return self.flat
    def mode(self):
        return self.mean
    def neglogp(self, x):
        return -self.dist.log_prob(x)
    def kl(self, other):
        return tfd.kl_divergence(self.dist, other.dist)
    def entropy(self):
        return self.dist.entropy()
    def sample(self, noise=None):
        return self.mean + self.std * normal_noise(noise, self.mean)
    @classmethod
    def fromflat(cls, flat):
        return cls(flat)


class BernoulliPd(Pd):
    """Independent coins with the given logits, [B, n]."""
    def __init__(self, logits: tf.Tensor):
        self.logits = logits
        self.ps = tf.sigmoid(logits)
        self.dist = tfd.Independent(tfd.Bernoulli(logits=logits), reinterpreted_batch_ndims=1)
    def flatparam(self):
        return self.logits
    @property
    def mean(self) -> tf.Tensor:
        """Probabilities of 1, [B, n]."""
        return self.ps
    def mode(self):
        return tf.cast(tf.round(self.ps), tf.int32)
    def neglogp(self, x):
        return -self.dist.log_prob(x)
    def kl(self, other):
        return tfd.kl_divergence(self.dist, other.dist)
    def entropy(self):
        return self.dist.entropy()
    def sample(self, noise=None):
        u = uniform_noise(noise, self.ps)
        return tf.cast(u < self.ps, tf.int32)
    @classmethod
    def fromflat(cls, flat):
        return cls(flat)

def make_pdtype(ac_space: spaces.Space, policy: str | None = None, **policy_kwargs) -> PdType:
    """The family of distributions for actions in `ac_space`.

    policy: 'gaussian' (the default), 'gmm' or 'flow' for one-dimensional Box spaces, with the family's keywords;
    Discrete, MultiDiscrete and MultiBinary have one family each and take neither.
    Raises UsageError for a policy or a space that do not fit.
    """
    check_action_space(ac_space, policy, POLICIES)
    if isinstance(ac_space, spaces.Box):
        return POLICIES[policy or 'gaussian'](ac_space.shape[0], **policy_kwargs)
    elif isinstance(ac_space, spaces.Discrete):
        return CategoricalPdType(ac_space.n, **policy_kwargs)
    elif isinstance(ac_space, spaces.MultiDiscrete):
        return MultiCategoricalPdType(ac_space.nvec, **policy_kwargs)
    else:
        return BernoulliPdType(ac_space.n, **policy_kwargs)

def _matching_fc(tensor, name, size, init_scale, init_bias):
    if tensor.shape[-1] == size:
        return tensor
    else:
        return fc(tensor, name, size, init_scale=init_scale, init_bias=init_bias)


# ================================================================
# Not upstream's: mixtures and flows
# ================================================================

class GaussianMixturePdType(PdType):
    """Mixture of K diagonal Gaussians with weights 1/K (paper, appendix A).

    size            dimensions of an action
    gmm_components  number K of Gaussians, each with its own mean head and its own state-independent log standard
                    deviation
    gmm_log_prob    'mixture' is the density; 'released' averages the components' log-densities instead, which is what
                    the paper's released code trained and is not a density
    init_logstd     log standard deviation of the components that training starts with

    >>> pdtype = GaussianMixturePdType(size=1, gmm_components=2)
    >>> pd = pdtype.pdfromflat(tf.constant([[-1., 1., 0., 0.]]))  # two means, two log standard deviations
    >>> pd.logp(tf.constant([[0.]])).numpy().round(3)  # of exp(-1/2) / sqrt(2 pi)
    array([-1.419], dtype=float32)
    >>> pd.sample(tf.constant([[0., 0.2]])).numpy(), pd.sample(tf.constant([[0., 0.7]])).numpy()
    (array([[-1.]], dtype=float32), array([[1.]], dtype=float32))
    """

    def __init__(self, size: int, gmm_components: Components = 2,
                 gmm_log_prob: Literal['mixture', 'released'] = 'mixture', init_logstd: LogStd[float] = 0.0):
        check_ranges(GaussianMixturePdType.__init__, locals())
        self.size = size
        self.gmm_components = gmm_components
        self.gmm_log_prob = gmm_log_prob
        self.init_logstd = init_logstd
    def pdclass(self):
        return GaussianMixturePd
    def pdfromflat(self, flat):
        return GaussianMixturePd(flat, self.gmm_components, self.gmm_log_prob)

    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        means, logstds = [], []
        for k in range(self.gmm_components):
            means.append(fc(latent_vector, f'pi/{k}', self.size, init_scale=init_scale, init_bias=init_bias))
            logstds.append(self.logstd(f'pi/{k}/logstd', means[-1]))
        mean = concat(means, axis=1)
        pdparam = concat([*means, *logstds], axis=1)
        return self.pdfromflat(pdparam), mean

    def param_shape(self):
        return [2*self.gmm_components*self.size]
    def sample_shape(self):
        return [self.size]
    def sample_dtype(self):
        return tf.float32
    @property
    def noise_size(self):
        return self.size + 1
    def noise(self, np_random, n):
        """A standard normal per action dimension and, last, a uniform that chooses the component."""
        return np.concatenate([np_random.standard_normal((n, self.size), dtype='float32'),
                               np_random.random((n, 1), dtype='float32')], axis=1)
    def stateless_noise(self, seed, n):
        """As `noise`."""
        return tf.concat([tf.random.stateless_normal([n, self.size], seed),
                          tf.random.stateless_uniform([n, 1], seed + 1)], axis=1)

class NormalizingFlowPdType(PdType):
    """Normal noise through affine couplings, the state vector L(s) added after the first (paper, eq. 7-9).

    size                dimensions of an action
    flow_layers         pairs of couplings (4, as released, are 8; K couplings of the paper's text are K/2)
    flow_units          size of the two hidden layers of s and t
    flow_eps            what layer normalisation adds to the variance
    flow_state_net      'mlp' gives L(s) its own two hidden layers on the observation, as released; 'network' puts L(s)
                        as one linear layer on the policy network (for images)
    flow_state_units    size of the hidden layers of 'mlp'
    flow_base_logstd    log standard deviation of the noise, 0 in the paper; it stays as it is

    >>> from onpolicybaselines.common.variables import VariableStore
    >>> pdtype = NormalizingFlowPdType(size=2)
    >>> with VariableStore(np_random=np.random.default_rng(0)).as_default():
    ...     pd, state_vector = pdtype.pdfromlatent(tf.constant([[0.1, 0.2, 0.3]]))
    >>> noise = tf.constant([[0.5, -0.5]])
    >>> np.allclose(pd.sample(noise), noise + state_vector, atol=0.05)  # a fresh flow is close to the identity
    True
    >>> np.allclose(pd.logp(pd.sample(noise)), -np.log(2 * np.pi) - 0.25, atol=0.05)
    True
    """

    def __init__(self, size: int, flow_layers: Pairs = 4, flow_units: Normalized = 3,
                 flow_eps: NonNegative[float] = 1e-12, flow_state_net: Literal['mlp', 'network'] = 'mlp',
                 flow_state_units: Normalized = 64, flow_base_logstd: LogStd[float] = 0.0):
        check_ranges(NormalizingFlowPdType.__init__, locals())
        self.size = size
        self.flow_layers = flow_layers
        self.flow_units = flow_units
        self.flow_eps = flow_eps
        self.flow_state_units = flow_state_units
        self.flow_base_logstd = flow_base_logstd
        self.own_state_network = flow_state_net == 'mlp'
    def pdclass(self):
        return NormalizingFlowPd
    def pdfromflat(self, flat):
        with variable_scope('pi'):
            return NormalizingFlowPd(flat, flows.couplings(self.size, self.flow_layers, units=self.flow_units,
                                                           epsilon=self.flow_eps, dtype=flat.dtype),
                                     self.flow_base_logstd)

    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        if self.own_state_network:
            with variable_scope('pi'):
                pdparam = flows.state_network(latent_vector, self.size, units=self.flow_state_units,
                                              epsilon=self.flow_eps)
        else:
            pdparam = fc(latent_vector, 'pi/statelayer', self.size, init_scale=init_scale, init_bias=init_bias)
        return self.pdfromflat(pdparam), pdparam

    def param_shape(self):
        return [self.size]
    def sample_shape(self):
        return [self.size]
    def sample_dtype(self):
        return tf.float32
    def noise(self, np_random, n):
        """Normal, of the standard deviation exp(flow_base_logstd)."""
        return super().noise(np_random, n) * np.float32(np.exp(self.flow_base_logstd))
    def stateless_noise(self, seed, n):
        """As `noise`."""
        return super().stateless_noise(seed, n) * np.float32(np.exp(self.flow_base_logstd))

class GaussianMixturePd(NoClosedForms, Pd):
    """Mixture of diagonal Gaussians, weights 1/K; flat: [K means | K log standard deviations], [B, 2KA]."""

    def __init__(self, flat: tf.Tensor, gmm_components: int, gmm_log_prob: str = 'mixture'):
        self.flat = flat
        self.gmm_log_prob = gmm_log_prob
        mean, logstd = tf.split(flat, 2, axis=-1)
        shape = tf.concat([tf.shape(mean)[:-1], [gmm_components, mean.shape[-1] // gmm_components]], axis=0)
        self.mean, self.logstd = tf.reshape(mean, shape), tf.reshape(logstd, shape)  # [B, K, A]
        self.std = tf.exp(self.logstd)
        self.dist = tfd.MixtureSameFamily(
            tfd.Categorical(logits=tf.zeros([gmm_components], flat.dtype)),
            tfd.Independent(tfd.Normal(self.mean, self.std), reinterpreted_batch_ndims=1))
    def flatparam(self):
        return self.flat
    def mode(self):
        """The component mean with the highest density (not, in general, the density's maximum)."""
        density = tf.stack([self.dist.log_prob(m) for m in tf.unstack(self.mean, axis=-2)], axis=-1)
        return tf.gather(self.mean, tf.argmax(density, axis=-1), batch_dims=1)
    def neglogp(self, x):
        if self.gmm_log_prob == 'released':
            return -tf.reduce_mean(self.component_logp(x), axis=-1)
        return -self.dist.log_prob(x)
    def component_logp(self, x: tf.Tensor) -> tf.Tensor:
        """Log-density of each component at x [B, A], [B, K]."""
        return self.dist.components_distribution.log_prob(x[..., None, :])
    def sample(self, noise=None):
        components, size = self.mean.shape[-2:]
        if noise is None:
            normal, u = normal_noise(None, self.mean[..., 0, :]), tf.random.uniform(tf.shape(self.mean)[:-2])
        else:
            normal, u = noise[..., :size], noise[..., size]
        k = tf.minimum(tf.cast(u * components, tf.int32), components - 1)  # u may round up to 1
        mean, std = (tf.gather(p, k, batch_dims=1) for p in (self.mean, self.std))
        return mean + std * tf.cast(normal, mean.dtype)
    def fromflat(self, flat):
        return GaussianMixturePd(flat, self.mean.shape[-2], self.gmm_log_prob)

class NormalizingFlowPd(NoClosedForms, Pd):
    """Pushes normal noise forward through couplings, the state vector added after the first.

    flat: the state vector L(s), [B, A]; couplings: `flows.AffineCoupling`s in the order of sampling; base_logstd: log
    standard deviation of the noise.
    """

    def __init__(self, flat: tf.Tensor, couplings: Sequence[flows.AffineCoupling], base_logstd: float = 0.0):
        self.flat = flat
        self.couplings = list(couplings)
        self.base_logstd, self.base_std = base_logstd, float(np.exp(base_logstd))
        base = tfd.Independent(tfd.Normal(tf.zeros_like(flat), self.base_std), reinterpreted_batch_ndims=1)
        self.dist = tfd.TransformedDistribution(base, flows.chain(self.couplings, flat))
    def flatparam(self):
        return self.flat
    def mode(self):
        """The image of zero noise: neither the mean nor, in general, the density's maximum."""
        return self.sample(tf.zeros_like(self.flat))
    # bijectors remember results by tensor, across graphs and loops: each call brings a tensor of its own
    def neglogp(self, x):
        return -self.dist.log_prob(tf.identity(x))
    def sample(self, noise=None):
        scale = self.base_std if noise is None else 1. # what the family draws has it already
        return self.dist.bijector.forward(scale * normal_noise(noise, self.flat))
    def fromflat(self, flat):
        return NormalizingFlowPd(flat, self.couplings, self.base_logstd)

FAMILY_SIZES = ('size', 'ncat', 'nvec')  # what a family takes from the action space
POLICIES = {
    'gaussian': DiagGaussianPdType,
    'gmm': GaussianMixturePdType,
    'flow': NormalizingFlowPdType,
}
