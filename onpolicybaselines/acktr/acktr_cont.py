"""ACKTR for continuous actions: the paper's (upstream acktr/acktr_cont.py of its branch old_acktr_cont).

Whole episodes are collected; K-FAC fits the critic to discounted returns and takes one policy step on their
advantages, its size adapted to a KL divergence between the old and the new policy.
"""
import os
import time
from collections.abc import Callable, Sequence
from typing import Literal

import gymnasium as gym
import numpy as np
from onpolicybaselines import logger
import onpolicybaselines.common as common
from onpolicybaselines.common import tf_util as U
from onpolicybaselines.acktr import kfac

from onpolicybaselines.acktr import cont_model
from onpolicybaselines.acktr.cont_model import Model, mean_over_ranks, scale_action
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common.checkpoint import Checkpoints
from onpolicybaselines.common.checks import check_finite
from onpolicybaselines.common.costs import check_batch, check_factors
from onpolicybaselines.common.keywords import Count, Fraction, Passes, Positive, Total, check_ranges
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.mpi_moments import mpi_moments
from onpolicybaselines.common.mpi_util import sync_from_root
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.common.reports import stops
from onpolicybaselines.common.rollouts import gather
from onpolicybaselines.common.vec_env import VecEnv


def pathlength(path: dict) -> int:
    """Number of steps."""
    return path["reward"].shape[0]

def rollout(env: VecEnv, act: Callable, max_pathlength: int, obfilter: Callable | None = None,
            bootstrap_truncated: bool = False) -> dict:
    """One episode of at most max_pathlength steps, L of them, as a dict.

    observation [L, 2 ob_dim]: filtered, and the one before (0 at first); action [L, A], unscaled; reward [L];
    terminated: whether nothing is to be expected after it; a time limit counts as an end, as it does upstream, unless
    `bootstrap_truncated`; ep_ret: its return, unscaled where a Monitor inside knows it.
    act: [1, 2 ob_dim] -> [1, A]. Raises FloatingPointError if an observation, action or reward is not finite.
    """
    ob = env.reset()[0]
    cont_model.check_step(-1, ob)
    prev_ob = np.float32(np.zeros(ob.shape))
    if obfilter: ob = obfilter(ob)
    terminated = False

    obs = []
    acs = []
    rewards = []
    for t in range(max_pathlength):
        state = np.concatenate([ob, prev_ob], -1)
        obs.append(state)
        ac = act(state[np.newaxis])[0]
        acs.append(ac)
        prev_ob = np.copy(ob)
        scaled_ac = scale_action(ac, env.action_space)
        ob, rew, done, info = cont_model.step_one(env, scaled_ac, t)
        if obfilter: ob = obfilter(ob)
        rewards.append(rew)
        if done:
            terminated = not (bootstrap_truncated and info.get('TimeLimit.truncated'))
            break
    path = {"observation" : np.array(obs), "terminated" : terminated,
            "reward" : np.array(rewards), "action" : np.array(acs)}
    check_finite('an episode', environments=False, observation=path["observation"], action=path["action"])
    return {**path, "ep_ret": info.get('episode', {}).get('r', path["reward"].sum())}

def compute_advantages(paths: Sequence[dict], vpreds: Sequence[np.ndarray], gamma: float,
                       lam: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(discounted returns, GAE(lam) advantages) of each path, whose steps have values `vpreds`.

    Beyond a path that is not `terminated` the value of its last step goes on, for the advantages only.
    """
    vtargs = []
    advs = []
    for path, vpred_t in zip(paths, vpreds, strict=True):
        rew_t = path["reward"]
        return_t = common.discount(rew_t, gamma)
        check_finite('an episode', environments=False, **{'return': return_t})
        vtargs.append(return_t)
        vpred_t = np.append(vpred_t, 0.0 if path["terminated"] else vpred_t[-1])
        delta_t = rew_t + gamma*vpred_t[1:] - vpred_t[:-1]
        adv_t = common.discount(delta_t, gamma * lam)
        advs.append(adv_t)
    return vtargs, advs

def adapt_stepsize(stepsize: float, kl: float, desired_kl: float) -> float:
    """The next step size, by the KL divergence of the last update; within [1e-8, 1]."""
    min_stepsize = 1e-8
    max_stepsize = 1e0
    if kl > desired_kl * 2:
        logger.log("kl too high")
        return max(min_stepsize, stepsize / 1.5)
    elif kl < desired_kl / 2:
        logger.log("kl too low")
        return min(max_stepsize, stepsize * 1.5)
    else:
        logger.log("kl just right!")
        return stepsize

def learn(*,
        env: gym.Env | gym.vector.VectorEnv | VecEnv,
        total_timesteps: Total,
        gamma: Fraction = 0.99,
        lam: Fraction = 0.97,
        timesteps_per_batch: Count = 2500,
        callback: Callable | None = None,
        desired_kl: Positive[float] = 0.002,
        seed: int | None = None,
        load_path: str | os.PathLike | None = None,
        policy: str | None = None,
        stepsize: Positive[float] = 0.03,
        kfac_update: Count = 2,
        epsilon: Positive[float] = 1e-2,
        stats_decay: Fraction = 0.99,
        cold_iter: Count = 1,
        vf_iters: Passes = 25,
        vf_stepsize: Positive[float] = 0.001,
        is_async: bool = False,
        std_fisher: Literal['batch', 'sample'] = 'batch',
        kl_estimator: Literal['k1', 'k3'] = 'k3',
        critic_sees: Literal['parameters', 'logp'] = 'parameters',
        bootstrap_truncated: bool = False,
        **policy_kwargs) -> Model:
    """Learn a policy with ACKTR; returns its `Model`.

    env                     a gymnasium environment, or a vector environment of one; observations are vectors, actions
                            a Box with bounds
    total_timesteps         environment steps to take, counted over all ranks; the last batch ends the run
    gamma                   discount
    lam                     lambda of GAE
    timesteps_per_batch     each rank plays episodes until it has taken more steps than that
    callback                called with (locals(), globals()) before every update and at the end;
                            training stops if it returns False; see common/callbacks.py
    desired_kl              KL(pi_old || pi) of an update to aim at: the step size is divided by 1.5 where it was twice
                            as large, and multiplied where it was half of it
    seed                    of parameters, action noise and the critic's; also of a plain gymnasium environment
    load_path               a model file to start from
    policy                  'gaussian', 'gmm' or 'flow', see common/distributions.py
    stepsize                first step size of the policy
    kfac_update             updates of the policy from one eigen-decomposition to the next
    epsilon                 damping of the policy's Fisher matrix
    stats_decay             weight of the past in the running averages of the policy's Fisher matrix
    cold_iter               updates of the policy before K-FAC begins
    vf_iters                updates of the critic on every batch
    vf_stepsize             step size of the critic
    is_async                upstream's keyword; K-FAC is synchronous
    std_fisher              Fisher matrix of standard deviations: 'batch' as upstream, 'sample' the natural gradient's
    kl_estimator            where the divergence has no closed form: 'k1', the mean of -log r, or 'k3', that of
                            (r - 1) - log r, with r = new / old probability
    critic_sees             what the critic is told of mixtures and flows: their 'parameters', or 'logp' of the action
    bootstrap_truncated     value what lies beyond a time limit; upstream takes a time limit for an end
    **policy_kwargs         keywords of the policy

    Raises UsageError, one line, for arguments that do not fit, FloatingPointError for an environment that returns NaN.
    """
    check_ranges(learn, locals())
    env, np_random = begin(env, seed)
    env = cont_model.single(env)
    check_batch(env, timesteps_per_batch)
    ob_dim = env.observation_space.shape[0]
    policy = MlpPolicy(ob_dim, env.action_space, policy, np_random, std_fisher, kl_estimator, critic_sees,
                       **policy_kwargs)
    vf = NeuralNetValueFunction(ob_dim, policy.dist_dim, np_random, vf_iters=vf_iters, stepsize=vf_stepsize)

    max_pathlength = getattr(env.spec, 'max_episode_steps', None) or timesteps_per_batch
    optim = kfac.KfacOptimizer(learning_rate=stepsize, cold_lr=stepsize*(1-0.9), momentum=0.9, kfac_update=kfac_update,
                                epsilon=epsilon, stats_decay=stats_decay, is_async=is_async, cold_iter=cold_iter,
                                weight_decay_dict=policy.wd_dict, max_grad_norm=None)
    do_update = optim.minimize(policy.losses, policy.var_list, *policy.inputs)
    get_flat = U.GetFlat(policy.var_list)

    model = Model(env.observation_space, env.action_space, policy, vf, optim)
    obfilter = model.obfilter
    if load_path is not None:
        model.load(load_path)
    check_factors([*policy.var_list, *vf.var_list])
    sync_from_root([*policy.var_list, *vf.var_list])

    i = 0
    timesteps_so_far = 0
    episodes_so_far = 0
    rewbuffer = []
    checkpoints = Checkpoints(env, None, callback, model=model)
    i, timesteps_so_far, episodes_so_far, rewbuffer, stepsize = checkpoints.resume(
        i, timesteps_so_far, episodes_so_far, rewbuffer, stepsize)
    tstart = time.time() - checkpoints.elapsed
    while True:
        if stops(callback, locals(), globals()): break
        if timesteps_so_far >= total_timesteps:
            break
        logger.log("********** Iteration %i ************"%i)

        # Collect paths until we have enough timesteps
        timesteps_this_batch = 0
        paths = []
        actor = policy.actor()
        while True:
            path = rollout(env, actor, max_pathlength, obfilter=obfilter, bootstrap_truncated=bootstrap_truncated)
            paths.append(path)
            n = pathlength(path)
            timesteps_this_batch += n
            if timesteps_this_batch > timesteps_per_batch:
                break
        obfilter.sync()
        cont_model.add_action_dists(paths, policy)

        # Estimate advantage function
        vtargs, advs = compute_advantages(paths, vf.predict(paths), gamma, lam)
        # Update value function
        vf.fit(paths, vtargs)

        # Build arrays for policy update
        ob_no = np.concatenate([path["observation"] for path in paths])
        action_na = np.concatenate([path["action"] for path in paths])
        adv_n = np.concatenate(advs)
        adv_mean, adv_std, _ = mpi_moments(adv_n)
        standardized_adv_n = (adv_n - adv_mean) / (adv_std + 1e-8)

        # Policy update
        thold = get_flat()
        do_update(ob_no, action_na, standardized_adv_n)

        # Adjust stepsize
        kl = mean_over_ranks(policy.compute_kl(thold, ob_no, action_na), len(ob_no))
        logger.record_tabular("stepsize", stepsize)
        stepsize = adapt_stepsize(stepsize, kl, desired_kl)
        optim.learning_rate, optim.cold_lr = stepsize, stepsize*(1-0.9)

        rews, lens = gather([path["ep_ret"] for path in paths], [pathlength(path) for path in paths])
        rewbuffer = rews
        timesteps_so_far += int(lens.sum())
        episodes_so_far += len(lens)
        logger.record_tabular("EpRewMean", np.mean(rews))
        logger.record_tabular("EpRewSEM", np.std(rews) / np.sqrt(len(rews)))
        logger.record_tabular("EpLenMean", np.mean(lens))
        logger.record_tabular("KL", kl)
        logger.record_tabular("EpisodesSoFar", episodes_so_far)
        logger.record_tabular("TimestepsSoFar", timesteps_so_far)
        logger.record_tabular("TimeElapsed", time.time() - tstart)
        if rank() == 0: logger.dump_tabular()
        i += 1
        checkpoints.after_update(i, timesteps_so_far, episodes_so_far, rewbuffer, stepsize)

    checkpoints.save()
    return model
