"""The losses of TRPO, written once, and the compiled functions of flat vectors that are derived from them.

`th` is the policy's flat parameter vector; losses are functions of it, so the old policy is the same network at the old
vector.
"""
from collections.abc import Callable, Collection
from typing import NamedTuple

import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.common.checkpoint import settled
from onpolicybaselines.common.compiled import Compiled
from onpolicybaselines.common.cores import sees_images
from onpolicybaselines.common.keywords import check_choice
from onpolicybaselines.common.layers import released_moments
from onpolicybaselines.common.policies import PolicyWithValue
from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.sampling import entropy_of
from onpolicybaselines.trpo_mpi.by_hand import GaussianFisher, gaussian_fisher

# what XLA may compile, and after how many updates that pays: seconds to compile over what is then saved per update
# (measured of a flow, a mixture of five, a Gaussian: fit 160; fvp 240, 420, 640; losses 470, 1000, 1400; gradient 1400,
# 12000, 2300)
XLA_PAYS = {'fit': 200, 'fvp': 300, 'losses': 1000, 'gradient': 2000}

loss_names = ["optimgain", "meankl", "entloss", "surrgain", "entropy"]


class Functions(NamedTuple):
    """The compiled functions of one policy; arguments named as in `make_functions`."""

    compute_losses: Callable
    compute_lossandgrad: Callable
    compute_fvp: Compiled | GaussianFisher
    compute_vflossandgrad: Callable # of tensors: compiled as a part of the fit


def make_functions(pi: PolicyWithValue, ent_coef: float = 0.0, fisher: str = 'hessian',
                   xla: Collection[str] = (), by_hand: bool = True) -> Functions:
    """The losses and what is derived from them.

    th, thold: flat vectors of the new and the old policy; ob, ac, atarg: observations, actions, advantages [B, ...];
    noise: for the sampled entropy, [n * B, noise_size] (unused by families with a closed form).
    fisher: as in `learn`, or 'released': the Hessian as the paper's released code has it, with wrong second derivatives
    of layer normalisation. Losses are sums in float64: an improvement is a small difference of large means.
    xla: names from XLA_PAYS, of what XLA compiles. by_hand: Hessians of Gaussians without TensorFlow, where there is
    `gaussian_fisher`.
    """
    if fisher != 'released':
        check_choice('fisher', fisher, ('hessian', 'gauss_newton'))

    def pd_at(th, ob):
        with pi.at(th):
            return pi.pd(ob)

    def mean(x):
        return tf.reduce_mean(tf.cast(x, tf.float64))

    def entropy_at(pd, logp, ratio, noise):
        if ent_coef == 0 and not pd.has_analytic_entropy: # of the taken actions: nothing but a number to log
            return -ratio * logp
        return entropy_of(pd, noise)

    def losses_of(pd, logp, oldlogp, kloldnew, atarg, noise):
        ratio = tf.exp(logp - oldlogp) # advantage * pnew / pold
        surrgain = mean(ratio * atarg)

        meanent = mean(entropy_at(pd, logp, ratio, noise))
        entbonus = ent_coef * meanent

        optimgain = surrgain + entbonus
        return [optimgain, mean(kloldnew), entbonus, surrgain, meanent]

    def losses(th, thold, ob, ac, atarg, noise):
        pd, oldpd = pd_at(th, ob), pd_at(thold, ob)
        logp, oldlogp = pd.logp(ac), oldpd.logp(ac)
        kloldnew = oldpd.kl(pd) if pd.has_analytic_kl else oldlogp - logp
        return losses_of(pd, logp, oldlogp, kloldnew, atarg, noise)

    def lossandgrad(th, ob, ac, atarg, noise):
        # at the old policy itself
        with tf.GradientTape() as tape:
            tape.watch(th)
            pd = pd_at(th, ob)
            logp = pd.logp(ac)
            lossvals = losses_of(pd, logp, tf.stop_gradient(logp), tf.zeros_like(logp), atarg, noise)
        return lossvals, tape.gradient(lossvals[0], th)

    def hessian_fvp(flat_tangent, th, ob, ac):
        with tf.GradientTape() as outer:
            outer.watch(th)
            with tf.GradientTape() as inner:
                inner.watch(th)
                pd = pd_at(th, ob)
                oldpd = pd.at(tf.stop_gradient(pd.flatparam()))
                # the old policy is constant, so of a sampled divergence log pi(a|s) alone has derivatives
                dist = mean(oldpd.kl(pd) if pd.has_analytic_kl else -pd.logp(ac))
            klgrads = inner.gradient(dist, th)
            gvp = tf.tensordot(klgrads, flat_tangent, 1)
        return outer.gradient(gvp, th)

    def released_fvp(*args):
        with released_moments():
            return hessian_fvp(*args)

    def gauss_newton_fvp(flat_tangent, th, ob, ac):
        # mean of s (s . v) with s = grad log pi(a|s): J'(J v) / B by a forward product (itself two reverse ones) and a
        # reverse one; positive semi-definite whatever the policy
        weights = tf.ones(tf.shape(ac)[:1], th.dtype)
        with tf.GradientTape() as linear:
            linear.watch(weights)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(th)
                logp = pd_at(th, ob).logp(ac)
            gvp = tf.tensordot(tape.gradient(logp, th, output_gradients=weights), flat_tangent, 1)
        jvp = linear.gradient(gvp, weights)
        return tape.gradient(logp, th, output_gradients=jvp / tf.cast(tf.size(jvp), jvp.dtype))

    def vflossandgrad(thvf, ob, ret):
        with tf.GradientTape() as tape:
            tape.watch(thvf)
            with pi.at(thvf, pi.vf_var_list):
                vferr = tf.reduce_mean(tf.square(pi.vf(ob) - ret))
        return tape.gradient(vferr, thvf)

    gaussian = gaussian_fisher(pi) if by_hand and fisher == 'hessian' else None
    fvp = {'hessian': hessian_fvp, 'gauss_newton': gauss_newton_fvp, 'released': released_fvp}[fisher]
    th = tf.TensorSpec([sum(map(U.numel, pi.var_list))], pi.var_list[0].dtype)
    ac, atarg, noise = batch_placeholders(pi)

    return Functions(
        compute_losses=U.function(losses, th, th, pi.X, ac, atarg, noise, xla='losses' in xla),
        compute_lossandgrad=U.function(lossandgrad, th, pi.X, ac, atarg, noise, xla='gradient' in xla),
        compute_fvp=gaussian or U.function(fvp, th, th, pi.X, ac, xla='fvp' in xla),
        compute_vflossandgrad=vflossandgrad)


def choose(pi: PolicyWithValue, fisher: str | None, xla: bool | None, updates: int) -> tuple[str, list[str]]:
    """(fisher with what None stands for, names of what XLA compiles): see `learn`; updates: at least how many the run
    will make."""
    if fisher is None:
        fisher = 'hessian' if pi.pdtype.pdclass().has_analytic_kl else 'gauss_newton'
    pays = 0 if xla is None and sees_images(pi.ob_space) else updates # its convolutions are slower than TensorFlow's
    compiled = settled('xla', [name for name, least in XLA_PAYS.items() if (pays >= least if xla is None else xla)])
    logger.log(f"fisher={fisher}, xla={', '.join(compiled) or False}")
    return fisher, compiled
