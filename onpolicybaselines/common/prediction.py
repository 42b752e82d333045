"""What `predict` does around a policy: one observation or several, and actions as environments get them."""
import contextlib
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from onpolicybaselines.common.errors import UsageError


def batched(space: gym.Space, observation: np.ndarray) -> tuple[np.ndarray, bool]:
    """(observations [B, *space.shape], whether they came as a batch). Raises UsageError for other shapes, and for what
    `env.reset()` of gymnasium returns, a tuple with the info."""
    if isinstance(observation, tuple):
        raise UsageError('predict takes observations, no tuple: gymnasium\'s env.reset() returns (observation, info)')
    ob = np.asarray(observation)
    if ob.shape == space.shape:
        return ob[np.newaxis], False
    if ob.shape[1:] != space.shape or ob.ndim != len(space.shape) + 1:
        raise UsageError(f'predict takes observations of shape {space.shape}, or several of them, not {ob.shape}')
    return ob, True


def unbatched(actions: np.ndarray, is_batch: bool) -> np.ndarray:
    """The actions as a batch, or the only one."""
    return actions if is_batch else actions[0, ...]


def in_bounds(space: gym.Space, actions: Any) -> Any:
    """Actions as `ClipActionsWrapper` hands them on."""
    if not isinstance(space, gym.spaces.Box):
        return actions
    return np.minimum(np.maximum(actions, space.low), space.high)


def policy_of(model: Any) -> Any:
    """What draws the actions of what a `learn` returns: a `Policy`."""
    return getattr(model, 'pi', getattr(model, 'policy', model))


@contextlib.contextmanager
def own_noise(model: Any, np_random: np.random.Generator) -> Iterator[None]:
    """Within, the model's actions are drawn from this generator."""
    pi = policy_of(model)
    before, pi.np_random = pi.np_random, np_random
    try:
        yield
    finally:
        pi.np_random = before
