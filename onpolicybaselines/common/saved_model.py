"""Policies as TensorFlow SavedModels, which act without this package.

Signatures: `serving_default` (observation) -> action, the deterministic one; `sample` (observation, seed [2]) ->
action, drawn by `tf.random.stateless_*`. A policy with a memory also takes `state` [B, n], zeros to begin with, and
`episode_start` [B], 1 where an episode starts, and also gives the next `state`. B: batch, of any size. Observations are
those of the environment, in its type; filters and the statistics of a VecNormalize are inside; actions are within the
bounds of the space. A family of distributions with a `noise` of its own and no `stateless_noise` has no `sample`.
"""
import os
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.common.sampling import NoisePdType


def write_saved_model(path: str | os.PathLike, act: Callable, observation_space: gym.Space, pdtype: NoisePdType,
                      state_size: int | None, variables: Sequence[Any]) -> None:
    """Write `act`(observation, noise or None, *(state, episode_start)) -> (action, next state or None) into a folder.

    state_size: n of a policy with a memory, else None; variables: all that `act` reads. Raises OSError.
    """
    inputs = [tf.TensorSpec([None, *(observation_space.shape or ())], observation_space.dtype, 'observation')]
    state = [] if state_size is None else [tf.TensorSpec([None, state_size], tf.float32, 'state'),
                                           tf.TensorSpec([None], tf.float32, 'episode_start')]

    def outputs(action, state):
        return {'action': action} if state is None else {'action': action, 'state': state}

    def deterministic(observation, *state):
        return outputs(*act(observation, None, *state))

    def sample(observation, seed, *state):
        return outputs(*act(observation, pdtype.stateless_noise(seed, tf.shape(observation)[0]), *state))

    module = tf.Module()
    module.read = list(variables)  # TensorFlow keeps what it finds in attributes
    signatures = {'serving_default': _traced(deterministic, *inputs, *state)}
    if _owner(pdtype, 'noise') is _owner(pdtype, 'stateless_noise'):
        signatures['sample'] = _traced(sample, *inputs, tf.TensorSpec([2], tf.int32, 'seed'), *state)
    tf.saved_model.save(module, os.path.expanduser(path), signatures=signatures)


def _owner(pdtype, name):
    return next(cls for cls in type(pdtype).__mro__ if name in vars(cls))


def _traced(f, *inputs):
    return tf.function(f, input_signature=inputs, autograph=False).get_concrete_function()


def normalized(ob: tf.Tensor, normalizer: Any) -> tf.Tensor:
    """`vec_env.normalizing.normalize` of a tensor."""
    rms = normalizer.ob_rms
    x = (tf.cast(ob, tf.float64) - rms.mean) / np.sqrt(rms.var + normalizer.epsilon)
    return tf.cast(tf.clip_by_value(x, -normalizer.clipob, normalizer.clipob), normalizer.observation_space.dtype)


def in_bounds(space: gym.Space, actions: tf.Tensor) -> tf.Tensor:
    """`prediction.in_bounds` of a tensor."""
    if not isinstance(space, gym.spaces.Box):
        return actions
    dtype = np.result_type(actions.dtype.as_numpy_dtype, space.low)
    low, high = (tf.constant(bound, dtype) for bound in (space.low, space.high))
    return tf.minimum(tf.maximum(tf.cast(actions, dtype), low), high)
