"""Trust Region Policy Optimization (Schulman et al. 2015), data-parallel over MPI ranks.

T: steps of a segment, N: environments of a rank, B = T * N: the rank's batch. The losses are in losses.py, the update
of the policy in trust_region.py, the making of segments in segments.py.
"""
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import gymnasium as gym
import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.common import dataset, discount_with_boundaries, explained_variance
from onpolicybaselines.common.checkpoint import Checkpoints
from onpolicybaselines.common.checks import check_finite, check_one_limit
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.costs import check_batch
from onpolicybaselines.common.keywords import (
    Count,
    Finite,
    Fraction,
    NonNegative,
    Passes,
    Positive,
    Repeats,
    Total,
    check_ranges,
)
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.math_util import safemean
from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_fit import minimize
from onpolicybaselines.common.mpi_moments import mpi_moments
from onpolicybaselines.common.mpi_world import allgather_arrays, check_synced, get_comm, rank as get_rank, size
from onpolicybaselines.common.policies import PolicyWithValue, build_policy
from onpolicybaselines.common.reports import stops
from onpolicybaselines.common.timing import timed
from onpolicybaselines.common.vec_env import VecEnv
from onpolicybaselines.trpo_mpi.losses import choose, loss_names, make_functions
from onpolicybaselines.trpo_mpi.segments import Segments, flatten
from onpolicybaselines.trpo_mpi.trust_region import trust_region_step


def traj_segment_generator(pi: PolicyWithValue, env: VecEnv, horizon: int, stochastic: bool) -> Segments:
    """Endless segments of `horizon` steps, over all environments together; an iterator that has a state."""
    return Segments(pi, env, horizon, stochastic)

def add_vtarg_and_adv(seg: dict, gamma: float, lam: float, bootstrap_truncated: bool = False) -> None:
    """Add "adv", GAE(lam) advantages, and "tdlamret", TD(lam) returns, to a segment (Schulman et al. 2016).

    bootstrap_truncated: value what lies beyond a time limit by "finalvpred"; upstream takes it for an end.
    """
    new = np.append(seg["new"], np.zeros_like(seg["new"][:1]), axis=0) # nextvpred is 0 if an episode ended
    vpred = np.append(seg["vpred"], np.reshape(seg["nextvpred"], seg["vpred"][:1].shape), axis=0)
    rew = seg["rew"] + gamma * seg["finalvpred"] if bootstrap_truncated else seg["rew"]
    delta = rew + gamma * vpred[1:] * (1-new[1:]) - vpred[:-1]
    adv = discount_with_boundaries(delta, seg["new"], gamma * lam)
    check_finite('the segment', adv=adv)
    seg["adv"] = adv.astype('float32')
    seg["tdlamret"] = seg["adv"] + seg["vpred"]

def learn(*,
        network: str | Callable,
        env: gym.Env | gym.vector.VectorEnv | VecEnv,
        total_timesteps: Total,
        timesteps_per_batch: Count = 1024, # what to train on
        max_kl: Positive[float] = 0.001,
        cg_iters: Repeats = 10,
        gamma: Fraction = 0.99,
        lam: Fraction = 1.0, # advantage estimation
        seed: int | None = None,
        ent_coef: Finite[float] = 0.0,
        cg_damping: NonNegative[float] = 1e-2,
        vf_stepsize: NonNegative[float] = 3e-4,
        vf_iters: Passes = 3,
        max_episodes: Total = 0, max_iters: Total = 0,  # time constraint
        callback: Callable | None = None,
        load_path: str | os.PathLike | None = None,
        policy: str | None = None,
        value_network: Literal['copy', 'shared'] | Callable | None = 'copy',
        normalize_observations: bool = False,
        filter_update: Literal['before', 'after'] = 'before',
        fisher: Literal['hessian', 'gauss_newton'] | None = None,
        fvp_subsample: Count = 5,
        kl_margin: Positive[float] = 1.5,
        backtrack_iters: Repeats = 10,
        backtrack_coeff: Fraction = 0.5,
        vf_batchsize: Count = 64,
        ent_samples: Repeats = 10,
        bootstrap_truncated: bool = False,
        ep_window: Count = 40,
        check_every: Count = 20,
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
    cg_iters                iterations of conjugate gradient
    gamma                   discount
    lam                     lambda of GAE
    seed                    of parameters, action noise and minibatches; also of a plain gymnasium environment
    ent_coef                weight of the entropy in the objective
    cg_damping              multiple of the identity added to the Fisher matrix
    vf_stepsize             Adam's step size for the value function
    vf_iters                passes over the batch per update of the value function
    max_episodes            stop after so many episodes instead of total_timesteps
    max_iters               stop after so many updates instead of total_timesteps
    callback                called with (locals(), globals()) before every update and at the end;
                            training stops if it returns False; see common/callbacks.py
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
    kl_margin               line search: accepts up to kl_margin * max_kl
    backtrack_iters         line search: trials
    backtrack_coeff         line search: shrinkage
    vf_batchsize            minibatch of the passes over the batch (a last, smaller one is left out)
    ent_samples             actions per state in a sampled entropy (if ent_coef is 0, that of the batch is logged)
    bootstrap_truncated     value what lies beyond a time limit; upstream takes a time limit for an end
    ep_window               episodes that EpRewMean and EpLenMean average over
    check_every             updates between checks that all ranks hold the same parameters
    xla                     compile the updates by XLA: a longer start (20 s for a flow, once on a machine), faster
                            updates; None compiles each part of them where the run is long enough for it to pay: from
                            200 updates on the fit, from 300 the Fisher products, 1000 the losses, 2000 the gradient;
                            of policies of images nothing
    **network_kwargs        keywords of the network's builder and of the policy

    Raises UsageError, one line, for arguments that do not fit, FloatingPointError for an environment that
    returns NaN.
    '''

    nworkers = size()
    rank = get_rank()

    check_ranges(learn, locals())
    env, np_random = begin(env, seed)
    check_batch(env, timesteps_per_batch)

    policy = build_policy(env, network, value_network=value_network, normalize_observations=normalize_observations,
                          policy=policy, **network_kwargs)

    # Setup losses and stuff
    # ----------------------------------------
    pi = policy(np_random)
    if pi.recurrent:
        raise UsageError(f'trpo_mpi takes feed-forward networks only, such as mlp or cnn, not {network!r}')

    ret = tf.TensorSpec([None], pi.vf_var_list[0].dtype) # Empirical return

    var_list = pi.var_list
    vf_var_list = pi.vf_var_list

    vfadam = MpiAdam(vf_var_list)

    get_flat = U.GetFlat(var_list)
    set_from_flat = U.SetFromFlat(var_list)

    fisher, xla = choose(pi, fisher, xla, updates=max(max_iters, total_timesteps // (nworkers * timesteps_per_batch)))
    functions = make_functions(pi, ent_coef, fisher, xla)
    fit_vf = minimize(vfadam, functions.compute_vflossandgrad, pi.X, ret, xla='fit' in xla)

    if load_path is not None:
        pi.load(load_path)

    th_init = get_flat()
    if get_comm() is not None:
        get_comm().Bcast(th_init, root=0)

    set_from_flat(th_init)
    vfadam.sync()

    # Prepare for rollouts
    # ----------------------------------------
    seg_gen = traj_segment_generator(pi, env, timesteps_per_batch, stochastic=True)

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

    check_one_limit(total_timesteps=total_timesteps, max_episodes=max_episodes, max_iters=max_iters)

    checkpoints = Checkpoints(env, seg_gen, callback, pi=pi, vfadam=vfadam, lenbuffer=lenbuffer, rewbuffer=rewbuffer)
    episodes_so_far, timesteps_so_far, iters_so_far, neg_curvature = checkpoints.resume(
        episodes_so_far, timesteps_so_far, iters_so_far, neg_curvature)
    tstart -= checkpoints.elapsed

    while True:
        if stops(callback, locals(), globals()): break
        if total_timesteps and timesteps_so_far >= total_timesteps:
            break
        elif max_episodes and episodes_so_far >= max_episodes:
            break
        elif max_iters and iters_so_far >= max_iters:
            break
        logger.log("********** Iteration %i ************"%iters_so_far)

        with timed("sampling"):
            seg = seg_gen.__next__()
        add_vtarg_and_adv(seg, gamma, lam, bootstrap_truncated)
        flatten(seg)

        ob, ac, atarg, tdlamret = seg["ob"], seg["ac"], seg["adv"], seg["tdlamret"]
        vpredbefore = seg["vpred"] # predicted value function before update
        mean, std, _ = mpi_moments(atarg)
        atarg = (atarg - mean) / (std or 1.) # standardized advantage function estimate

        if hasattr(pi, "ob_rms") and filter_update == 'before': pi.ob_rms.update(ob) # running mean/std for policy

        args = seg["ob"], seg["ac"], atarg
        noise = pi.pdtype.noise(np_random, len(ob) * ent_samples if ent_coef else 0)

        thbefore = get_flat()
        thnew, meanlosses, info = trust_region_step(
            functions, thbefore, args, noise, max_kl=max_kl, cg_iters=cg_iters, cg_damping=cg_damping,
            fvp_subsample=fvp_subsample, kl_margin=kl_margin, backtrack_iters=backtrack_iters,
            backtrack_coeff=backtrack_coeff)
        set_from_flat(thnew)
        neg_curvature += info["neg_curvature"]
        if iters_so_far % check_every == 0:
            check_synced(thnew, 'policy')

        for (lossname, lossval) in zip(loss_names, meanlosses, strict=True):
            logger.record_tabular(lossname, lossval)

        with timed("vf"):

            minibatches = []
            for _ in range(vf_iters):
                for (inds,) in dataset.iterbatches((np.arange(len(ob)),),
                include_final_partial_batch=False, batch_size=min(vf_batchsize, len(ob)), np_random=np_random):
                    minibatches.append(inds)
            fit_vf((seg["ob"], seg["tdlamret"]), minibatches, vf_stepsize)

        if hasattr(pi, "ob_rms") and filter_update == 'after': pi.ob_rms.update(ob)

        logger.record_tabular("ev_tdlam_before", explained_variance(vpredbefore, tdlamret))

        lrlocal = (seg["ep_lens"], seg["ep_rets"]) # local values
        listoflrpairs = allgather_arrays(lrlocal) # list of tuples

        lens, rews = map(flatten_lists, zip(*listoflrpairs, strict=True))
        lenbuffer.extend(lens)
        rewbuffer.extend(rews)

        logger.record_tabular("EpLenMean", safemean(lenbuffer))
        logger.record_tabular("EpRewMean", safemean(rewbuffer))
        logger.record_tabular("EpThisIter", len(lens))
        episodes_so_far += len(lens)
        timesteps_so_far += nworkers * timesteps_per_batch
        iters_so_far += 1

        logger.record_tabular("EpisodesSoFar", episodes_so_far)
        logger.record_tabular("TimestepsSoFar", timesteps_so_far)
        logger.record_tabular("TimeElapsed", time.time() - tstart)
        logger.logkvs({**info, "neg_curvature": neg_curvature})

        if rank==0:
            logger.dump_tabular()
        checkpoints.after_update(episodes_so_far, timesteps_so_far, iters_so_far, neg_curvature)

    checkpoints.save()
    return pi

def flatten_lists(listoflists: Sequence[Sequence]) -> list:
    """The elements of all lists, in order."""
    return [el for list_ in listoflists for el in list_]
