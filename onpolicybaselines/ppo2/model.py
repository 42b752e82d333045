"""A policy with its value function, and the minibatch update of PPO that trains both (upstream ppo2/model.py)."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.common import tf_util
from onpolicybaselines.common.adam import AdamOptimizer, Flat
from onpolicybaselines.common.cores import sees_images
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
                ent_samples: int = 10, np_random: np.random.Generator | None = None, xla: bool = False):
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

        self.loss_names = ['policy_loss', 'value_loss', 'policy_entropy', 'approxkl', 'clipfrac']

        # UPDATE THE PARAMETERS USING LOSS
        self.params = params = train_model.var_list + train_model.vf_var_list
        if comm is not None and comm.Get_size() > 1:
            self.trainer = MpiAdamOptimizer(comm, params, mpi_rank_weight=mpi_rank_weight, epsilon=1e-5)
        else:
            self.trainer = AdamOptimizer(params, epsilon=1e-5)

        def lossandgrad(theta, *batch):
            with tf.GradientTape() as tape:
                tape.watch(theta)
                with train_model.at(theta, params):
                    loss, stats_list = losses(*batch)
            return stats_list, self.trainer.compute_gradients(tape, loss, theta)

        def apply_gradients(theta, m, v, LR, grads):
            return self.trainer.apply_gradients(grads, Flat(theta, m, v), LR, max_grad_norm)

        def train_op(theta, m, v, LR, n, CLIPRANGE, inds, envinds, ADV, noise, X, A, R, OLDNEGLOGPAC, OLDVPRED, *state):
            """The updates of the first n minibatches, one after the other; the losses of all, [minibatches, 5]."""
            def update(i, flat, stats_lists):
                obs, actions, returns, neglogpacs, values, *masks = [
                    tf.gather(x, inds[i]) for x in (X, A, R, OLDNEGLOGPAC, OLDVPRED, *state[1:])]
                states = [tf.gather(S, envinds[i]) for S in state[:1]]
                stats_list, grads = lossandgrad(flat.theta, CLIPRANGE, obs, actions, ADV[i], returns, neglogpacs,
                                                values, noise[i], *states, *masks)
                return i + 1, apply_gradients(*flat, LR[i], grads), stats_lists.write(i, stats_list)

            nminibatches = tf.shape(inds)[0]
            stats_lists = tf.TensorArray(theta.dtype, nminibatches, element_shape=[len(self.loss_names)])
            _, flat, stats_lists = tf.while_loop(lambda i, *_: i < n, update, (0, Flat(theta, m, v), stats_lists),
                                                 maximum_iterations=nminibatches)
            return flat, stats_lists.stack()

        def one_update(theta, m, v, LR, n, *args):
            return theta, m, v, LR, tf.ones_like(n), *args

        def several(spec):
            return tf.TensorSpec([None, *spec.shape], spec.dtype)

        batch = (train_model.X, self.A, self.R, self.OLDNEGLOGPAC, self.OLDVPRED, *train_model.state_inputs)
        inds = several(tf.TensorSpec([None], tf.int32))
        self._train_op = tf_util.function(train_op, *self.trainer.flat, several(self.LR),
                                          tf.TensorSpec([], tf.int32), self.CLIPRANGE, inds, inds, several(self.ADV),
                                          several(noise), *batch, xla=xla and self._suits_xla(), probe=one_update)
        self.compute_lossandgrad = tf_util.function(
            lambda *batch: lossandgrad(tf.concat([tf.reshape(v, [-1]) for v in params], 0), *batch),
            self.CLIPRANGE, *batch[:2], self.ADV, *batch[2:5], noise, *batch[5:])
        self._apply_gradients_op = tf_util.function(
            lambda theta, m, v, LR, grads: (apply_gradients(theta, m, v, LR[0], grads), ()),
            *self.trainer.flat, several(self.LR), self.trainer.flat.theta)
        self.nsteps = nsteps
        self._samples_entropy = bool(ent_coef)

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

    def _suits_xla(self):
        """It unrolls recurrent networks, is slower with convolutions, and cannot ask other ranks."""
        return not (self.pi.recurrent or sees_images(self.pi.ob_space) or isinstance(self.trainer, MpiAdamOptimizer))

    def train(self, lr: float, cliprange: float, obs: np.ndarray, returns: np.ndarray, masks: np.ndarray,
              actions: np.ndarray, values: np.ndarray, neglogpacs: np.ndarray, states: np.ndarray | None = None
              ) -> np.ndarray:
        """One update from a minibatch of `Runner` (B steps; with a recurrent network, of whole environments); gives
        the losses before it, of this rank, named by loss_names.

        Raises FloatingPointError, with nothing changed, for a gradient that is not finite.
        """
        inds = np.arange(len(obs) if states is None else len(states))
        return self._train(lr, cliprange, inds[np.newaxis], obs, returns, masks, actions, values, neglogpacs,
                           states)[0]

    def train_all(self, lr: float, cliprange: float, inds: np.ndarray, *batch: np.ndarray | None
                  ) -> Sequence[np.ndarray]:
        """`train` of each minibatch of a batch in turn, in one call; gives the losses of each.

        inds [minibatches, n]: numbers of their steps, with a recurrent network of their environments; batch: obs to
        states, as `train` takes them. Raises FloatingPointError as `train`, with none of the updates made. A subclass
        with a `train` of its own has that called.
        """
        if type(self).train is Model.train:
            return self._train(lr, cliprange, inds, *batch)
        *arrays, states = batch
        return [self.train(lr, cliprange, *(array[self._steps(mbinds, states)] for array in arrays),
                           *([] if states is None else [states[mbinds]])) for mbinds in inds]

    def _train(self, lr, cliprange, inds, obs, returns, masks, actions, values, neglogpacs, states):
        steps = self._steps(inds, states)
        advs, noise = self._advantages_and_noise(returns[steps], values[steps])
        arrays = obs, actions, returns, neglogpacs, values, *([] if states is None else [states, masks])
        return self.trainer.update(self._train_op, lr, len(inds), cliprange, steps, inds, advs, noise, *arrays,
                                   n=len(inds))

    def _steps(self, inds, states):
        """The numbers of steps [..., n * nsteps] of environments [..., n]; without states inds are of steps."""
        if states is None:
            return inds
        return (inds[..., np.newaxis] * self.nsteps + np.arange(self.nsteps)).reshape(*inds.shape[:-1], -1)

    def minibatch(self, cliprange: float, obs: np.ndarray, returns: np.ndarray, masks: np.ndarray, actions: np.ndarray,
                  values: np.ndarray, neglogpacs: np.ndarray, states: np.ndarray | None = None) -> list:
        """The arguments of `compute_lossandgrad`: with standardised advantages, and noise for the entropy."""
        (advs,), (noise,) = self._advantages_and_noise(returns[np.newaxis], values[np.newaxis])
        return [cliprange, obs, actions, advs, returns, neglogpacs, values, noise,
                *([] if states is None else [states, masks])]

    def _advantages_and_noise(self, returns, values):
        """Of minibatches [minibatches, n]: standardised advantages, of the same shape, and noise for the entropies."""
        advs = returns - values

        # Normalize the advantages
        with np.errstate(over='ignore'): # what is too large for its square is found in the gradient
            advs = (advs - advs.mean(axis=1, keepdims=True)) / (advs.std(axis=1, keepdims=True) + 1e-8)

        n = advs.shape[1] * self._samples_entropy
        return advs, np.stack([entropy_noise(self.pi.pdtype, self.pi.np_random, n, self.ent_samples) for _ in advs])

    def state(self) -> State:
        """Of policy and optimizer."""
        return {'pi': self.pi.state(), 'trainer': self.trainer.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of another model."""
        self.pi.set_state(state['pi'])
        self.trainer.set_state(state['trainer'])
