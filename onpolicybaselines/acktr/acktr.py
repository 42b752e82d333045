"""ACKTR (Wu et al. 2017): A2C with natural gradients by K-FAC, of policy and value function jointly.

Upstream acktr/acktr.py, data-parallel over MPI ranks. Actions may be discrete or continuous; `acktr_cont` is the ACKTR
of continuous actions only.
"""
import os.path as osp
import time
from collections import deque
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines import logger
from onpolicybaselines.a2c.runner import Runner, gather, number_of_updates
from onpolicybaselines.a2c.utils import Schedule, Scheduler
from onpolicybaselines.acktr import kfac
from onpolicybaselines.common import explained_variance
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import Fraction, NonNegative, Positive, check_ranges
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.math_util import safemean
from onpolicybaselines.common.mpi_util import rank as get_rank, size, sync_from_root
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.sampling import entropy_noise, entropy_of
from onpolicybaselines.common.vec_env import VecEnv


class Model(object):
    """A policy with its value function, `pi`, and the update that trains both.

    step, value, act, actor, save and load are those of `PolicyWithValue`.
    """

    def __init__(self, policy: Callable, total_timesteps: int, ent_coef: float = 0.01, vf_coef: float = 0.5,
                 vf_fisher_coef: float = 1.0, lr: float = 0.25, max_grad_norm: float | None = 0.5,
                 kfac_clip: float = 0.001, lrschedule: Schedule = 'linear', is_async: bool = True,
                 ent_samples: int = 10, np_random: np.random.Generator | None = None):
        """Make the variables and compile the update. policy: as `build_policy` gives it; the others as in `learn`."""
        self.pi = pi = policy(np_random)
        if pi.recurrent:
            raise UsageError('acktr takes feed-forward networks only, such as mlp or cnn: K-FAC has no curvature block '
                             'for recurrent ones; --alg=a2c takes those')
        self.ent_samples = ent_samples
        self.params = pi.var_list + pi.vf_var_list
        self.lr = Scheduler(v=lr, nvalues=total_timesteps, schedule=lrschedule)

        # A: actions, ADV: advantages, R: returns; noise: for the sampled entropy; vf_noise: of the sampled values
        def losses(X, A, ADV, R, noise, vf_noise):
            pd, vf, _ = pi.pd_and_vf(X)
            neglogpac = pd.neglogp(A)

            ##training loss
            entropy = tf.reduce_mean(entropy_of(pd, noise))
            pg_loss = tf.reduce_mean(ADV*neglogpac) - ent_coef * entropy
            vf_loss = tf.reduce_mean(tf.square(vf - R))
            train_loss = pg_loss + vf_coef * vf_loss

            ##Fisher loss construction: the actions taken are samples already
            pg_fisher_loss = tf.reduce_mean(neglogpac)
            sample_net = tf.stop_gradient(vf + vf_noise)
            vf_fisher_loss = vf_fisher_coef * tf.reduce_mean(tf.square(vf - sample_net))
            joint_fisher_loss = pg_fisher_loss + vf_fisher_loss
            return train_loss, joint_fisher_loss, pg_loss, vf_loss, entropy

        A, ADV, noise = batch_placeholders(pi)
        self.optim = kfac.KfacOptimizer(clip_kl=kfac_clip, momentum=0.9, kfac_update=1, epsilon=0.01,
                                        stats_decay=0.99, is_async=is_async, cold_iter=10, max_grad_norm=max_grad_norm)
        self.update = self.optim.minimize(losses, self.params, pi.X, A, ADV, ADV, noise, ADV)

        self.step = pi.step
        self.act = pi.act
        self.actor = pi.actor
        self.value = pi.value
        self.initial_state = None
        self.save = pi.save
        self.load = pi.load

    def train(self, obs: np.ndarray, states: None, rewards: np.ndarray, masks: np.ndarray, actions: np.ndarray,
              values: np.ndarray) -> tuple[float, float, float]:
        """One update from a batch of `Runner`, `rewards` being its returns; gives (policy loss, value loss, entropy),
        means over the ranks.

        Raises FloatingPointError, with nothing changed, for gradients that are not finite.
        """
        advs = rewards - values
        self.optim.learning_rate = self.lr.value(len(obs) * size())
        noise = entropy_noise(self.pi.pdtype, self.pi.np_random, len(obs), self.ent_samples)
        vf_noise = self.pi.np_random.standard_normal(len(obs), 'float32')
        _, _, *losses = self.update(obs, actions, advs, rewards, noise, vf_noise)
        return tuple(losses)

def learn(
    network: str | Callable,
    env: gym.Env | gym.vector.VectorEnv | VecEnv,
    seed: int | None = None,
    total_timesteps: NonNegative[int] = int(40e6),
    gamma: Fraction = 0.99,
    log_interval: Positive[int] = 100,
    nsteps: Positive[int] = 20,
    ent_coef: NonNegative[float] = 0.01,
    vf_coef: NonNegative[float] = 0.5,
    vf_fisher_coef: NonNegative[float] = 1.0,
    lr: Positive[float] = 0.25,
    max_grad_norm: Positive[float] | None = 0.5,
    kfac_clip: Positive[float] = 0.001,
    save_interval: NonNegative[int] | None = None,
    lrschedule: Schedule = 'linear',
    load_path: str | None = None,
    is_async: bool = True,
    policy: str | None = None,
    value_network: str | Callable | None = None,
    normalize_observations: bool = False,
    bootstrap_truncated: bool = False,
    ent_samples: Positive[int] = 10,
    callback: Callable | None = None,
    **network_kwargs
    ) -> Model:
    '''
    Learn a policy with ACKTR; returns its Model.

    network                 name of a registered network (see common/models.py), or a function of encoded observations
    env                     a gymnasium environment or vector environment, or a VecEnv
    seed                    of parameters and action noise; also of a plain gymnasium environment
    total_timesteps         environment steps to take, counted over all ranks and environments; a last, smaller batch is
                            left out
    gamma                   discount
    log_interval            updates between lines of the log
    nsteps                  steps of every environment per update: a batch is nsteps * number of environments, per rank
    ent_coef, vf_coef       weights of the entropy and of the value function's loss
    vf_fisher_coef          weight of the value function in the Fisher matrix
    lr, lrschedule          step size, and how it falls over the run (see a2c/utils.py)
    max_grad_norm           of the first updates, before K-FAC begins: their gradient is scaled down to this norm; None:
                            never
    kfac_clip               largest v'Fv of an update v: a longer one is scaled down
    save_interval           updates between checkpoint<update>.npz files in the run folder; None: none
    load_path               a model file to start from
    is_async                upstream's keyword; K-FAC is synchronous
    policy                  'gaussian', 'gmm' or 'flow' for continuous actions, see common/distributions.py
    value_network           'shared' or None (the policy's network), 'copy' (with its own variables), or a function
    normalize_observations  filter observations by their running mean and standard deviation, clipped to [-5, 5]
    bootstrap_truncated     value what lies beyond a time limit; upstream takes a time limit for an end
    ent_samples             actions per state in the entropy of policies where it has no closed form
    callback                called with (locals(), globals()) before every update and at the end
    **network_kwargs        keywords of the network's builder and of the policy

    Raises UsageError, one line, for arguments that do not fit, FloatingPointError for an environment that returns NaN.
    '''
    rank = get_rank()
    check_ranges(learn, locals())
    env, np_random = begin(env, seed)
    if network == 'cnn':
        network_kwargs.setdefault('one_dim_bias', True)

    nbatch = env.num_envs * nsteps * size()
    nupdates = number_of_updates(total_timesteps, nbatch)
    policy = build_policy(env, network, value_network=value_network, normalize_observations=normalize_observations,
                          policy=policy, **network_kwargs)

    model = Model(policy, total_timesteps, ent_coef=ent_coef, vf_coef=vf_coef, vf_fisher_coef=vf_fisher_coef, lr=lr,
                  max_grad_norm=max_grad_norm, kfac_clip=kfac_clip, lrschedule=lrschedule, is_async=is_async,
                  ent_samples=ent_samples, np_random=np_random)
    if load_path is not None:
        model.load(load_path)
    sync_from_root(model.params)

    runner = Runner(env, model, nsteps=nsteps, gamma=gamma, bootstrap_truncated=bootstrap_truncated)
    rewbuffer, lenbuffer = deque(maxlen=100), deque(maxlen=100)
    timesteps_so_far = 0
    tstart = time.time()

    for update in range(1, nupdates+1):
        if callback: callback(locals(), globals())
        obs, states, rewards, masks, actions, values, epinfos = runner.run()
        policy_loss, value_loss, policy_entropy = model.train(obs, states, rewards, masks, actions, values)
        if hasattr(model.pi, 'ob_rms'): model.pi.ob_rms.update(obs)
        timesteps_so_far += nbatch
        nseconds = time.time()-tstart
        for epinfo in gather(epinfos):
            rewbuffer.append(epinfo['r'])
            lenbuffer.append(epinfo['l'])
        fps = int(timesteps_so_far/nseconds)
        if update % log_interval == 0 or update == 1:
            ev = explained_variance(gather(values), gather(rewards))
            logger.record_tabular("nupdates", update)
            logger.record_tabular("total_timesteps", timesteps_so_far)
            logger.record_tabular("fps", fps)
            logger.record_tabular("policy_entropy", float(policy_entropy))
            logger.record_tabular("policy_loss", float(policy_loss))
            logger.record_tabular("value_loss", float(value_loss))
            logger.record_tabular("explained_variance", float(ev))
            logger.record_tabular("eprewmean", safemean(rewbuffer))
            logger.record_tabular("eplenmean", safemean(lenbuffer))
            if rank == 0: logger.dump_tabular()

        if save_interval and (update % save_interval == 0 or update == 1) and logger.get_dir() and rank == 0:
            savepath = osp.join(logger.get_dir(), 'checkpoint%.5i.npz'%update)
            logger.log('Saving to', savepath)
            model.save(savepath)
    if callback: callback(locals(), globals())
    return model
