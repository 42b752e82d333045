"""Advantage actor-critic, synchronous (Mnih et al. 2016), data-parallel over MPI ranks (upstream a2c/a2c.py)."""
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.common import explained_variance
from onpolicybaselines.common import tf_util
from onpolicybaselines.common.policies import build_policy


from onpolicybaselines.a2c.utils import Scheduler, schedules
from onpolicybaselines.a2c.runner import Runner
from collections import deque

from onpolicybaselines.a2c.rmsprop import RMSPropOptimizer
from onpolicybaselines.common.checkpoint import Checkpoints
from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.sampling import entropy_noise, entropy_of
from onpolicybaselines.common.costs import check_batch
from onpolicybaselines.common.keywords import Count, Fraction, NonNegative, Positive, Repeats, Total, check_ranges
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.mpi_util import sync_from_root
from onpolicybaselines.common.mpi_world import allmean, size
from onpolicybaselines.common.reports import call_back, log_update, number_of_updates
from onpolicybaselines.common.rollouts import gather, gather_episodes
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env import VecEnv


class Model(object):
    """A policy with its value function, `pi`, and the update that trains both.

    step, value, act, actor, predict, save, load and export are those of `PolicyWithValue`; initial_state [nenv, n] is
    None without recurrence. train(obs, states, rewards, masks, actions, values): one update from a batch of `Runner`,
    `rewards` being its returns; gives (policy loss, value loss, entropy), means over the ranks, and raises
    FloatingPointError, with nothing changed, for a gradient that is not finite.
    """

    def __init__(self, policy: Callable, env: VecEnv, nsteps: int,
            ent_coef: float = 0.01, vf_coef: float = 0.5, max_grad_norm: float | None = 0.5, lr: float = 7e-4,
            alpha: float = 0.99, epsilon: float = 1e-5, total_timesteps: int = int(80e6),
            lrschedule: str | Callable = 'linear', ent_samples: int = 10,
            np_random: np.random.Generator | None = None):
        """Make the variables and compile the update. policy: as `build_policy` gives it; the others as in `learn`."""
        nenvs = env.num_envs

        # one network serves sampling and training
        self.pi = step_model = train_model = policy(np_random)

        A, ADV, noise = batch_placeholders(train_model)
        R = ADV

        def lossandgrad(X, A, ADV, R, noise, *state):
            with tf.GradientTape() as tape:
                pd, vf, _ = train_model.pd_and_vf(X, *state, nsteps=nsteps)

                # Policy loss
                neglogpac = pd.neglogp(A)
                pg_loss = tf.reduce_mean(ADV * neglogpac)

                # keeps the policy from settling too early
                entropy = tf.reduce_mean(entropy_of(pd, noise))

                # Value loss
                vf_loss = tf.reduce_mean(tf.square(vf - R))

                loss = pg_loss - entropy*ent_coef + vf_loss * vf_coef
            return tf.stack([pg_loss, vf_loss, entropy]), tf_util.flatgrad(tape.gradient(loss, params), params)

        self.params = params = train_model.var_list + train_model.vf_var_list
        self.compute_lossandgrad = tf_util.function(lossandgrad, train_model.X, A, ADV, R, noise,
                                                    *train_model.state_inputs)

        self.trainer = trainer = RMSPropOptimizer(params, decay=alpha, epsilon=epsilon, max_grad_norm=max_grad_norm)

        self.lr = lr = Scheduler(v=lr, nvalues=total_timesteps, schedule=lrschedule)

        def train(obs, states, rewards, masks, actions, values):
            advs = rewards - values
            for _ in range(len(obs) * size()):
                cur_lr = lr.value()

            noise = entropy_noise(train_model.pdtype, train_model.np_random, len(obs), ent_samples)
            state = [] if states is None else [states, masks]
            losses, grads = self.compute_lossandgrad(obs, actions, advs, rewards, noise, *state)
            policy_loss, value_loss, policy_entropy = allmean(losses)
            trainer.apply_gradients(allmean(grads), cur_lr, policy_loss=policy_loss, value_loss=value_loss,
                                    policy_entropy=policy_entropy)
            return policy_loss, value_loss, policy_entropy


        self.train = train
        self.train_model = train_model
        self.step_model = step_model
        self.step = step_model.step
        self.act = step_model.act
        self.actor = step_model.actor
        self.value = step_model.value
        self.initial_state = step_model.initial_state(nenvs)
        self.save = step_model.save
        self.load = step_model.load
        self.predict = step_model.predict
        self.export = step_model.export

    def state(self) -> State:
        """Of policy, optimizer and learning rate."""
        return {'pi': self.pi.state(), 'trainer': self.trainer.state(), 'lr': self.lr.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of another model."""
        self.pi.set_state(state['pi'])
        self.trainer.set_state(state['trainer'])
        self.lr.set_state(state['lr'])


def learn(
    network: str | Callable,
    env: gym.Env | gym.vector.VectorEnv | VecEnv,
    seed: int | None = None,
    nsteps: Count = 5,
    total_timesteps: Total = int(80e6),
    vf_coef: NonNegative[float] = 0.5,
    ent_coef: NonNegative[float] = 0.01,
    max_grad_norm: Positive[float] | None = 0.5,
    lr: Positive[float] = 7e-4,
    lrschedule: Literal[tuple(schedules)] | Callable = 'linear',  # type: ignore[valid-type]
    epsilon: NonNegative[float] = 1e-5,
    alpha: Fraction = 0.99,
    gamma: Fraction = 0.99,
    log_interval: Count = 100,
    load_path: str | os.PathLike | None = None,
    policy: str | None = None,
    value_network: Literal['copy', 'shared'] | Callable | None = None,
    normalize_observations: bool = False,
    bootstrap_truncated: bool = False,
    ent_samples: Repeats = 10,
    callback: Callable | None = None,
    **network_kwargs
    ) -> Model:
    '''
    Learn a policy with A2C; returns its Model.

    network                 name of a registered network (see common/models.py), or a function of encoded observations
    env                     a gymnasium environment or vector environment, or a VecEnv
    seed                    of parameters and action noise; also of a plain gymnasium environment
    nsteps                  steps of every environment per update: a batch is nsteps * number of environments, per rank
    total_timesteps         environment steps to take, counted over all ranks and environments; a last, smaller batch is
                            left out
    vf_coef                 weight of the value function's loss
    ent_coef                weight of the entropy
    max_grad_norm           the gradient of an update is scaled down to this norm; None: never
    lr                      step size of RMSProp
    lrschedule              how the step size falls over the run, see a2c/utils.py; or a function of the fraction of the
                            run that has passed, which gives that of lr
    epsilon                 RMSProp: what is added to the mean square
    alpha                   RMSProp: decay of the mean square
    gamma                   discount
    log_interval            updates between lines of the log
    load_path               a model file to start from
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

    # Get the nb of env
    nenvs = env.num_envs
    check_batch(env, nsteps*nenvs)
    policy = build_policy(env, network, value_network=value_network, normalize_observations=normalize_observations,
                          policy=policy, **network_kwargs)

    # Instantiate the model object
    model = Model(policy=policy, env=env, nsteps=nsteps, ent_coef=ent_coef, vf_coef=vf_coef,
        max_grad_norm=max_grad_norm, lr=lr, alpha=alpha, epsilon=epsilon, total_timesteps=total_timesteps,
        lrschedule=lrschedule, ent_samples=ent_samples, np_random=np_random)
    if load_path is not None:
        model.load(load_path)
    sync_from_root(model.params)

    # Instantiate the runner object
    runner = Runner(env, model, nsteps=nsteps, gamma=gamma, bootstrap_truncated=bootstrap_truncated)
    epinfobuf = deque(maxlen=100)

    # of all ranks
    nbatch = nenvs*nsteps*size()

    # Start total timer
    checkpoints = Checkpoints(env, runner, callback, model=model, epinfobuf=epinfobuf)
    start, = checkpoints.resume(1)
    tstart = time.time() - checkpoints.elapsed
    stop = call_back(callback, locals(), globals())

    for update in range(start, number_of_updates(total_timesteps, nbatch)+1):
        if stop: break
        # Get mini batch of experiences
        obs, states, rewards, masks, actions, values, epinfos = runner.run()
        epinfobuf.extend(gather_episodes(epinfos))

        policy_loss, value_loss, policy_entropy = model.train(obs, states, rewards, masks, actions, values)
        if hasattr(model.pi, 'ob_rms'): model.pi.ob_rms.update(obs)
        nseconds = time.time()-tstart

        # Calculate the fps (frame per second)
        fps = int((update*nbatch)/nseconds)
        if update % log_interval == 0 or update == 1:
            # 1: values predict returns perfectly; 0: no better than a constant
            ev = explained_variance(*gather(values, rewards))
            log_update(update, update*nbatch, fps, epinfobuf, policy_entropy=policy_entropy, value_loss=value_loss,
                       explained_variance=ev)
        stop = call_back(callback, locals(), globals())
        checkpoints.after_update(update + 1)
    checkpoints.save()
    return model
