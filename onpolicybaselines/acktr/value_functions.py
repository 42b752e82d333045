"""The critic of continuous ACKTR (upstream acktr/value_functions.py of its branch old_acktr_cont)."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import onpolicybaselines.common as common
from onpolicybaselines import logger
from onpolicybaselines.acktr import kfac
from onpolicybaselines.acktr.paths import split_paths
from onpolicybaselines.acktr.utils import dense, weight_decay_dict
from onpolicybaselines.common import tf_util as U
from onpolicybaselines.common.state import State, check_shapes, generator_state, set_generator_state
from onpolicybaselines.common.variables import VariableStore, variable_scope


class NeuralNetValueFunction(object):
    """Two elu layers of 64 units, fitted to discounted returns by K-FAC.

    It sees [observation, action_dist, step of the episode / 10, 1]; a path is what `acktr_cont.rollout` returns.
    """

    def __init__(self, ob_dim: int, dist_dim: int, np_random: np.random.Generator | None = None, vf_iters: int = 25,
                 stepsize: float = 0.001):
        """Make the variables, from `np_random`, which also draws the noise of the sampled loss.

        ob_dim: size of one observation, of which a path holds pairs; dist_dim: size of action_dist; vf_iters: updates
        on the whole batch at each `fit`; stepsize: learning rate.
        """
        self.np_random = np.random.default_rng() if np_random is None else np_random
        self.vf_iters = vf_iters
        self._store = VariableStore(np_random=self.np_random)
        X = tf.TensorSpec([None, ob_dim*2+dist_dim+2]) # batch of observations
        vtarg_n = tf.TensorSpec([None])

        def vpred(X):
            with self._store.as_default(), variable_scope('vf'):
                h1 = tf.nn.elu(dense(X, 64, "h1", weight_init=U.normc_initializer(1.0), bias_init=0))
                h2 = tf.nn.elu(dense(h1, 64, "h2", weight_init=U.normc_initializer(1.0), bias_init=0))
                vpred_n = dense(h2, 1, "hfinal", weight_init=U.normc_initializer(1.0), bias_init=0)[:,0]
                return vpred_n

        def losses(X, vtarg_n, noise):
            vpred_n = vpred(X)
            sample_vpred_n = vpred_n + noise
            wd_loss = [decay * tf.nn.l2_loss(self._store.variables[name]) for name, decay in wd_dict.items()]
            loss = tf.reduce_mean(tf.square(vpred_n - vtarg_n)) + tf.add_n(wd_loss)
            loss_sampled = tf.reduce_mean(tf.square(vpred_n - tf.stop_gradient(sample_vpred_n)))
            return loss, loss_sampled

        vpred(tf.zeros([1, X.shape[1]]))
        self._store.frozen = True
        self.var_list = self._store.in_scope('vf')
        self.wd_dict = wd_dict = weight_decay_dict(self.var_list)
        self.losses = losses
        self._predict = U.function(vpred, X)
        self.optim = kfac.KfacOptimizer(learning_rate=stepsize, cold_lr=stepsize*(1-0.9), momentum=0.9,
                                        clip_kl=0.3, epsilon=0.1, stats_decay=0.95,
                                        kfac_update=2, cold_iter=50,
                                        weight_decay_dict=wd_dict, max_grad_norm=1000.)
        self.do_update = self.optim.minimize(losses, self.var_list, X, vtarg_n, vtarg_n)
    def _preproc(self, path):
        l = pathlength(path)
        al = np.arange(l).reshape(-1,1)/10.0
        act = path["action_dist"]
        X = np.concatenate([path['observation'], act, al, np.ones((l, 1))], axis=1)
        return X
    def predict(self, paths: Sequence[dict]) -> list[np.ndarray]:
        """Values of the observations of each path."""
        return split_paths(self._predict(np.concatenate([self._preproc(p) for p in paths])), paths)
    def fit(self, paths: Sequence[dict], targvals: Sequence[np.ndarray]) -> None:
        """`vf_iters` updates towards the targets; logs the variance explained before and after."""
        X = np.concatenate([self._preproc(p) for p in paths]).astype('float32')
        y = np.concatenate(targvals)
        logger.record_tabular("EVBefore", common.explained_variance(self._predict(X), y))
        for _ in range(self.vf_iters): self.do_update(X, y, self.np_random.standard_normal(len(y), dtype='float32'))
        logger.record_tabular("EVAfter", common.explained_variance(self._predict(X), y))
    def arrays(self) -> dict[str, np.ndarray]:
        """Variables by name: what a model file holds of the critic."""
        return {name: v.numpy() for name, v in self._store.variables.items()}
    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what a model file holds."""
        for name, v in self._store.variables.items(): v.assign(arrays[name])
    def state(self) -> State:
        """`arrays`, the optimizer's state, and the generator of the noise."""
        return {'arrays': self.arrays(), 'optim': self.optim.state(), 'np_random': generator_state(self.np_random)}
    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave. Raises ValueError if it is of another critic."""
        check_shapes('the value function', state['arrays'], self.arrays())
        self.optim.set_state(state['optim'])
        self.set_arrays(state['arrays'])
        set_generator_state(self.np_random, state['np_random'])

def pathlength(path: dict) -> int:
    """Number of steps."""
    return path["reward"].shape[0]
