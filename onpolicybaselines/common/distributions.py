"""Probability distributions over actions (upstream common/distributions.py, with mixtures and flows).

B: batch (states), A: action dimensions, K: mixture components. A `PdType` is a family and owns its head's variables;
a `Pd` is the batch of distributions at given states. Densities come from TensorFlow Probability.

Noise: `PdType.noise` draws, on the host, what `Pd.sample` pushes forward, so that one numpy Generator decides every
action of a run.
"""
import abc
from collections.abc import Sequence
from typing import Literal

import gymnasium as gym
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from gymnasium import spaces

from onpolicybaselines.a2c.utils import fc
from onpolicybaselines.common import actors, flows
from onpolicybaselines.common.compiled import concat
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import nearest
from onpolicybaselines.common.layers import record_layer
from onpolicybaselines.common.variables import constant_initializer, get_variable, variable_scope

tfd = tfp.distributions


class NoClosedFormError(TypeError):
    """A quantity was asked for that has no closed form; the message names the estimator to use instead."""


class Pd(abc.ABC):
    """A batch of distributions over actions.

    dist: the TFP distribution, batch shape [B]. Log-probabilities and entropies are in nats.
    """

    has_analytic_kl = True
    has_analytic_entropy = True
    dist: tfd.Distribution

    @abc.abstractmethod
    def flatparam(self) -> tf.Tensor:
        """The state-dependent parameters, [B, n]."""
    @abc.abstractmethod
    def at(self, flat: tf.Tensor) -> 'Pd':
        """The same family at other parameters `flat` (as `flatparam`)."""
    @abc.abstractmethod
    def mode(self) -> tf.Tensor:
        """The deterministic action, [B, ...]."""
    def neglogp(self, x: tf.Tensor) -> tf.Tensor:
        """-log p(x), [B], for actions x [B, ...]."""
        return -self.logp(x)
    def kl(self, other: 'Pd') -> tf.Tensor:
        """KL(self || other) in closed form, [B]."""
        if not self.has_analytic_kl:
            raise NoClosedFormError(f'{type(self).__name__} has no closed-form KL: use sampled_kl(other, x)')
        return tfd.kl_divergence(self.dist, other.dist)
    def entropy(self) -> tf.Tensor:
        """Entropy in closed form, [B]."""
        if not self.has_analytic_entropy:
            raise NoClosedFormError(f'{type(self).__name__} has no closed-form entropy: use sampled_entropy(n)')
        return self.dist.entropy()
    @abc.abstractmethod
    def sample(self, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Actions [B, ...] from `noise` of `PdType.noise`; from TensorFlow's own generator if None."""
    def logp(self, x: tf.Tensor) -> tf.Tensor:
        """log p(x), [B], for actions x [B, ...]."""
        return self.dist.log_prob(x)

    def sampled_kl(self, other: 'Pd', x: tf.Tensor) -> tf.Tensor:
        """Unbiased estimate of KL(self || other) from one action x per state drawn from self, [B]; single terms can be
        negative."""
        return self.logp(x) - other.logp(x)
    def sampled_entropy(self, n: int = 10, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Estimate of the entropy from `n` actions per state, [B]; noise: [n * B, ...], all states n times over.

        Actions of continuous families are reparameterised, so its gradient is the entropy's (paper, section 4.1).
        """
        tiled = self.at(tf.tile(self.flatparam(), [n, 1]))
        return tf.reduce_mean(tf.reshape(tiled.neglogp(tiled.sample(noise)), [n, -1]), axis=0)

    def get_shape(self) -> tf.TensorShape:
        """Shape of `flatparam`."""
        return self.flatparam().shape
    @property
    def shape(self) -> tf.TensorShape:
        """Shape of `flatparam`."""
        return self.get_shape()
    def __getitem__(self, idx):
        return self.at(self.flatparam()[idx])

class PdType(abc.ABC):
    """A parametrised family of distributions.

    own_state_network: the family reads the encoded observation itself instead of the policy network's latent.
    """

    own_state_network = False
    noise_size: int

    @abc.abstractmethod
    def pdclass(self) -> type[Pd]:
        """The class of its members."""
    def pdfromflat(self, flat: tf.Tensor) -> Pd:
        """The members at parameters `flat`, [B, n]."""
        return self.pdclass()(flat)
    @abc.abstractmethod
    def pdfromlatent(self, latent_vector: tf.Tensor, init_scale: float = 1.0,
                     init_bias: float = 0.0) -> tuple[Pd, tf.Tensor]:
        """(the members at states with latent [B, n], the head's output); creates the head's variables."""
    @abc.abstractmethod
    def param_shape(self) -> list[int]:
        """Shape of one state's parameters."""
    @abc.abstractmethod
    def sample_shape(self) -> list[int]:
        """Shape of one action."""
    @abc.abstractmethod
    def sample_dtype(self) -> tf.DType:
        """Type of an action."""
    def noise(self, np_random: np.random.Generator, n: int) -> np.ndarray:
        """Host-side noise for n actions, float32 [n, noise_size]: standard normal unless the family says otherwise."""
        return np_random.standard_normal((n, self.noise_size), dtype=np.float32)
    def head(self, arrays: actors.Arrays) -> actors.Head | None:
        """What `pdfromlatent`, `Pd.sample` and `Pd.mode` do, without TensorFlow, given the variables' values by name.

        None if the family, as this base class, has no such version.
        """
        return None

    def __eq__(self, other):
        return (type(self) is type(other)) and (self.__dict__ == other.__dict__)

    __hash__ = None

class _DiscretePdType(PdType):
    """What the families on integers share: logits from one head, uniform noise."""

    def __init__(self, size: int):
        self.noise_size = int(size)
    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        pdparam = _matching_fc(latent_vector, 'pi', self.noise_size, init_scale=init_scale, init_bias=init_bias)
        return self.pdfromflat(pdparam), pdparam
    def param_shape(self):
        return [self.noise_size]
    def sample_dtype(self):
        return tf.int32
    def noise(self, np_random, n):
        return np_random.random((n, self.noise_size), dtype=np.float32)

class CategoricalPdType(_DiscretePdType):
    """Categorical over 0..ncat-1, for Discrete spaces."""

    def __init__(self, ncat: int):
        super().__init__(ncat)
        self.ncat = int(ncat)
    def pdclass(self):
        return CategoricalPd
    def sample_shape(self):
        return []
    def head(self, arrays):
        return actors.categorical(actors.matching_dense(arrays, 'pi'))


class MultiCategoricalPdType(_DiscretePdType):
    """Independent categoricals of sizes nvec, for MultiDiscrete spaces."""

    def __init__(self, nvec: Sequence[int]):
        super().__init__(np.sum(nvec))
        self.ncats = [int(n) for n in nvec]
        if min(self.ncats) < 1:
            raise UsageError(f'every categorical needs at least one value, got sizes {self.ncats}')
    def pdclass(self):
        return MultiCategoricalPd
    def pdfromflat(self, flat):
        return MultiCategoricalPd(self.ncats, flat)
    def sample_shape(self):
        return [len(self.ncats)]
    def head(self, arrays):
        return actors.multicategorical(actors.matching_dense(arrays, 'pi'), self.ncats)

class _ContinuousPdType(PdType):
    """What the families on real vectors share."""

    size: int

    def sample_shape(self):
        return [self.size]
    def sample_dtype(self):
        return tf.float32
    def logstd(self, name: str, mean: tf.Tensor) -> tf.Tensor:
        """A log standard deviation that does not depend on the state, once per state of `mean` [B, A]."""
        logstd = get_variable(name, [1, mean.shape[-1]], constant_initializer(0.0))
        return record_layer('free', (logstd,), logstd, mean * 0.0 + logstd)

class DiagGaussianPdType(_ContinuousPdType):
    """Gaussian with diagonal covariance; the log standard deviation does not depend on the state.

    fixed_logstd: keep the standard deviation at 1 for ever, as the paper's released baseline does (upstream before
    2018-01-25 left `logstd` out of the trained variables).
    """

    def __init__(self, size: int, fixed_logstd: bool = False):
        self.size = self.noise_size = int(size)
        self.fixed_logstd = fixed_logstd
    def pdclass(self):
        return DiagGaussianPd

    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        mean = _matching_fc(latent_vector, 'pi', self.size, init_scale=init_scale, init_bias=init_bias)
        logstd = mean * 0.0 if self.fixed_logstd else self.logstd('pi/logstd', mean)
        pdparam = concat([mean, logstd], axis=1)
        return self.pdfromflat(pdparam), mean

    def head(self, arrays):
        logstd = np.zeros([1, self.size], 'float32') if self.fixed_logstd else arrays['pi/logstd']
        return actors.diag_gaussian(actors.matching_dense(arrays, 'pi'), logstd)

    def param_shape(self):
        return [2*self.size]

class BernoulliPdType(_DiscretePdType):
    """Independent coins, for MultiBinary spaces."""

    def __init__(self, size: int):
        super().__init__(size)
        self.size = int(size)
    def pdclass(self):
        return BernoulliPd
    def sample_shape(self):
        return [self.size]
    def head(self, arrays):
        return actors.bernoulli(actors.matching_dense(arrays, 'pi'))

class GaussianMixturePdType(_ContinuousPdType):
    """Mixture of K diagonal Gaussians with weights 1/K (paper, appendix A).

    gmm_components: K. Each has its own mean head and its own state-independent log standard deviation.
    gmm_log_prob: 'mixture' is the density; 'released' averages the components' log-densities instead, which is what the
    paper's released code trained and is not a density.
    """

    def __init__(self, size: int, gmm_components: int = 2, gmm_log_prob: Literal['mixture', 'released'] = 'mixture'):
        if gmm_components < 1:
            raise UsageError(f'gmm_components={gmm_components}: a mixture needs at least one component')
        if gmm_log_prob not in ('mixture', 'released'):
            raise UsageError(f"gmm_log_prob={gmm_log_prob!r}: use 'mixture' or 'released'")
        self.size = int(size)
        self.noise_size = self.size + 1
        self.gmm_components = gmm_components
        self.gmm_log_prob = gmm_log_prob
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

    def head(self, arrays):
        components = [f'pi/{k}' for k in range(self.gmm_components)]
        return actors.gaussian_mixture([actors.dense(arrays, name) for name in components],
                                       np.concatenate([arrays[f'{name}/logstd'] for name in components]))

    def param_shape(self):
        return [2*self.gmm_components*self.size]
    def noise(self, np_random, n):
        """A standard normal per action dimension and, last, a uniform that chooses the component."""
        return np.concatenate([np_random.standard_normal((n, self.size), dtype='float32'),
                               np_random.random((n, 1), dtype='float32')], axis=1)

class NormalizingFlowPdType(_ContinuousPdType):
    """Standard normal noise through affine couplings, the state vector L(s) added after the first (paper, eq. 7-9).

    flow_layers: pairs of couplings (4, as released, are 8; the paper's text with K couplings is K/2);
    flow_units: size of the two hidden layers of s and t; flow_eps: of their layer normalisation;
    flow_state_net: 'mlp' gives L(s) its own two hidden layers of flow_state_units on the observation, as released;
    'network' puts L(s) as one linear layer on the policy network (for images).
    """

    def __init__(self, size: int, flow_layers: int = 4, flow_units: int = 3, flow_eps: float = 1e-12,
                 flow_state_net: Literal['mlp', 'network'] = 'mlp', flow_state_units: int = 64):
        if flow_layers < 1:
            raise UsageError(f'flow_layers={flow_layers}: use at least 1')
        for name, value in [('flow_units', flow_units), ('flow_state_units', flow_state_units)]:
            if value < 3:
                raise UsageError(f'{name}={value}: use at least 3; layer normalisation of fewer leaves signs at most')
        if flow_state_net not in ('mlp', 'network'):
            raise UsageError(f"flow_state_net={flow_state_net!r}: use 'mlp' or 'network'")
        self.size = self.noise_size = int(size)
        self.flow_layers = flow_layers
        self.flow_units = flow_units
        self.flow_eps = flow_eps
        self.flow_state_units = flow_state_units
        self.own_state_network = flow_state_net == 'mlp'
    def pdclass(self):
        return NormalizingFlowPd
    def pdfromflat(self, flat):
        with variable_scope('pi'):
            return NormalizingFlowPd(flat, self._couplings(flows.AffineCoupling, units=self.flow_units,
                                                           dtype=flat.dtype))

    def pdfromlatent(self, latent_vector, init_scale=1.0, init_bias=0.0):
        if self.own_state_network:
            with variable_scope('pi'):
                pdparam = flows.state_network(latent_vector, self.size, units=self.flow_state_units,
                                              epsilon=self.flow_eps)
        else:
            pdparam = fc(latent_vector, 'pi/statelayer', self.size, init_scale=init_scale, init_bias=init_bias)
        return self.pdfromflat(pdparam), pdparam

    def _couplings(self, make, **kwargs):
        return [make(f'Nlayer_{i}', self.size, swap=i % 2 == 1, epsilon=self.flow_eps, **kwargs)
                for i in range(2 * self.flow_layers)]

    def head(self, arrays):
        arrays = actors.in_scope(arrays, 'pi')
        if self.own_state_network:
            layers = flows.state_layers(arrays, epsilon=self.flow_eps)
        else:
            layers = [actors.dense(arrays, 'statelayer')]
        return actors.flow(layers, self._couplings(flows.coupling, arrays=arrays))

    def param_shape(self):
        return [self.size]

class CategoricalPd(Pd):
    """Categorical with the given logits, [B, ncat]."""

    def __init__(self, logits: tf.Tensor):
        self.logits = logits
        self.dist = tfd.Categorical(logits=logits)
    def flatparam(self):
        return self.logits
    def at(self, flat):
        return CategoricalPd(flat)
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
    def logp(self, x):
        return -self.neglogp(x)
    def sample(self, noise=None):
        u = _uniform_noise(noise, self.logits)
        return tf.argmax(self.logits - tf.math.log(-tf.math.log(u)), axis=-1, output_type=tf.int32)

class MultiCategoricalPd(Pd):
    """Independent categoricals of sizes nvec; flat: their logits side by side, [B, sum(nvec)]."""

    def __init__(self, nvec: Sequence[int], flat: tf.Tensor):
        self.flat = flat
        self.nvec = list(nvec)
        self.categoricals = list(map(CategoricalPd, tf.split(flat, self.nvec, axis=-1)))
    def flatparam(self):
        return self.flat
    def at(self, flat):
        return MultiCategoricalPd(self.nvec, flat)
    def mode(self):
        return tf.stack([p.mode() for p in self.categoricals], axis=-1)
    def logp(self, x):
        return tf.add_n([p.logp(px) for p, px in zip(self.categoricals, tf.unstack(x, axis=-1), strict=True)])
    def kl(self, other):
        return tf.add_n([p.kl(q) for p, q in zip(self.categoricals, other.categoricals, strict=True)])
    def entropy(self):
        return tf.add_n([p.entropy() for p in self.categoricals])
    def sample(self, noise=None):
        noises = [None] * len(self.nvec) if noise is None else tf.split(noise, self.nvec, axis=-1)
        return tf.stack([p.sample(u) for p, u in zip(self.categoricals, noises, strict=True)], axis=-1)

class DiagGaussianPd(Pd):
    """Diagonal Gaussian; flat: [mean | log standard deviation], [B, 2A]."""

    def __init__(self, flat: tf.Tensor):
        self.flat = flat
        self.mean, self.logstd = tf.split(flat, 2, axis=-1)
        self.std = tf.exp(self.logstd)
        self.dist = tfd.Independent(tfd.Normal(self.mean, self.std), reinterpreted_batch_ndims=1)
    def flatparam(self):
        return self.flat
    def at(self, flat):
        return DiagGaussianPd(flat)
    def mode(self):
        return self.mean
    def sample(self, noise=None):
        return self.mean + self.std * _normal_noise(noise, self.mean)


class BernoulliPd(Pd):
    """Independent coins with the given logits, [B, n]."""

    def __init__(self, logits: tf.Tensor):
        self.logits = logits
        self.ps = tf.sigmoid(logits)
        self.dist = tfd.Independent(tfd.Bernoulli(logits=logits), reinterpreted_batch_ndims=1)
    def flatparam(self):
        return self.logits
    def at(self, flat):
        return BernoulliPd(flat)
    @property
    def mean(self) -> tf.Tensor:
        """Probabilities of 1, [B, n]."""
        return self.ps
    def mode(self):
        return tf.cast(tf.round(self.ps), tf.int32)
    def sample(self, noise=None):
        u = _uniform_noise(noise, self.ps)
        return tf.cast(u < self.ps, tf.int32)

class GaussianMixturePd(Pd):
    """Mixture of diagonal Gaussians, weights 1/K; flat: [K means | K log standard deviations], [B, 2KA]."""

    has_analytic_kl = False
    has_analytic_entropy = False

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
    def at(self, flat):
        return GaussianMixturePd(flat, self.mean.shape[-2], self.gmm_log_prob)
    def mode(self):
        """The component mean with the highest density (not, in general, the density's maximum)."""
        density = tf.stack([self.dist.log_prob(m) for m in tf.unstack(self.mean, axis=-2)], axis=-1)
        return tf.gather(self.mean, tf.argmax(density, axis=-1), batch_dims=1)
    def logp(self, x):
        if self.gmm_log_prob == 'released':
            return tf.reduce_mean(self.component_logp(x), axis=-1)
        return super().logp(x)
    def component_logp(self, x: tf.Tensor) -> tf.Tensor:
        """Log-density of each component at x [B, A], [B, K]."""
        return self.dist.components_distribution.log_prob(x[..., None, :])
    def sample(self, noise=None):
        components, size = self.mean.shape[-2:]
        if noise is None:
            normal, u = _normal_noise(None, self.mean[..., 0, :]), tf.random.uniform(tf.shape(self.mean)[:-2])
        else:
            normal, u = noise[..., :size], noise[..., size]
        k = tf.minimum(tf.cast(u * components, tf.int32), components - 1)  # u may round up to 1
        mean, std = (tf.gather(p, k, batch_dims=1) for p in (self.mean, self.std))
        return mean + std * tf.cast(normal, mean.dtype)

class NormalizingFlowPd(Pd):
    """Pushes standard normal noise forward through couplings, the state vector added after the first.

    flat: the state vector L(s), [B, A]; couplings: `flows.AffineCoupling`s in the order of sampling.
    """

    has_analytic_kl = False
    has_analytic_entropy = False

    def __init__(self, flat: tf.Tensor, couplings: Sequence[flows.AffineCoupling]):
        self.flat = flat
        self.couplings = list(couplings)
        base = tfd.Independent(tfd.Normal(tf.zeros_like(flat), 1.), reinterpreted_batch_ndims=1)
        self.dist = tfd.TransformedDistribution(base, flows.chain(self.couplings, flat))
    def flatparam(self):
        return self.flat
    def at(self, flat):
        return NormalizingFlowPd(flat, self.couplings)
    def mode(self):
        """The image of zero noise: neither the mean nor, in general, the density's maximum."""
        return self.sample(tf.zeros_like(self.flat))
    # bijectors remember results by tensor, across graphs and loops: each call brings a tensor of its own
    def logp(self, x):
        return self.dist.log_prob(tf.identity(x))
    def sample(self, noise=None):
        return self.dist.bijector.forward(tf.identity(_normal_noise(noise, self.flat)))

FAMILY_SIZES = ('size', 'ncat', 'nvec')  # what a family takes from the action space
POLICIES = {
    'gaussian': DiagGaussianPdType,
    'gmm': GaussianMixturePdType,
    'flow': NormalizingFlowPdType,
}

def policy_family(ac_space: gym.Space, policy: str | None = None) -> type[PdType]:
    """The class of `make_pdtype`'s result. Raises UsageError for a policy or a space that do not fit."""
    if policy is not None and policy not in POLICIES:
        raise UsageError(f'unknown policy {policy!r}{nearest(policy, POLICIES)}')
    if isinstance(ac_space, spaces.Box):
        if len(ac_space.shape) != 1:
            raise UsageError(f'actions of shape {ac_space.shape} are not supported: flatten them to one dimension')
        return POLICIES[policy or 'gaussian']
    if policy is not None:
        raise UsageError(f'policy={policy} is for continuous (Box) actions, not for {ac_space}: leave it out')
    for space, family in [(spaces.Discrete, CategoricalPdType), (spaces.MultiDiscrete, MultiCategoricalPdType),
                          (spaces.MultiBinary, BernoulliPdType)]:
        if isinstance(ac_space, space) and len(ac_space.shape) < 2 and not np.any(getattr(ac_space, 'start', 0)):
            return family
    raise UsageError(f'action space {" ".join(str(ac_space).split())} is not supported: use a one-dimensional Box, '
                     'MultiDiscrete or MultiBinary or a Discrete space, counted from 0')

def make_pdtype(ac_space: gym.Space, policy: str | None = None, **policy_kwargs) -> PdType:
    """The family of distributions for actions in `ac_space`.

    policy: 'gaussian' (the default), 'gmm' or 'flow' for one-dimensional Box spaces, with the family's keywords;
    Discrete, MultiDiscrete and MultiBinary have one family each and take neither.
    Raises UsageError for a policy or a space that do not fit.
    """
    family = policy_family(ac_space, policy)
    if isinstance(ac_space, spaces.Box):
        return family(ac_space.shape[0], **policy_kwargs)
    return family(ac_space.nvec if isinstance(ac_space, spaces.MultiDiscrete) else ac_space.n, **policy_kwargs)

def _matching_fc(tensor, name, size, init_scale, init_bias):
    if tensor.shape[-1] == size:
        return tensor
    else:
        return fc(tensor, name, size, init_scale=init_scale, init_bias=init_bias)

def _normal_noise(noise, like):
    return tf.random.normal(tf.shape(like), dtype=like.dtype) if noise is None else tf.cast(noise, like.dtype)

def _uniform_noise(noise, like):
    return tf.random.uniform(tf.shape(like), dtype=like.dtype) if noise is None else tf.cast(noise, like.dtype)

def entropy_of(pd: 'Pd', noise: tf.Tensor) -> tf.Tensor:
    """Entropies [B]: in closed form, or sampled with `noise`, that of `entropy_noise`."""
    if pd.has_analytic_entropy:
        return pd.entropy()
    return pd.sampled_entropy(tf.shape(noise)[0] // tf.shape(pd.flatparam())[0], noise)

def entropy_noise(pdtype: 'PdType', np_random: np.random.Generator, n: int, samples: int = 10) -> np.ndarray:
    """What `entropy_of` needs for n states, [samples * n, noise_size]; nothing for families with a closed form."""
    return pdtype.noise(np_random, 0 if pdtype.pdclass().has_analytic_entropy else samples * n)
