"""The policy of continuous ACKTR (upstream acktr/policies.py of its branch old_acktr_cont)."""
import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.acktr.utils import dense, weight_decay_dict
from onpolicybaselines.common import actors, tf_util as U
from onpolicybaselines.common.distributions import (
    FAMILY_SIZES,
    DiagGaussianPdType,
    GaussianMixturePdType,
    policy_family,
)
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import split_keywords
from onpolicybaselines.common.layers import record_layer
from onpolicybaselines.common.policy import Policy
from onpolicybaselines.common.variables import constant_initializer, get_variable


class _BatchStd:
    """Standard deviations whose Fisher matrix is the outer product of the gradient of the batch mean.

    Upstream's rule for variables it has no other for. That gradient is nearly 0, so the step along the log standard
    deviation is hundreds of times that of the natural gradient, and the policies of the paper narrow so fast.
    """

    def logstd(self, name, mean):
        logstd = get_variable(name, [1, mean.shape[-1]], constant_initializer(0.0))
        std = record_layer('free', (logstd,), logstd, tf.exp(logstd)) # once, not for each state
        return mean * 0.0 + tf.math.log(std)


class BatchStdGaussianPdType(_BatchStd, DiagGaussianPdType):
    """`DiagGaussianPdType` with upstream's curvature of the standard deviation."""


class BatchStdMixturePdType(_BatchStd, GaussianMixturePdType):
    """`GaussianMixturePdType` with upstream's curvature of the standard deviations."""


_BATCH_STD = {DiagGaussianPdType: BatchStdGaussianPdType, GaussianMixturePdType: BatchStdMixturePdType}


class MlpPolicy(Policy):
    """Two tanh layers of 64 units below the parameters of a Gaussian or a mixture; a flow has its own state network.

    An observation is [present, previous], both filtered, [B, 2 ob_dim]; actions in [-1, 1] are those of the space.
    action_dist(ob_no, ac_na): what a critic is told of the distributions, [B, dist_dim].
    compute_kl(thold, ob_no, ac_na): KL(old || present), a mean over the batch, thold being the old policy's parameters.
    """

    init_scale = 0.1

    def __init__(self, ob_dim: int, ac_space: gym.spaces.Box, policy: str | None = None,
                 np_random: np.random.Generator | None = None, std_fisher: str = 'batch', kl_estimator: str = 'k3',
                 critic_sees: str = 'parameters', **policy_kwargs):
        """Make the variables, from `np_random`.

        policy, policy_kwargs: as `make_pdtype`.
        std_fisher: Fisher matrix of standard deviations, 'sample' has the mean of outer products of the samples'
        gradients, 'batch' that of the mean gradient.
        kl_estimator: where the divergence has no closed form, the mean over actions of 'k1', -log r with
        r = present / old, or of 'k3', (r - 1) - log r, whose terms are not negative and vary much less (Schulman 2020,
        Approximating KL divergence). Both are unbiased.
        critic_sees: mean and standard deviation of a Gaussian; of the others, the 'parameters' that depend on the
        state, or 'logp' of the taken action, as in the paper's released code.
        Raises UsageError.
        """
        for option, value, choices in [('std_fisher', std_fisher, ('batch', 'sample')),
                                       ('kl_estimator', kl_estimator, ('k1', 'k3')),
                                       ('critic_sees', critic_sees, ('parameters', 'logp'))]:
            if value not in choices:
                raise UsageError(f"{option}={value!r}: use '{choices[0]}' or '{choices[1]}'")
        self._kl_estimator = kl_estimator
        self._critic_sees = critic_sees
        family = policy_family(ac_space, policy)
        if std_fisher == 'batch':
            family = _BATCH_STD.get(family, family)
        kwargs, = split_keywords(policy_kwargs, family, skip=FAMILY_SIZES)
        pdtype = family(ac_space.shape[0], **kwargs)
        is_gaussian = isinstance(pdtype, DiagGaussianPdType)

        def network(ob_no):
            h1 = tf.nn.tanh(dense(ob_no, 64, "h1", weight_init=U.normc_initializer(1.0), bias_init=0.0))
            h2 = tf.nn.tanh(dense(h1, 64, "h2", weight_init=U.normc_initializer(1.0), bias_init=0.0))
            if is_gaussian: # mean control output
                return dense(h2, pdtype.size, "mean", weight_init=U.normc_initializer(0.1), bias_init=0.0)
            return h2

        network.layers = lambda arrays: [actors.dense(arrays, "h1", 'tanh'), actors.dense(arrays, "h2", 'tanh'),
                                         *([actors.dense(arrays, "mean")] if is_gaussian else [])]
        super().__init__(gym.spaces.Box(-np.inf, np.inf, [2 * ob_dim]), network, pdtype, np_random=np_random,
                         spec={'policy': policy, **policy_kwargs})
        self.wd_dict = weight_decay_dict(self.var_list)
        # what an update is compiled for: observations, actions, advantages
        self.inputs = (self.X, tf.TensorSpec([None, pdtype.size]), tf.TensorSpec([None]))
        ob_no, ac_na, _ = self.inputs
        self.dist_dim = self._action_dist(tf.zeros([1, 2 * ob_dim]), tf.zeros([1, pdtype.size])).shape[1]
        self.action_dist = U.function(self._action_dist, ob_no, ac_na)
        self.compute_kl = U.function(self._kl, tf.TensorSpec([sum(map(U.numel, self.var_list))]), ob_no, ac_na)

    def _action_dist(self, ob_no, ac_na):
        pd = self.pd(ob_no)
        if pd.has_analytic_kl:
            return tf.concat([pd.mean, pd.std], axis=1)
        return pd.flatparam() if self._critic_sees == 'parameters' else pd.logp(ac_na)[:, tf.newaxis]

    def _kl(self, thold, ob_no, ac_na):
        pd = self.pd(ob_no)
        with self.at(thold):
            oldpd = self.pd(ob_no)
        if pd.has_analytic_kl:
            return tf.reduce_mean(oldpd.kl(pd))
        logr = pd.logp(ac_na) - oldpd.logp(ac_na)
        return tf.reduce_mean(-logr if self._kl_estimator == 'k1' else tf.math.expm1(logr) - logr)

    def losses(self, ob_no: tf.Tensor, ac_na: tf.Tensor, adv_n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(loss of the policy gradient, the sampled loss of the Fisher matrix), for `KfacOptimizer.minimize`."""
        logprob_n = self.pd(ob_no).logp(ac_na)
        return -tf.reduce_mean(adv_n * logprob_n), -tf.reduce_mean(logprob_n)
