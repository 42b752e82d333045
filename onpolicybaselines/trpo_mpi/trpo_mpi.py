"""Trust Region Policy Optimization (Schulman et al. 2015), data-parallel over MPI ranks.

T: steps of a segment, N: environments of a rank, B = T * N: the rank's batch. `th` is the policy's flat parameter
vector; losses are functions of it, so the old policy is the same network at the old vector.
"""
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.common import dataset, discount_with_boundaries, explained_variance
from onpolicybaselines.common.cg import cg
from onpolicybaselines.common.distributions import entropy_of
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import Fraction, NonNegative, Positive, check_ranges
from onpolicybaselines.common.layers import released_moments
from onpolicybaselines.common.learning import begin, sf01
from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_moments import mpi_moments
from onpolicybaselines.common.mpi_util import allgather, allmean, check_synced, get_comm, rank as get_rank, size
from onpolicybaselines.common.policies import PolicyWithValue, batch_placeholders, build_policy
from onpolicybaselines.common.vec_env import VecEnv


def traj_segment_generator(pi: PolicyWithValue, env: VecEnv, horizon: int, stochastic: bool) -> Iterator[dict]:
    """Endless segments of `horizon` steps of every environment, as a dict of arrays [T, N, ...].

    ob, ac, rew; new: the step is the first of an episode; vpred: values of ob; nextvpred [N]: value of what follows
    the last step, 0 if an episode ended there; finalvpred: value of the last observation of an episode that a time
    limit cut at this step, else 0; prevac: the action before; ep_rets, ep_lens: returns and lengths of the episodes
    that ended.
    Raises FloatingPointError if an observation, action or reward is not finite.
    """
    # Initialize state variables
    ac = np.array([env.action_space.sample() for _ in range(env.num_envs)])
    ac_dtype = np.result_type(ac, pi.pdtype.sample_dtype().as_numpy_dtype) # actors give floats for Boxes of integers
    new = np.ones(env.num_envs, 'int32')
    ob = env.reset()

    cur_ep_ret = np.zeros(env.num_envs)
    cur_ep_len = np.zeros(env.num_envs, int)

    while True:
        actor = pi.actor(stochastic)
        # Initialize history arrays
        obs = np.empty((horizon + 1, *ob.shape), ob.dtype)
        rews = np.empty((horizon, env.num_envs))
        news = np.empty((horizon, env.num_envs), 'int32')
        acs = np.empty((horizon + 1, *ac.shape), ac_dtype) # the first is the last of the segment before
        acs[0] = ac
        noise = pi.noise(horizon * env.num_envs).reshape(horizon, env.num_envs, -1)
        ended = {}
        for i in range(horizon):
            obs[i] = ob
            news[i] = new
            acs[i+1] = ac = actor(ob, noise=noise[i])
            ob, rews[i], new, infos = env.step(ac)
            for n in new.nonzero()[0]:
                ended[i, n] = infos[n]
        obs[horizon] = ob

        seg = {"ob": obs[:-1], "rew": rews.astype('float32'), "new": news, "ac": acs[1:], "prevac": acs[:-1]}
        for name in ("ob", "ac", "rew"):
            if not np.isfinite(seg[name]).all():
                t, n = np.argwhere(~np.isfinite(seg[name]))[0][:2]
                raise FloatingPointError(f'{name} is not finite at step {t} of the segment, environment {n}: '
                                         f'{seg[name][t, n]}')

        seg["ep_rets"], seg["ep_lens"] = [], []
        # of the episode so far, before each step and after the last
        rets = np.cumsum(np.vstack([cur_ep_ret, rews]), axis=0)
        for (i, n), info in ended.items():
            # a Monitor inside knows the raw return, whatever scales the rewards further out
            seg["ep_rets"].append(info.get('episode', {}).get('r', rets[i+1, n]))
            seg["ep_lens"].append(int(cur_ep_len[n]) + i+1)
            rets[i+1:, n] -= rets[i+1, n]
            cur_ep_len[n] = -(i+1)
        cur_ep_ret = rets[-1]
        cur_ep_len += horizon

        vpred = pi.value(obs).reshape(horizon + 1, env.num_envs)
        seg["vpred"], seg["nextvpred"] = vpred[:-1], vpred[-1] * (1 - new)
        seg["finalvpred"] = np.zeros_like(seg["vpred"])
        cut = {at: info['terminal_observation'] for at, info in ended.items() if info.get('TimeLimit.truncated')}
        if cut:
            seg["finalvpred"][tuple(np.transpose(list(cut)))] = pi.value(np.array(list(cut.values())))
        yield seg

def add_vtarg_and_adv(seg: dict, gamma: float, lam: float, bootstrap_truncated: bool = False) -> None:
    """Add "adv", GAE(lam) advantages, and "tdlamret", TD(lam) returns, to a segment (Schulman et al. 2016).

    bootstrap_truncated: value what lies beyond a time limit by "finalvpred"; upstream takes it for an end.
    """
    new = np.append(seg["new"], np.zeros_like(seg["new"][:1]), axis=0) # nextvpred is 0 if an episode ended
    vpred = np.append(seg["vpred"], np.reshape(seg["nextvpred"], seg["vpred"][:1].shape), axis=0)
    rew = seg["rew"] + gamma * seg["finalvpred"] if bootstrap_truncated else seg["rew"]
    delta = rew + gamma * vpred[1:] * (1-new[1:]) - vpred[:-1]
    seg["adv"] = discount_with_boundaries(delta, seg["new"], gamma * lam).astype('float32')
    seg["tdlamret"] = seg["adv"] + seg["vpred"]

XLA_PAYS = 200 # updates: about what compiling a flow costs, over what it then saves per update

loss_names = ["optimgain", "meankl", "entloss", "surrgain", "entropy"]

@dataclass
class Functions:
    """The compiled functions of one policy; arguments named as in `make_functions`."""

    compute_losses: Callable
    compute_lossandgrad: Callable
    compute_fvp: Callable
    vflossandgrad: Callable # of tensors: compiled as a part of the fit

def make_functions(pi: PolicyWithValue, ent_coef: float = 0.0, fisher: str = 'hessian',
                   xla: bool = False) -> Functions:
    """The losses of TRPO, written once, and what is derived from them.

    th, thold: flat vectors of the new and the old policy; ob, ac, atarg: observations, actions, advantages [B, ...];
    noise: for the sampled entropy, [n * B, noise_size] (unused by families with a closed form).
    fisher: as in `learn`, or 'released': the Hessian as the paper's released code has it, with wrong second derivatives
    of layer normalisation. Losses are sums in float64: an improvement is a small difference of large means.
    """
    if fisher not in ('hessian', 'gauss_newton', 'released'):
        raise UsageError(f"fisher={fisher!r}: use 'hessian' or 'gauss_newton'")

    def pd_at(th, ob):
        with pi.at(th):
            return pi.pd(ob)

    def mean(x):
        return tf.reduce_mean(tf.cast(x, tf.float64))

    def entropy_at(pd, logp, ratio, noise):
        if ent_coef == 0 and not pd.has_analytic_entropy: # of the taken actions: nothing but a number to log
            return -ratio * logp
        return entropy_of(pd, noise)

    def losses_of(pd, logp, oldlogp, kl, atarg, noise):
        ratio = tf.exp(logp - oldlogp) # advantage * pnew / pold
        surrgain = mean(ratio * atarg)

        meanent = mean(entropy_at(pd, logp, ratio, noise))
        entbonus = ent_coef * meanent

        optimgain = surrgain + entbonus
        return [optimgain, mean(kl), entbonus, surrgain, meanent]

    def losses(th, thold, ob, ac, atarg, noise):
        pd, oldpd = pd_at(th, ob), pd_at(thold, ob)
        logp, oldlogp = pd.logp(ac), oldpd.logp(ac)
        return losses_of(pd, logp, oldlogp, oldpd.kl(pd) if pd.has_analytic_kl else oldlogp - logp, atarg, noise)

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
            gvp = tf.tensordot(inner.gradient(dist, th), flat_tangent, 1)
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

    fvp = {'hessian': hessian_fvp, 'gauss_newton': gauss_newton_fvp, 'released': released_fvp}[fisher]
    th = tf.TensorSpec([sum(map(U.numel, pi.var_list))], pi.var_list[0].dtype)
    ac, atarg, noise = batch_placeholders(pi)

    return Functions(
        compute_losses=U.function(losses, th, th, pi.X, ac, atarg, noise, xla=xla),
        compute_lossandgrad=U.function(lossandgrad, th, pi.X, ac, atarg, noise, xla=xla),
        compute_fvp=U.function(fvp, th, th, pi.X, ac, xla=xla),
        vflossandgrad=vflossandgrad)

def linesearch(losses_at: Callable, thbefore: np.ndarray, fullstep: np.ndarray, lossbefore: np.ndarray,
               expectedimprove: float, *, max_kl: float, kl_margin: float = 1.5, backtrack_iters: int = 10,
               backtrack_coeff: float = 0.5) -> tuple[np.ndarray, float, np.ndarray]:
    """Shorten `fullstep` until the surrogate does not fall and the KL divergence is at most `kl_margin * max_kl`.

    losses_at(th): the values of `loss_names` there; lossbefore: at thbefore. Returns (th, step size, losses at th);
    where no trial is acceptable these are (thbefore, 0, lossbefore).
    """
    stepsize = 1.0
    for _ in range(backtrack_iters):
        thnew = thbefore + fullstep * stepsize
        meanlosses = losses_at(thnew)
        surr, kl, *_ = meanlosses
        improve = surr - lossbefore[0]
        logger.log("Expected: %.3f Actual: %.3f"%(expectedimprove, improve))
        if not np.isfinite(meanlosses).all():
            logger.log("Got non-finite value of losses -- bad!")
        elif kl > max_kl * kl_margin:
            logger.log("violated KL constraint. shrinking step.")
        elif improve < 0:
            logger.log("surrogate didn't improve. shrinking step.")
        else:
            logger.log("Stepsize OK!")
            return thnew, stepsize, meanlosses
        stepsize *= backtrack_coeff
    logger.log("couldn't compute a good step")
    return thbefore, 0.0, lossbefore

def trust_region_step(functions: Functions, thbefore: np.ndarray, args: Sequence[np.ndarray], noise: np.ndarray, *,
                      max_kl: float, cg_iters: int, cg_damping: float, fvp_subsample: int = 5, **linesearch_kwargs
                      ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """One policy update from the batch args = (ob, ac, atarg), all averages taken over the ranks.

    Returns (th, losses at th, diagnostics): "stepsize" accepted by the line search, 0 if th is thbefore;
    "neg_curvature": 1 if the step was given up because the (sampled) curvature along it is not positive;
    "cg_residual": squared norm of what conjugate gradient left of the gradient.
    """
    fvpargs = [arr[::fvp_subsample] for arr in args[:2]]
    info = {"stepsize": 0.0, "neg_curvature": 0, "cg_residual": np.nan}

    def fisher_vector_product(p):
        return allmean(functions.compute_fvp(p, thbefore, *fvpargs)) + cg_damping * p

    def losses_at(th):
        return allmean(np.array(functions.compute_losses(th, thbefore, *args, noise)))

    lossbefore, g = functions.compute_lossandgrad(thbefore, *args, noise)
    lossbefore = allmean(np.array(lossbefore))
    g = allmean(g)
    if np.allclose(g, 0):
        logger.log("Got zero gradient. not updating")
        return thbefore, lossbefore, info
    stepdir = cg(fisher_vector_product, g, cg_iters=cg_iters)
    fvp = fisher_vector_product(stepdir)
    info["cg_residual"] = float(np.square(g - fvp).sum())
    shs = .5*stepdir.dot(fvp)
    if not (np.isfinite(shs) and shs > 0):
        logger.log("Got non-positive curvature (shs = %.3g). not updating"%shs)
        info["neg_curvature"] = 1
        return thbefore, lossbefore, info
    lm = float(np.sqrt(shs / max_kl))
    fullstep = stepdir / lm
    expectedimprove = g.dot(fullstep)
    th, info["stepsize"], meanlosses = linesearch(losses_at, thbefore, fullstep, lossbefore, expectedimprove,
                                                  max_kl=max_kl, **linesearch_kwargs)
    return th, meanlosses, info

def learn(*,
        network: str | Callable,
        env: gym.Env | gym.vector.VectorEnv | VecEnv,
        total_timesteps: NonNegative[int],
        timesteps_per_batch: Positive[int] = 1024, # what to train on
        max_kl: Positive[float] = 0.001,
        cg_iters: Positive[int] = 10,
        gamma: Fraction = 0.99,
        lam: Fraction = 1.0, # advantage estimation
        seed: int | None = None,
        ent_coef: float = 0.0,
        cg_damping: NonNegative[float] = 1e-2,
        vf_stepsize: NonNegative[float] = 3e-4,
        vf_iters: NonNegative[int] = 3,
        max_episodes: NonNegative[int] = 0, max_iters: NonNegative[int] = 0,  # time constraint
        callback: Callable | None = None,
        load_path: str | None = None,
        policy: str | None = None,
        value_network: str | Callable = 'copy',
        normalize_observations: bool = False,
        filter_update: Literal['before', 'after'] = 'before',
        fisher: Literal['hessian', 'gauss_newton'] | None = None,
        fvp_subsample: Positive[int] = 5,
        kl_margin: Positive[float] = 1.5,
        backtrack_iters: Positive[int] = 10,
        backtrack_coeff: Fraction = 0.5,
        vf_batchsize: Positive[int] = 64,
        ent_samples: Positive[int] = 10,
        bootstrap_truncated: bool = False,
        ep_window: Positive[int] = 40,
        check_every: Positive[int] = 20,
        xla: bool | None = None,
        **network_kwargs
        ) -> PolicyWithValue:
    '''
    Learn a policy with TRPO; returns it.

    network                 name of a registered network (see common/models.py), or a function of encoded observations
    env                     a gymnasium environment or vector environment, or a VecEnv
    total_timesteps         environment steps to take, counted over all ranks and environments
    timesteps_per_batch     steps per policy update and rank, over all its environments
    max_kl                  largest KL(pi_old || pi) of one update
    cg_iters, cg_damping    iterations of conjugate gradient; multiple of the identity added to the Fisher matrix
    gamma, lam              discount; lambda of GAE
    seed                    of parameters, action noise and minibatches; also of a plain gymnasium environment
    ent_coef                weight of the entropy in the objective
    vf_stepsize, vf_iters   Adam's step size for the value function; passes over the batch per update
    vf_batchsize            minibatch of those passes (a last, smaller one is left out)
    max_episodes, max_iters stop after so many episodes or updates instead of total_timesteps
    callback                called with (locals(), globals()) before every update and at the end
    load_path               a model file to start from
    policy                  'gaussian', 'gmm' or 'flow' for continuous actions, see common/distributions.py
    value_network           'copy' (the network again, with its own variables), 'shared', or a function
    normalize_observations  filter observations by their running mean and standard deviation, clipped to [-5, 5]
    filter_update           when the filter takes in a batch: 'before' the update from it, as upstream, or 'after', so
                            that the policy updated is the one that acted
    fisher                  'hessian' of the KL divergence (sampled where it has no closed form), or 'gauss_newton':
                            mean of s s' with s the score of the taken actions, positive semi-definite by construction;
                            None: the Hessian of a closed form, else (mixtures, flows) Gauss-Newton
    fvp_subsample           every how many-th step enters the Fisher-vector products
    kl_margin, backtrack_iters, backtrack_coeff     line search: accepts up to kl_margin * max_kl; trials; shrinkage
    ent_samples             actions per state in a sampled entropy (if ent_coef is 0, that of the batch is logged)
    bootstrap_truncated     value what lies beyond a time limit; upstream takes a time limit for an end
    ep_window               episodes that EpRewMean and EpLenMean average over
    check_every             updates between checks that all ranks hold the same parameters
    xla                     compile the updates by XLA: a longer start (20 s for a flow, once on a machine), faster
                            updates; None does so for runs of at least 200 updates
    **network_kwargs        keywords of the network's builder and of the policy

    Raises UsageError, one line, for arguments that do not fit, FloatingPointError for an environment that
    returns NaN.
    '''
    rank, nworkers = get_rank(), size()
    check_ranges(learn, locals())
    env, np_random = begin(env, seed)
    if timesteps_per_batch % env.num_envs:
        raise UsageError(f'timesteps_per_batch={timesteps_per_batch} must be a multiple of the number of '
                         f'environments, {env.num_envs}')
    if filter_update not in ('before', 'after'):
        raise UsageError(f"filter_update={filter_update!r}: use 'before' or 'after'")
    policy = build_policy(env, network, value_network=value_network, normalize_observations=normalize_observations,
                          policy=policy, **network_kwargs)

    # Setup losses and stuff
    # ----------------------------------------
    pi = policy(np_random)
    if pi.recurrent:
        raise UsageError(f'trpo_mpi takes feed-forward networks only, such as mlp or cnn, not {network!r}')
    if xla is None:
        xla = max(max_iters, total_timesteps // (nworkers * timesteps_per_batch)) >= XLA_PAYS
    if fisher is None:
        fisher = 'hessian' if pi.pdtype.pdclass().has_analytic_kl else 'gauss_newton'
    logger.log(f"fisher={fisher}, xla={xla}")
    functions = make_functions(pi, ent_coef, fisher, xla)

    vfadam = MpiAdam(pi.vf_var_list)
    fit_vf = vfadam.minimize(functions.vflossandgrad, pi.X, tf.TensorSpec([None], pi.vf_var_list[0].dtype), xla=xla)

    get_flat = U.GetFlat(pi.var_list)
    set_from_flat = U.SetFromFlat(pi.var_list)

    if load_path is not None:
        pi.load(load_path)

    th_init = get_flat()
    if get_comm() is not None:
        get_comm().Bcast(th_init, root=0)

    set_from_flat(th_init)
    vfadam.sync()

    # Prepare for rollouts
    # ----------------------------------------
    episodes_so_far = 0
    timesteps_so_far = 0
    iters_so_far = 0
    neg_curvature = 0
    tstart = time.time()
    lenbuffer = deque(maxlen=ep_window) # rolling buffer for episode lengths
    rewbuffer = deque(maxlen=ep_window) # rolling buffer for episode rewards

    if sum([max_iters>0, total_timesteps>0, max_episodes>0])==0:
        # nothing to be done
        return pi

    if sum([max_iters>0, total_timesteps>0, max_episodes>0]) > 1:
        raise UsageError('give only one of total_timesteps, max_episodes and max_iters; set the others to 0')

    seg_gen = traj_segment_generator(pi, env, timesteps_per_batch // env.num_envs, stochastic=True)

    while True:
        if callback: callback(locals(), globals())
        if total_timesteps and timesteps_so_far >= total_timesteps:
            break
        elif max_episodes and episodes_so_far >= max_episodes:
            break
        elif max_iters and iters_so_far >= max_iters:
            break
        logger.log("********** Iteration %i ************"%iters_so_far)

        seg = seg_gen.__next__()
        add_vtarg_and_adv(seg, gamma, lam, bootstrap_truncated)

        ob, ac, atarg, tdlamret, vpredbefore = (sf01(seg[k]) for k in ("ob", "ac", "adv", "tdlamret", "vpred"))
        mean, std, _ = mpi_moments(atarg)
        atarg = (atarg - mean) / (std or 1.) # standardized advantage function estimate

        if hasattr(pi, "ob_rms") and filter_update == 'before': pi.ob_rms.update(ob) # running mean/std for policy

        noise = pi.pdtype.noise(np_random, len(ob) * ent_samples if ent_coef else 0)
        th = get_flat()
        if iters_so_far == 0: # compile them now: the first line search may come late
            functions.compute_losses(th, th, ob, ac, atarg, noise)
        thnew, meanlosses, info = trust_region_step(
            functions, th, (ob, ac, atarg), noise, max_kl=max_kl, cg_iters=cg_iters, cg_damping=cg_damping,
            fvp_subsample=fvp_subsample, kl_margin=kl_margin, backtrack_iters=backtrack_iters,
            backtrack_coeff=backtrack_coeff)
        set_from_flat(thnew)
        neg_curvature += info["neg_curvature"]
        if iters_so_far % check_every == 0:
            check_synced(thnew, 'policy')

        for (lossname, lossval) in zip(loss_names, meanlosses, strict=True):
            logger.record_tabular(lossname, lossval)

        minibatches = [inds for _ in range(vf_iters)
                       for (inds,) in dataset.iterbatches((np.arange(len(ob)),), include_final_partial_batch=False,
                                                          batch_size=min(vf_batchsize, len(ob)), np_random=np_random)]
        fit_vf((ob, tdlamret), minibatches, vf_stepsize)
        if hasattr(pi, "ob_rms") and filter_update == 'after': pi.ob_rms.update(ob)

        logger.record_tabular("ev_tdlam_before", explained_variance(vpredbefore, tdlamret))

        lrlocal = (seg["ep_lens"], seg["ep_rets"]) # local values
        lens, rews = map(flatten_lists, zip(*allgather(lrlocal), strict=True))
        lenbuffer.extend(lens)
        rewbuffer.extend(rews)

        logger.record_tabular("EpLenMean", np.mean(lenbuffer) if lenbuffer else np.nan)
        logger.record_tabular("EpRewMean", np.mean(rewbuffer) if rewbuffer else np.nan)
        logger.record_tabular("EpThisIter", len(lens))
        episodes_so_far += len(lens)
        timesteps_so_far += nworkers * timesteps_per_batch
        iters_so_far += 1

        logger.record_tabular("EpisodesSoFar", episodes_so_far)
        logger.record_tabular("TimestepsSoFar", timesteps_so_far)
        logger.record_tabular("TimeElapsed", time.time() - tstart)
        logger.record_tabular("stepsize", info["stepsize"])
        logger.record_tabular("neg_curvature", neg_curvature)
        logger.record_tabular("cg_residual", info["cg_residual"])

        if rank==0:
            logger.dump_tabular()

    return pi

def flatten_lists(listoflists: Sequence[Sequence]) -> list:
    """The elements of all lists, in order."""
    return [el for list_ in listoflists for el in list_]
