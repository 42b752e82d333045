"""Proximal Policy Optimization with clipping (Schulman et al. 2017), data-parallel over MPI ranks.

Upstream ppo2/ppo2.py. Losses and update are in model.py, the making of batches in runner.py.
"""
import os
import time
import numpy as np
import os.path as osp
from onpolicybaselines import logger
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym

from onpolicybaselines.a2c.utils import schedules
from onpolicybaselines.common import explained_variance
from onpolicybaselines.common.checkpoint import Checkpoints, settled
from onpolicybaselines.common.checks import check_minibatches
from onpolicybaselines.common.costs import check_batch
from onpolicybaselines.common.keywords import Count, Fraction, NonNegative, Positive, Repeats, Total, check_ranges
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.math_util import safemean
from onpolicybaselines.common.mpi_world import allmean, rank, size
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.reports import call_back, number_of_updates
from onpolicybaselines.common.rollouts import gather, gather_episodes
from onpolicybaselines.common.vec_env import VecEnv, as_vec_env
from onpolicybaselines.ppo2.runner import Runner


def constfn(val: float, schedule: str = 'constant') -> Callable[[float], float]:
    """The function of the fraction of a run that remains which is `val` times a schedule of a2c/utils.py."""
    def f(frac):
        return val*schedules[schedule](1 - frac)
    return f

def learn(*, network: str | Callable, env: gym.Env | gym.vector.VectorEnv | VecEnv, total_timesteps: Total,
            eval_env: gym.Env | gym.vector.VectorEnv | VecEnv | None = None, seed: int | None = None,
            nsteps: Count = 2048, ent_coef: NonNegative[float] = 0.0, lr: Positive[float] | Callable = 3e-4,
            vf_coef: NonNegative[float] = 0.5, max_grad_norm: Positive[float] | None = 0.5, gamma: Fraction = 0.99,
            lam: Fraction = 0.95,
            log_interval: Count = 10, nminibatches: Count = 4, noptepochs: Repeats = 4,
            cliprange: Positive[float] | Callable = 0.2,
            save_interval: NonNegative[int] = 0, load_path: str | os.PathLike | None = None,
            model_fn: Callable | None = None, update_fn: Callable | None = None, init_fn: Callable | None = None,
            mpi_rank_weight: NonNegative[float] = 1, comm: Any = None,
            policy: str | None = None, value_network: Literal['copy', 'shared'] | Callable | None = None,
            normalize_observations: bool = False, bootstrap_truncated: bool = False, ent_samples: Repeats = 10,
            lrschedule: Literal[tuple(schedules)] = 'constant',  # type: ignore[valid-type]
            clipschedule: Literal[tuple(schedules)] = 'constant',  # type: ignore[valid-type]
            xla: bool | None = None, callback: Callable | None = None, **network_kwargs) -> Any:
    '''
    Learn a policy with PPO; returns its Model.

    network                 name of a registered network (see common/models.py), or a function of encoded observations
    env                     a gymnasium environment or vector environment, or a VecEnv
    total_timesteps         environment steps to take, counted over all ranks and environments; a last, smaller batch is
                            left out
    eval_env                another one, in which each policy takes nsteps steps that it does not learn from; the log
                            has their episodes as eval_eprewmean and eval_eplenmean
    seed                    of parameters, action noise and minibatches; also of a plain gymnasium environment
    nsteps                  steps of every environment per update: a batch is nsteps * number of environments, per rank
    ent_coef                weight of the entropy
    lr                      step size of Adam; or a function of the fraction of the run that remains, from 1 to 0
    vf_coef                 weight of the value function's loss
    max_grad_norm           the gradient of a minibatch is scaled down to this norm; None: never
    gamma                   discount
    lam                     lambda of GAE
    log_interval            updates between lines of the log
    nminibatches            minibatches of an epoch, of one size; with a recurrent network they are of whole
                            environments
    noptepochs              passes over a batch
    cliprange               how far from 1 the ratio of new and old probabilities gains anything, and from its old value
                            the value of a state; or a function as lr
    save_interval           updates between model files in the folder `checkpoints` of the run; 0: none
    load_path               a model file to start from
    model_fn                makes the model from keywords, as ppo2/model.py's Model, which it is if not given
    update_fn               called with the number of the update after each one
    init_fn                 called once before the first one
    mpi_rank_weight         of this rank's gradients in the mean of all ranks
    comm                    MPI communicator of the ranks whose gradients are averaged; None: all
    policy                  'gaussian', 'gmm' or 'flow' for continuous actions, see common/distributions.py
    value_network           'shared' or None (the policy's network), 'copy' (with its own variables), or a function
    normalize_observations  filter observations by their running mean and standard deviation, clipped to [-5, 5]
    bootstrap_truncated     value what lies beyond a time limit; upstream takes a time limit for an end
    ent_samples             actions per state in the entropy of policies where it has no closed form (if ent_coef is 0,
                            that of the minibatch is logged)
    lrschedule              how a number lr falls over the run, see a2c/utils.py
    clipschedule            how a number cliprange falls over the run
    xla                     compile the updates by XLA: a longer start (15 s for a flow, once on a machine), faster
                            updates; None: where the run has 10,000 minibatches or more. Not of recurrent networks, of
                            policies of images, or with several ranks
    callback                called with (locals(), globals()) before every update and at the end;
                            training stops if it returns False; see common/callbacks.py
    **network_kwargs        keywords of the network's builder and of the policy

    Raises UsageError, one line, for arguments that do not fit, FloatingPointError for an environment that returns NaN.
    '''

    check_ranges(learn, locals())
    env, np_random = begin(env, seed)

    if not callable(lr): lr = constfn(lr, lrschedule)
    if not callable(cliprange): cliprange = constfn(cliprange, clipschedule)
    total_timesteps = int(total_timesteps)

    policy = build_policy(env, network, value_network=value_network, normalize_observations=normalize_observations,
                          policy=policy, **network_kwargs)

    # Get the nb of env
    nenvs = env.num_envs

    # Get state_space and action_space
    ob_space = env.observation_space
    ac_space = env.action_space

    # Calculate the batch_size
    nbatch = nenvs * nsteps
    check_batch(env, nbatch)
    check_minibatches(nenvs, nsteps, nminibatches)
    nbatch_train = nbatch // nminibatches
    is_mpi_root = rank() == 0

    # Instantiate the model object
    if model_fn is None:
        from onpolicybaselines.ppo2.model import Model
        model_fn = Model

    nupdates = number_of_updates(total_timesteps, nbatch*size())
    if xla is None: # compiling takes as long as so many minibatches without it
        xla = nupdates * noptepochs * nminibatches >= 10_000
    xla = settled('xla', xla)

    model = model_fn(policy=policy, ob_space=ob_space, ac_space=ac_space, nbatch_act=nenvs, nbatch_train=nbatch_train,
                    nsteps=nsteps, ent_coef=ent_coef, vf_coef=vf_coef,
                    max_grad_norm=max_grad_norm, comm=comm, mpi_rank_weight=mpi_rank_weight,
                    ent_samples=ent_samples, np_random=np_random, xla=xla)
    check_minibatches(nenvs, nsteps, nminibatches, recurrent=model.initial_state is not None)

    if load_path is not None:
        model.load(load_path)
    # Instantiate the runner object
    runner = Runner(env=env, model=model, nsteps=nsteps, gamma=gamma, lam=lam, bootstrap_truncated=bootstrap_truncated)
    evaluation = {}
    if eval_env is not None:
        eval_env = as_vec_env(eval_env, seed=seed)
        eval_runner = Runner(env = eval_env, model = model, nsteps = nsteps, gamma = gamma, lam= lam)

    epinfobuf = deque(maxlen=100)
    if eval_env is not None:
        eval_epinfobuf = deque(maxlen=100)
        evaluation = dict(eval_env=eval_env, eval_runner=eval_runner, eval_epinfobuf=eval_epinfobuf)

    if init_fn is not None:
        init_fn()

    # Start total timer
    checkpoints = Checkpoints(env, runner, callback, model=model, epinfobuf=epinfobuf, **evaluation)
    first_update, = checkpoints.resume(1)
    tfirststart = time.perf_counter() - checkpoints.elapsed
    timesteps_so_far = (first_update - 1)*nbatch*size()
    stop = call_back(callback, locals(), globals())

    for update in range(first_update, nupdates+1):
        if stop: break
        # Start timer
        tstart = time.perf_counter()
        frac = 1.0 - (update - 1.0) / nupdates
        # Calculate the learning rate
        lrnow = lr(frac)
        # Calculate the cliprange
        cliprangenow = cliprange(frac)

        if update % log_interval == 0 and is_mpi_root: logger.info('Stepping environment...')

        # Get minibatch
        obs, returns, masks, actions, values, neglogpacs, states, epinfos = runner.run()
        if eval_env is not None:
            eval_epinfos = eval_runner.run()[-1]

        if update % log_interval == 0 and is_mpi_root: logger.info('Done.')

        epinfobuf.extend(gather_episodes(epinfos))
        if eval_env is not None:
            eval_epinfobuf.extend(gather_episodes(eval_epinfos))

        mbinds = [] # of steps, or with a recurrent network of environments
        inds = np.arange(nbatch if states is None else nenvs)
        for _ in range(noptepochs):
            # Randomize the indexes
            np_random.shuffle(inds)
            mbinds.extend(inds.reshape(nminibatches, -1).copy())
        # The losses of each minibatch before its update
        mblossvals = model.train_all(lrnow, cliprangenow, np.array(mbinds), obs, returns, masks, actions, values,
                                     neglogpacs, states)
        if hasattr(model.act_model, 'ob_rms'): model.act_model.ob_rms.update(obs)

        # of all ranks
        lossvals = allmean(np.mean(mblossvals, axis=0))
        # End timer
        tnow = time.perf_counter()
        # Calculate the fps (frame per second)
        fps = int(nbatch*size() / (tnow - tstart))
        timesteps_so_far = update*nbatch*size()

        if update_fn is not None:
            update_fn(update)

        if update % log_interval == 0 or update == 1:
            # 1: values predict returns perfectly; 0: no better than a constant
            ev = explained_variance(*gather(values, returns))
            logger.logkv("misc/serial_timesteps", update*nsteps)
            logger.logkv("misc/nupdates", update)
            logger.logkv("misc/total_timesteps", timesteps_so_far)
            logger.logkv("fps", fps)
            logger.logkv("misc/explained_variance", float(ev))
            logger.logkv('eprewmean', safemean([epinfo['r'] for epinfo in epinfobuf]))
            logger.logkv('eplenmean', safemean([epinfo['l'] for epinfo in epinfobuf]))
            if eval_env is not None:
                logger.logkv('eval_eprewmean', safemean([epinfo['r'] for epinfo in eval_epinfobuf]) )
                logger.logkv('eval_eplenmean', safemean([epinfo['l'] for epinfo in eval_epinfobuf]) )
            logger.logkv('misc/time_elapsed', tnow - tfirststart)
            for (lossval, lossname) in zip(lossvals, model.loss_names, strict=True):
                logger.logkv('loss/' + lossname, lossval)

            if is_mpi_root: logger.dumpkvs()
        if save_interval and (update % save_interval == 0 or update == 1) and logger.get_dir() and is_mpi_root:
            checkdir = osp.join(logger.get_dir(), 'checkpoints')
            os.makedirs(checkdir, exist_ok=True)
            savepath = osp.join(checkdir, '%.5i.npz'%update)
            logger.log('Saving to', savepath)
            model.save(savepath)
        stop = call_back(callback, locals(), globals())
        checkpoints.after_update(update + 1)

    checkpoints.save()
    return model
