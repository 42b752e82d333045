"""A policy with its value function, and the minibatch update of PPO that trains both (upstream ppo2/model.py)."""
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.common import tf_util
from onpolicybaselines.common.adam import AdamOptimizer
from onpolicybaselines.common.mpi_adam_optimizer import MpiAdamOptimizer
from onpolicybaselines.common.mpi_util import sync_from_root
from onpolicybaselines.common.mpi_world import get_comm
from onpolicybaselines.common.policy import batch_placeholders
from onpolicybaselines.common.sampling import entropy_noise, entropy_of
from onpolicybaselines.common.state import State


class Model(object):
    """A policy with its value function, `pi`, and the update that trains both.

    step, value, neglogp, act, actor, predict, save, load and export are those of `PolicyWithValue`; initial_state
    [nenv, n] is None without recurrence. stats_list of `train` are named by loss_names.
    """

    def __init__(self, *, policy: Callable, ob_space: gym.Space, ac_space: gym.Space, nbatch_act: int,
                nbatch_train: int, nsteps: int, ent_coef: float, vf_coef: float, max_grad_norm: float | None,
                mpi_rank_weight: float = 1, comm: Any = None, microbatch_size: int | None = None,
                ent_samples: int = 10, np_random: np.random.Generator | None = None):
        """Make the variables, the same on all ranks of `comm` (None: of all), and compile the update.

        policy: as `build_policy` gives it; nbatch_act: number of environments; nbatch_train: steps of a minibatch; the
        others as in `learn`. The spaces are the policy's, and a compiled update takes minibatches of any size, so that
        ob_space, ac_space and microbatch_size have no effect.
        """
        if comm is None:
            comm = get_comm()

        # one network serves sampling and training
        self.pi = act_model = train_model = policy(np_random)
        self.ent_samples = ent_samples

        # what a minibatch consists of
        self.A, self.ADV, noise = batch_placeholders(train_model)
        self.R = self.OLDNEGLOGPAC = self.OLDVPRED = self.ADV
        self.LR = self.CLIPRANGE = tf.TensorSpec([], self.ADV.dtype)

        def losses(CLIPRANGE, X, A, ADV, R, OLDNEGLOGPAC, OLDVPRED, noise, *state):
            pd, vpred, _ = train_model.pd_and_vf(X, *state, nsteps=nsteps)
            neglogpac = pd.neglogp(A)

            # Value loss: the larger error of the value and of one that stays near the old
            vpredclipped = OLDVPRED + tf.clip_by_value(vpred - OLDVPRED, - CLIPRANGE, CLIPRANGE)
            vf_losses1 = tf.square(vpred - R)
            vf_losses2 = tf.square(vpredclipped - R)
            vf_loss = .5 * tf.reduce_mean(tf.maximum(vf_losses1, vf_losses2))

            # Policy loss: what the ratio gains beyond the clipping range does not count
            ratio = tf.exp(OLDNEGLOGPAC - neglogpac)
            pg_losses = -ADV * ratio
            pg_losses2 = -ADV * tf.clip_by_value(ratio, 1.0 - CLIPRANGE, 1.0 + CLIPRANGE)
            pg_loss = tf.reduce_mean(tf.maximum(pg_losses, pg_losses2))
            approxkl = .5 * tf.reduce_mean(tf.square(neglogpac - OLDNEGLOGPAC))
            clipfrac = tf.reduce_mean(tf.cast(tf.greater(tf.abs(ratio - 1.0), CLIPRANGE), ratio.dtype))

            if ent_coef or pd.has_analytic_entropy:
                entropy = tf.reduce_mean(entropy_of(pd, noise))
            else:  # of the taken actions: nothing but a number to log
                entropy = tf.reduce_mean(ratio * neglogpac)

            loss = pg_loss - entropy * ent_coef + vf_loss * vf_coef
            return loss, tf.stack([pg_loss, vf_loss, entropy, approxkl, clipfrac])

        # UPDATE THE PARAMETERS USING LOSS
        self.params = params = train_model.var_list + train_model.vf_var_list
        if comm is not None and comm.Get_size() > 1:
            self.trainer = MpiAdamOptimizer(comm, params, mpi_rank_weight=mpi_rank_weight, epsilon=1e-5)
        else:
            self.trainer = AdamOptimizer(params, epsilon=1e-5)

        def lossandgrad(*batch):
            with tf.GradientTape() as tape:
                loss, stats_list = losses(*batch)
            return stats_list, self.trainer.compute_gradients(tape, loss)

        def apply_gradients(LR, grads):
            self.trainer.apply_gradients(grads, LR, max_grad_norm)

        def train_op(LR, *batch):
            stats_list, grads = lossandgrad(*batch)
            apply_gradients(LR, grads)
            return stats_list

        batch = (self.CLIPRANGE, train_model.X, self.A, self.ADV, self.R, self.OLDNEGLOGPAC, self.OLDVPRED, noise,
                 *train_model.state_inputs)
        self._train_op = tf_util.function(train_op, self.LR, *batch)
        self.compute_lossandgrad = tf_util.function(lossandgrad, *batch)
        self._apply_gradients_op = tf_util.function(
            apply_gradients, self.LR, tf.TensorSpec([sum(map(tf_util.numel, params))], self.ADV.dtype))
        self._samples_entropy = bool(ent_coef)
        self.loss_names = ['policy_loss', 'value_loss', 'policy_entropy', 'approxkl', 'clipfrac']


        self.train_model = train_model
        self.act_model = act_model
        self.step = act_model.step
        self.act = act_model.act
        self.actor = act_model.actor
        self.value = act_model.value
        self.neglogp = act_model.neglogp
        self.initial_state = act_model.initial_state(nbatch_act)

        self.save = act_model.save
        self.load = act_model.load
        self.predict = act_model.predict
        self.export = act_model.export

        sync_from_root(params, comm)

    def train(self, lr: float, cliprange: float, obs: np.ndarray, returns: np.ndarray, masks: np.ndarray,
              actions: np.ndarray, values: np.ndarray, neglogpacs: np.ndarray, states: np.ndarray | None = None
              ) -> np.ndarray:
        """One update from a minibatch of `Runner` (B steps; with a recurrent network, of whole environments); gives
        the losses before it, of this rank, named by loss_names.

        Raises FloatingPointError, with nothing changed, for a gradient that is not finite.
        """
        return self.trainer.update(self._train_op, lr, *self.minibatch(cliprange, obs, returns, masks, actions, values,
                                                                       neglogpacs, states))

    def minibatch(self, cliprange: float, obs: np.ndarray, returns: np.ndarray, masks: np.ndarray, actions: np.ndarray,
                  values: np.ndarray, neglogpacs: np.ndarray, states: np.ndarray | None = None) -> list:
        """The arguments of `compute_lossandgrad`: with standardised advantages, and noise for the entropy."""
        advs = returns - values

        # Normalize the advantages
        with np.errstate(over='ignore'): # what is too large for its square is found in the gradient
            advs = (advs - advs.mean()) / (advs.std() + 1e-8)

        noise = entropy_noise(self.pi.pdtype, self.pi.np_random, len(obs) * self._samples_entropy, self.ent_samples)
        return [cliprange, obs, actions, advs, returns, neglogpacs, values, noise,
                *([] if states is None else [states, masks])]

    def state(self) -> State:
        """Of policy and optimizer."""
        return {'pi': self.pi.state(), 'trainer': self.trainer.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of another model."""
        self.pi.set_state(state['pi'])
        self.trainer.set_state(state['trainer'])
