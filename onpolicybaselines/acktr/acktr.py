"""ACKTR (Wu et al. 2017): A2C with natural gradients by K-FAC, of policy and value function jointly.

Upstream acktr/acktr.py, data-parallel over MPI ranks. Actions may be discrete or continuous; `acktr_cont` is the ACKTR
of continuous actions only.
"""
import os
import os.path as osp
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tensorflow as tf
from onpolicybaselines import logger

from onpolicybaselines.common import explained_variance
from onpolicybaselines.common.policies import build_policy

from onpolicybaselines.a2c.runner import Runner
from onpolicybaselines.a2c.utils import Scheduler, schedules
from onpolicybaselines.acktr import kfac
from collections import deque

from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.sampling import entropy_noise, entropy_of
from onpolicybaselines.common.checkpoint import Checkpoints
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.costs import check_batch, check_factors
from onpolicybaselines.common.keywords import Count, Fraction, NonNegative, Positive, Repeats, Total, check_ranges
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.mpi_util import sync_from_root
from onpolicybaselines.common.mpi_world import rank, size
from onpolicybaselines.common.reports import call_back, log_update, number_of_updates
from onpolicybaselines.common.rollouts import gather, gather_episodes
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env import VecEnv


class Model(object):
    """A policy with its value function, `pi`, and the update that trains both.

    step, value, act, actor, predict, save, load and export are those of `PolicyWithValue`. train(obs, states, rewards,
    masks, actions, values): one update from a batch of `Runner`, `rewards` being its returns; gives (policy loss, value
    loss, entropy), means over the ranks, and raises FloatingPointError, with nothing changed, for gradients that are
    not finite.
    """

    def __init__(self, policy: Callable, total_timesteps: int,
                 ent_coef: float = 0.01, vf_coef: float = 0.5, vf_fisher_coef: float = 1.0, lr: float = 0.25,
                 max_grad_norm: float | None = 0.5,
                 kfac_clip: float = 0.001, lrschedule: str | Callable = 'linear', is_async: bool = True,
                 ent_samples: int = 10, np_random: np.random.Generator | None = None):
        """Make the variables and compile the update. policy: as `build_policy` gives it; the others as in `learn`."""
        self.pi = step_model = train_model = policy(np_random)
        if train_model.recurrent:
            raise UsageError('acktr takes feed-forward networks only, such as mlp or cnn: K-FAC has no curvature block '
                             'for recurrent ones; --alg=a2c takes those')

        A, ADV, noise = batch_placeholders(train_model)
        R = vf_noise = ADV

        def losses(X, A, ADV, R, noise, vf_noise):
            pd, vf, _ = train_model.pd_and_vf(X)
            neglogpac = pd.neglogp(A)

            ##training loss
            pg_loss = tf.reduce_mean(ADV*neglogpac)
            entropy = tf.reduce_mean(entropy_of(pd, noise))
            pg_loss = pg_loss - ent_coef * entropy
            vf_loss = tf.reduce_mean(tf.square(vf - R))
            train_loss = pg_loss + vf_coef * vf_loss


            ##Fisher loss construction: the actions taken are samples already
            pg_fisher_loss = -tf.reduce_mean(neglogpac)
            sample_net = vf + vf_noise
            vf_fisher_loss = - vf_fisher_coef*tf.reduce_mean(tf.pow(vf - tf.stop_gradient(sample_net), 2))
            joint_fisher_loss = pg_fisher_loss + vf_fisher_loss
            return train_loss, joint_fisher_loss, pg_loss, vf_loss, entropy

        self.params=params = train_model.var_list + train_model.vf_var_list

        self.optim = optim = kfac.KfacOptimizer(clip_kl=kfac_clip,
            momentum=0.9, kfac_update=1, epsilon=0.01,
            stats_decay=0.99, is_async=is_async, cold_iter=10, max_grad_norm=max_grad_norm)

        train_op = optim.minimize(losses, params, train_model.X, A, ADV, R, noise, vf_noise)
        self.lr = Scheduler(v=lr, nvalues=total_timesteps, schedule=lrschedule)

        def train(obs, states, rewards, masks, actions, values):
            advs = rewards - values
            for _ in range(len(obs) * size()):
                cur_lr = self.lr.value()

            optim.learning_rate = cur_lr
            noise = entropy_noise(train_model.pdtype, train_model.np_random, len(obs), ent_samples)
            vf_noise = train_model.np_random.standard_normal(len(obs), 'float32')

            _, _, policy_loss, value_loss, policy_entropy = train_op(obs, actions, advs, rewards, noise, vf_noise)
            return policy_loss, value_loss, policy_entropy


        self.train = train
        self.save = step_model.save
        self.load = step_model.load
        self.predict = step_model.predict
        self.export = step_model.export
        self.train_model = train_model
        self.step_model = step_model
        self.step = step_model.step
        self.act = step_model.act
        self.actor = step_model.actor
        self.value = step_model.value
        self.initial_state = None

    def state(self) -> State:
        """Of policy, optimizer and learning rate."""
        return {'pi': self.pi.state(), 'optim': self.optim.state(), 'lr': self.lr.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of another model."""
        self.pi.set_state(state['pi'])
        self.optim.set_state(state['optim'])
        self.lr.set_state(state['lr'])

def learn(
    network: str | Callable,
    env: gym.Env | gym.vector.VectorEnv | VecEnv,
    seed: int | None = None,
    total_timesteps: Total = int(40e6),
    gamma: Fraction = 0.99,
    log_interval: Count = 100,
    nsteps: Count = 20,
    ent_coef: NonNegative[float] = 0.01,
    vf_coef: NonNegative[float] = 0.5,
    vf_fisher_coef: NonNegative[float] = 1.0,
    lr: Positive[float] = 0.25,
    max_grad_norm: Positive[float] | None = 0.5,
    kfac_clip: Positive[float] = 0.001,
    save_interval: NonNegative[int] | None = None,
    lrschedule: Literal[tuple(schedules)] | Callable = 'linear',  # type: ignore[valid-type]
    load_path: str | os.PathLike | None = None,
    is_async: bool = True,
    policy: str | None = None,
    value_network: Literal['copy', 'shared'] | Callable | None = None,
    normalize_observations: bool = False,
    bootstrap_truncated: bool = False,
    ent_samples: Repeats = 10,
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
    ent_coef                weight of the entropy
    vf_coef                 weight of the value function's loss
    vf_fisher_coef          weight of the value function in the Fisher matrix
    lr                      step size
    lrschedule              how the step size falls over the run, see a2c/utils.py; or a function of the fraction of the
                            run that has passed, which gives that of lr
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
    callback                called with (locals(), globals()) before every update and at the end;
                            training stops if it returns False; see common/callbacks.py
    **network_kwargs        keywords of the network's builder and of the policy

    Raises UsageError, one line, for arguments that do not fit, FloatingPointError for an environment that returns NaN.
    '''
    check_ranges(learn, locals())
    env, np_random = begin(env, seed)


    if network == 'cnn':
        network_kwargs.setdefault('one_dim_bias', True)

    policy = build_policy(env, network, value_network=value_network, normalize_observations=normalize_observations,
                          policy=policy, **network_kwargs)

    nenvs = env.num_envs
    check_batch(env, nsteps*nenvs)
    model = Model(policy, total_timesteps, ent_coef=ent_coef, vf_coef=vf_coef, vf_fisher_coef=vf_fisher_coef,
                  lr=lr, max_grad_norm=max_grad_norm, kfac_clip=kfac_clip, lrschedule=lrschedule, is_async=is_async,
                  ent_samples=ent_samples, np_random=np_random)

    check_factors(model.params)

    if load_path is not None:
        model.load(load_path)
    sync_from_root(model.params)

    runner = Runner(env, model, nsteps=nsteps, gamma=gamma, bootstrap_truncated=bootstrap_truncated)
    epinfobuf = deque(maxlen=100)
    nbatch = nenvs*nsteps*size()
    checkpoints = Checkpoints(env, runner, callback, model=model, epinfobuf=epinfobuf)
    start, = checkpoints.resume(1)
    tstart = time.time() - checkpoints.elapsed
    stop = call_back(callback, locals(), globals())

    for update in range(start, number_of_updates(total_timesteps, nbatch)+1):
        if stop: break
        obs, states, rewards, masks, actions, values, epinfos = runner.run()
        epinfobuf.extend(gather_episodes(epinfos))
        policy_loss, value_loss, policy_entropy = model.train(obs, states, rewards, masks, actions, values)
        if hasattr(model.pi, 'ob_rms'): model.pi.ob_rms.update(obs)
        nseconds = time.time()-tstart
        fps = int((update*nbatch)/nseconds)
        if update % log_interval == 0 or update == 1:
            ev = explained_variance(*gather(values, rewards))
            log_update(update, update*nbatch, fps, epinfobuf, policy_entropy=policy_entropy, policy_loss=policy_loss,
                       value_loss=value_loss, explained_variance=ev)

        if save_interval and (update % save_interval == 0 or update == 1) and logger.get_dir() and rank() == 0:
            savepath = osp.join(logger.get_dir(), 'checkpoint%.5i.npz'%update)
            logger.log('Saving to', savepath)
            model.save(savepath)
        stop = call_back(callback, locals(), globals())
        checkpoints.after_update(update + 1)
    checkpoints.save()
    return model
