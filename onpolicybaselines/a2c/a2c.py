"""Advantage actor-critic, synchronous (Mnih et al. 2016), data-parallel over MPI ranks (upstream a2c/a2c.py)."""
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.a2c.runner import Runner, gather, number_of_updates
from onpolicybaselines.a2c.utils import Schedule, Scheduler
from onpolicybaselines.common import explained_variance
from onpolicybaselines.common.keywords import Fraction, NonNegative, Positive, check_ranges
from onpolicybaselines.common.learning import begin
from onpolicybaselines.common.math_util import safemean
from onpolicybaselines.common.mpi_util import allmean, check_synced, rank as get_rank, size, sync_from_root
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.sampling import entropy_noise, entropy_of
from onpolicybaselines.common.vec_env import VecEnv


class Model(object):
    """A policy with its value function, `pi`, and the update that trains both.

    step, value, act, actor, save and load are those of `PolicyWithValue`; initial_state [nenv, n] is None without
    recurrence.
    """

    def __init__(self, policy: Callable, env: VecEnv, nsteps: int, ent_coef: float = 0.01, vf_coef: float = 0.5,
                 max_grad_norm: float | None = 0.5, lr: float = 7e-4, alpha: float = 0.99, epsilon: float = 1e-5,
                 total_timesteps: int = int(80e6), lrschedule: Schedule = 'linear', ent_samples: int = 10,
                 np_random: np.random.Generator | None = None):
        """Make the variables and compile the update. policy: as `build_policy` gives it; the others as in `learn`."""
        self.pi = pi = policy(np_random)
        self.ent_samples = ent_samples
        self.params = params = pi.var_list + pi.vf_var_list
        self.trainer = RMSPropOptimizer(params, decay=alpha, epsilon=epsilon, max_grad_norm=max_grad_norm)
        self.lr = Scheduler(v=lr, nvalues=total_timesteps, schedule=lrschedule)

        # A: actions, ADV: advantages, R: returns; noise: for the sampled entropy
        def lossandgrad(X, A, ADV, R, noise, *state):
            with tf.GradientTape() as tape:
                pd, vf, _ = pi.pd_and_vf(X, *state, nsteps=nsteps)
                pg_loss = tf.reduce_mean(ADV * pd.neglogp(A))
                # keeps the policy from settling too early
                entropy = tf.reduce_mean(entropy_of(pd, noise))
                vf_loss = tf.reduce_mean(tf.square(vf - R))
                loss = pg_loss - entropy*ent_coef + vf_loss * vf_coef
            return tf.stack([pg_loss, vf_loss, entropy]), U.flatgrad(tape.gradient(loss, params), params)

        A, ADV, noise = batch_placeholders(pi)
        self.compute_lossandgrad = U.function(lossandgrad, pi.X, A, ADV, ADV, noise, *pi.state_inputs)

        self.step = pi.step
        self.act = pi.act
        self.actor = pi.actor
        self.value = pi.value
        self.initial_state = pi.initial_state(env.num_envs)
        self.save = pi.save
        self.load = pi.load

    def train(self, obs: np.ndarray, states: np.ndarray | None, rewards: np.ndarray, masks: np.ndarray,
              actions: np.ndarray, values: np.ndarray) -> np.ndarray:
        """One update from a batch of `Runner`, `rewards` being its returns; gives (policy loss, value loss, entropy),
        means over the ranks.

        Raises FloatingPointError, with nothing changed, for a gradient that is not finite.
        """
        advs = rewards - values
        cur_lr = self.lr.value(len(obs) * size())
        noise = entropy_noise(self.pi.pdtype, self.pi.np_random, len(obs), self.ent_samples)
        state = [] if states is None else [states, masks]
        losses, grads = self.compute_lossandgrad(obs, actions, advs, rewards, noise, *state)
        self.trainer.apply_gradients(allmean(grads), cur_lr)
        return allmean(losses)


class RMSPropOptimizer(object):
    """RMSProp (Tieleman & Hinton 2012) as TensorFlow 1 has it: the mean square begins at 1, and has epsilon added below
    the root.

    max_grad_norm: of the whole gradient; a longer one is scaled down. None is no bound.
    """

    def __init__(self, var_list: Sequence[tf.Variable], decay: float = 0.9, epsilon: float = 1e-10,
                 max_grad_norm: float | None = None):
        self.max_grad_norm = max_grad_norm
        self.updates = 0
        self._var_list = list(var_list)
        self._sizes = [U.numel(v) for v in var_list]
        self._get_flat = U.GetFlat(var_list)
        dtype = var_list[0].dtype
        self.ms = tf.Variable(tf.ones([sum(self._sizes)], dtype), trainable=False)

        def apply(grads, learning_rate):
            self.ms.assign(decay * self.ms + (1 - decay) * tf.square(grads))
            step = learning_rate * grads * tf.math.rsqrt(self.ms + epsilon)
            for v, piece in zip(self._var_list, tf.split(step, self._sizes), strict=True):
                v.assign_sub(tf.reshape(piece, v.shape))

        self._apply = U.function(apply, tf.TensorSpec(self.ms.shape, dtype), tf.TensorSpec([], dtype))

    def apply_gradients(self, grads: np.ndarray, learning_rate: float) -> None:
        """One update along the flat gradient [n]. Raises FloatingPointError, with nothing changed, if that is not
        finite, and every 100 updates RuntimeError if the parameters of MPI ranks differ."""
        norm = math.sqrt(np.sum(np.square(grads, dtype='float64')))
        if not math.isfinite(norm):
            pieces = np.split(grads, np.cumsum(self._sizes)[:-1])
            bad = next(v for v, g in zip(self._var_list, pieces, strict=True) if not np.isfinite(g).all())
            raise FloatingPointError(f'update {self.updates + 1}: the gradient of {bad.name.split(":")[0]!r} is not '
                                     'finite; parameters unchanged')
        if self.updates % 100 == 0:
            check_synced(self._get_flat(), f'update {self.updates + 1}')
        if self.max_grad_norm is not None:
            grads = grads * (self.max_grad_norm / max(norm, self.max_grad_norm))
        self._apply(grads, learning_rate)
        self.updates += 1


def learn(
    network: str | Callable,
    env: gym.Env | gym.vector.VectorEnv | VecEnv,
    seed: int | None = None,
    nsteps: Positive[int] = 5,
    total_timesteps: NonNegative[int] = int(80e6),
    vf_coef: NonNegative[float] = 0.5,
    ent_coef: NonNegative[float] = 0.01,
    max_grad_norm: Positive[float] | None = 0.5,
    lr: Positive[float] = 7e-4,
    lrschedule: Schedule = 'linear',
    epsilon: NonNegative[float] = 1e-5,
    alpha: Fraction = 0.99,
    gamma: Fraction = 0.99,
    log_interval: Positive[int] = 100,
    load_path: str | None = None,
    policy: str | None = None,
    value_network: str | Callable | None = None,
    normalize_observations: bool = False,
    bootstrap_truncated: bool = False,
    ent_samples: Positive[int] = 10,
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
    vf_coef, ent_coef       weights of the value function's loss and of the entropy
    max_grad_norm           the gradient of an update is scaled down to this norm; None: never
    lr, lrschedule          step size of RMSProp, and how it falls over the run (see a2c/utils.py)
    epsilon, alpha          RMSProp: what is added to the mean square, and its decay
    gamma                   discount
    log_interval            updates between lines of the log
    load_path               a model file to start from
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

    # Get the nb of env
    nenvs = env.num_envs
    nbatch = nenvs * nsteps * size()
    nupdates = number_of_updates(total_timesteps, nbatch)
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
    rewbuffer, lenbuffer = deque(maxlen=100), deque(maxlen=100)
    timesteps_so_far = 0

    # Start total timer
    tstart = time.time()

    for update in range(1, nupdates+1):
        if callback: callback(locals(), globals())
        # Get mini batch of experiences
        obs, states, rewards, masks, actions, values, epinfos = runner.run()

        policy_loss, value_loss, policy_entropy = model.train(obs, states, rewards, masks, actions, values)
        if hasattr(model.pi, 'ob_rms'): model.pi.ob_rms.update(obs)
        timesteps_so_far += nbatch
        nseconds = time.time()-tstart
        for epinfo in gather(epinfos):
            rewbuffer.append(epinfo['r'])
            lenbuffer.append(epinfo['l'])

        # Calculate the fps (frame per second)
        fps = int(timesteps_so_far/nseconds)
        if update % log_interval == 0 or update == 1:
            # 1: values predict returns perfectly; 0: no better than a constant
            ev = explained_variance(gather(values), gather(rewards))
            logger.record_tabular("nupdates", update)
            logger.record_tabular("total_timesteps", timesteps_so_far)
            logger.record_tabular("fps", fps)
            logger.record_tabular("policy_entropy", float(policy_entropy))
            logger.record_tabular("value_loss", float(value_loss))
            logger.record_tabular("explained_variance", float(ev))
            logger.record_tabular("eprewmean", safemean(rewbuffer))
            logger.record_tabular("eplenmean", safemean(lenbuffer))
            if rank == 0: logger.dump_tabular()
    if callback: callback(locals(), globals())
    return model
