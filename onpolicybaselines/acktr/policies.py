"""The policy of continuous ACKTR (upstream acktr/policies.py of its branch old_acktr_cont)."""
import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.acktr.families import check_choices, kl_terms, pdtype_for, seen_by_critic
from onpolicybaselines.acktr.utils import dense, weight_decay_dict
from onpolicybaselines.common import actors, tf_util as U
from onpolicybaselines.common.distributions import DiagGaussianPdType
from onpolicybaselines.common.policy import Policy


class MlpPolicy(Policy):
    """Two tanh layers of 64 units below the parameters of a Gaussian or a mixture; a flow has its own state network.

    An observation is [present, previous], both filtered, [B, 2 ob_dim]; actions in [-1, 1] are those of the space.
    action_dist(ob_no, oldac_na): what a critic is told of the distributions, [B, dist_dim].
    compute_kl(thold, ob_no, oldac_na): KL(old || present), a mean over the batch, thold being the old policy's
    parameters.
    """

    init_scale = 0.1

    def __init__(self, ob_dim: int, ac_space: gym.spaces.Box, policy: str | None = None,
                 np_random: np.random.Generator | None = None, std_fisher: str = 'batch', kl_estimator: str = 'k3',
                 critic_sees: str = 'parameters', **policy_kwargs):
        """Make the variables, from `np_random`. Raises UsageError.

        policy          as `make_pdtype`, like policy_kwargs
        std_fisher      Fisher matrix of standard deviations: 'sample' has the mean of outer products of the samples'
                        gradients, 'batch' that of the mean gradient
        kl_estimator    where the divergence has no closed form, the mean over actions of 'k1', -log r with
                        r = present / old, or of 'k3', (r - 1) - log r, whose terms are not negative and vary much less
                        (Schulman 2020, Approximating KL divergence); both are unbiased
        critic_sees     mean and standard deviation of a Gaussian; of the others, the 'parameters' that depend on the
                        state, or 'logp' of the taken action, as in the paper's released code
        """
        check_choices({'std_fisher': ('batch', 'sample'), 'kl_estimator': ('k1', 'k3'),
                       'critic_sees': ('parameters', 'logp')}, locals())
        pdtype = pdtype_for(ac_space, policy, std_fisher, policy_kwargs)
        ac_dim = pdtype.size
        ends_in_mean = isinstance(pdtype, DiagGaussianPdType) and not pdtype.state_dependent_std

        def network(ob_no):
            h1 = tf.nn.tanh(dense(ob_no, 64, "h1", weight_init=U.normc_initializer(1.0), bias_init=0.0))
            h2 = tf.nn.tanh(dense(h1, 64, "h2", weight_init=U.normc_initializer(1.0), bias_init=0.0))
            if not ends_in_mean: return h2
            mean_na = dense(h2, ac_dim, "mean", weight_init=U.normc_initializer(0.1), bias_init=0.0) # of the control
            return mean_na

        network.layers = lambda arrays: [actors.dense(arrays, "h1", 'tanh'), actors.dense(arrays, "h2", 'tanh'),
                                         *([actors.dense(arrays, "mean")] if ends_in_mean else [])]
        super().__init__(gym.spaces.Box(-np.inf, np.inf, [2 * ob_dim]), network, pdtype, np_random=np_random,
                         spec={'policy': policy, **policy_kwargs})
        ob_no = self.X # batch of observations
        oldac_na = tf.TensorSpec([None, ac_dim]) # batch of actions
        adv_n = tf.TensorSpec([None]) # advantage estimates
        self.wd_dict = weight_decay_dict(self.var_list)
        ac_dist = lambda ob_no, oldac_na: seen_by_critic(self.pd(ob_no), oldac_na, critic_sees)

        def kl(thold, ob_no, oldac_na):
            with self.at(thold):
                oldpd = self.pd(ob_no)
            return tf.reduce_mean(kl_terms(oldpd, self.pd(ob_no), oldac_na, kl_estimator))

        self.critic_sees = critic_sees
        self.dist_dim = ac_dist(tf.zeros([1, ob_dim*2]), tf.zeros([1, ac_dim])).shape[1]
        self.action_dist = U.function(ac_dist, ob_no, oldac_na)
        self.compute_kl = U.function(kl, tf.TensorSpec([sum(map(U.numel, self.var_list))]), ob_no, oldac_na)
        self.inputs = (ob_no, oldac_na, adv_n) # what an update is compiled for

    def losses(self, ob_no: tf.Tensor, oldac_na: tf.Tensor, adv_n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(loss of the policy gradient, the sampled loss of the Fisher matrix), for `KfacOptimizer.minimize`."""
        logprob_n = self.pd(ob_no).logp(oldac_na)
        surr = - tf.reduce_mean(adv_n * logprob_n)
        surr_sampled = - tf.reduce_mean(logprob_n)
        return surr, surr_sampled
