"""A model whose minibatches need less memory (upstream ppo2/microbatched_model.py)."""
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.ppo2.model import Model


class MicrobatchedModel(Model):
    """Computes the gradient of a minibatch from parts of microbatch_size steps, one after the other: the same update.

    For `model_fn` of `learn`: functools.partial(MicrobatchedModel, microbatch_size=...).
    Raises UsageError unless microbatch_size divides minibatches, and for recurrent networks.
    """

    def __init__(self, *, policy: Callable, ob_space: gym.Space, ac_space: gym.Space, nbatch_act: int,
                nbatch_train: int, nsteps: int, ent_coef: float, vf_coef: float, max_grad_norm: float | None,
                mpi_rank_weight: float, comm: Any, microbatch_size: int, **kwargs: Any):
        """As Model."""
        if nbatch_train % microbatch_size:
            raise UsageError(f'microbatch_size={microbatch_size} must divide minibatches, of {nbatch_train} steps')
        self.nmicrobatches = nbatch_train // microbatch_size
        self.microbatch_size = microbatch_size
        super().__init__(
                policy=policy,
                ob_space=ob_space,
                ac_space=ac_space,
                nbatch_act=nbatch_act,
                nbatch_train=microbatch_size,
                nsteps=nsteps,
                ent_coef=ent_coef,
                vf_coef=vf_coef,
                max_grad_norm=max_grad_norm,
                mpi_rank_weight=mpi_rank_weight,
                comm=comm,
                **kwargs)
        if self.initial_state is not None:
            raise UsageError('microbatches are for feed-forward networks only, such as mlp or cnn')

    def train(self, lr: float, cliprange: float, obs: np.ndarray, returns: np.ndarray, masks: np.ndarray,
              actions: np.ndarray, values: np.ndarray, neglogpacs: np.ndarray, states: np.ndarray | None = None
              ) -> np.ndarray:
        """See Model.train."""
        cliprange, *arrays, noise = self.minibatch(cliprange, obs, returns, masks, actions, values, neglogpacs)
        # the noise of all states comes as often as there are samples
        noises = noise.reshape(-1, len(obs), noise.shape[-1]) if len(noise) else noise[np.newaxis]
        sum_grad_v, stats_vs = 0, []

        for microbatch_idx in range(self.nmicrobatches):
            _sli = slice(microbatch_idx * self.microbatch_size, (microbatch_idx+1) * self.microbatch_size)
            stats_v, grad_v = self.compute_lossandgrad(cliprange, *(array[_sli] for array in arrays),
                                                       noises[:, _sli].reshape(-1, noise.shape[-1]))
            sum_grad_v = sum_grad_v + grad_v
            stats_vs.append(stats_v)

        self.trainer.update(self._apply_gradients_op, lr, sum_grad_v / self.nmicrobatches)
        return np.mean(stats_vs, axis=0)
