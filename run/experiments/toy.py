"""Distributions on R^2 that depend on no state, fitted by gradient steps (figures 1 and 2)."""
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from onpolicybaselines.common import tf_util
from onpolicybaselines.common.distributions import Pd, PdType
from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_fit import minimize
from onpolicybaselines.common.policy import Policy
from onpolicybaselines.common.variables import VariableStore

tf_util.single_threaded_session()


class Toy:
    """One distribution of the package's `family`: what its head gives for the constant observation 1.

    loss(pd, rows): a scalar of rows [n, columns], points or the family's noise, and of n copies of the distribution.
    A flow takes its state vector from the head: flow_state_net='network'. xla: compile the steps by XLA, which takes a
    minute for a flow and makes a thousand steps five times as fast.
    """

    def __init__(self, family: PdType, loss: Callable[[Pd, tf.Tensor], tf.Tensor], columns: int,
                 xla: bool = True):
        self.family = family
        self._store = self._new_store(np.random.default_rng(0))
        var_list = list(self._store.variables.values())
        self._adam = MpiAdam(var_list, beta2=0.99)  # forgets the large gradients of a far start

        def gradient(theta, rows):
            with tf.GradientTape() as tape:
                tape.watch(theta)
                with self._store.substitute(var_list, theta):
                    value = loss(self._pd(self._store, tf.shape(rows)[0]), rows)
            return tape.gradient(value, theta)

        self._minimize = minimize(self._adam, gradient, tf.TensorSpec([None, columns]), xla=xla)
        noise, point = tf.TensorSpec([None, family.noise_size]), tf.TensorSpec([None, 2])
        self._sample = tf_util.function(lambda noise: self._pd(self._store, tf.shape(noise)[0]).sample(noise), noise)
        self._logp = tf_util.function(lambda x: self._pd(self._store, tf.shape(x)[0]).dist.log_prob(x), point)

    def _pd(self, store, n):
        with store.as_default():
            return self.family.pdfromlatent(tf.ones([n, 1]), init_scale=Policy.init_scale)[0]

    def _new_store(self, np_random):
        store = VariableStore(np_random=np_random)
        self._pd(store, 1)
        return store

    @property
    def theta(self) -> np.ndarray:
        """All parameters, one vector."""
        return self._adam.getflat()

    @theta.setter
    def theta(self, value: np.ndarray) -> None:
        self._adam.setfromflat(value)

    def restart(self, np_random: np.random.Generator, spread: float = 0.) -> None:
        """A fresh initialisation, the package's, with N(0, spread^2) added to every parameter."""
        fresh = tf_util.GetFlat(self._new_store(np_random).variables.values())()
        self.theta = fresh + spread * np_random.standard_normal(fresh.shape)
        self._adam.m, self._adam.v, self._adam.t = np.zeros_like(fresh), np.zeros_like(fresh), 0

    def descend(self, rows: np.ndarray, stepsize: float) -> None:
        """A step of Adam for each of rows [steps, n, columns]; compiled anew for another number of steps or rows."""
        steps, n, columns = rows.shape
        self._minimize([rows.reshape(-1, columns)], list(np.arange(steps * n).reshape(steps, n)), stepsize)

    def fit(self, np_random: np.random.Generator, steps: int, batch: int, stepsize: float, chunk: int = 100) -> None:
        """`steps` of Adam, rounded up to chunks, on fresh noise; the step size falls linearly to 0."""
        chunk = min(chunk, steps)
        for start in range(0, steps, chunk):
            noise = self.noise(np_random, chunk * batch).reshape(chunk, batch, -1)
            self.descend(noise, stepsize * (1 - start / steps))

    def noise(self, np_random: np.random.Generator, n: int) -> np.ndarray:
        """The family's noise of n samples."""
        return self.family.noise(np_random, n)

    def sample(self, np_random: np.random.Generator, n: int) -> np.ndarray:
        """n samples, [n, 2]."""
        return self._sample(self.noise(np_random, n))

    def logp(self, x: np.ndarray) -> np.ndarray:
        """The log-density at points [n, 2], [n]."""
        return self._logp(x)
