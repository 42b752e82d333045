"""What `policies.MlpPolicy` does beyond the Gaussian of upstream: families, their Fisher matrices and divergences."""
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import tensorflow as tf

from onpolicybaselines.common.distributions import (
    FAMILY_SIZES,
    DiagGaussianPdType,
    GaussianMixturePdType,
    Pd,
    PdType,
    make_pdtype,
)
from onpolicybaselines.common.keywords import check_choice, split_keywords
from onpolicybaselines.common.layers import record_layer
from onpolicybaselines.common.variables import constant_initializer, get_variable


class _BatchStd:
    """Standard deviations whose Fisher matrix is the outer product of the gradient of the batch mean.

    Upstream's rule for variables it has no other for. That gradient is nearly 0, so the step along the log standard
    deviation is hundreds of times that of the natural gradient, and the policies of the paper narrow so fast.
    """

    def logstd(self, name, mean):
        logstd = get_variable(name, [1, mean.shape[-1]], constant_initializer(self.init_logstd))
        std = record_layer('free', (logstd,), logstd, tf.exp(logstd)) # once, not for each state
        return mean * 0.0 + tf.math.log(std)


class BatchStdGaussianPdType(_BatchStd, DiagGaussianPdType):
    """`DiagGaussianPdType` with upstream's curvature of the standard deviation."""


class BatchStdMixturePdType(_BatchStd, GaussianMixturePdType):
    """`GaussianMixturePdType` with upstream's curvature of the standard deviations."""


_BATCH_STD = {DiagGaussianPdType: BatchStdGaussianPdType, GaussianMixturePdType: BatchStdMixturePdType}


def pdtype_for(ac_space: gym.spaces.Box, policy: str | None, std_fisher: str,
               policy_kwargs: Mapping[str, Any]) -> PdType:
    """The family for `MlpPolicy`'s arguments of the same names. Raises UsageError."""
    family: Any = type(make_pdtype(ac_space, policy))
    if std_fisher == 'batch':
        family = _BATCH_STD.get(family, family)
    kwargs, = split_keywords(policy_kwargs, family, skip=FAMILY_SIZES)
    return family(ac_space.shape[0], **kwargs)


def check_choices(choices: Mapping[str, tuple[str, str]], values: Mapping[str, Any]) -> None:
    """Raise UsageError unless each option has one of its two values."""
    for option, names in choices.items():
        check_choice(option, values[option], names)


def kl_terms(oldpd: Pd, pd: Pd, ac_na: tf.Tensor, kl_estimator: str) -> tf.Tensor:
    """KL(old || present) at each state, [B], or where it has no closed form the estimate from the old one's action."""
    if pd.has_analytic_kl:
        return oldpd.kl(pd)
    logr = pd.logp(ac_na) - oldpd.logp(ac_na)
    return -logr if kl_estimator == 'k1' else tf.math.expm1(logr) - logr


def seen_by_critic(pd: Pd, ac_na: tf.Tensor, critic_sees: str) -> tf.Tensor:
    """What a critic is told of the distributions, [B, n]."""
    if pd.has_analytic_kl:
        return tf.concat([pd.mean, pd.std], axis=1)
    return pd.flatparam() if critic_sees == 'parameters' else pd.logp(ac_na)[:, tf.newaxis]
