"""What runners have in common: acting without TensorFlow, episodes and what lies beyond them, ranks put together."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from onpolicybaselines.common.checks import check_finite
from onpolicybaselines.common.mpi_world import allgather_arrays
from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.vec_env import VecEnv
from onpolicybaselines.common.vec_env.steps import Step


def acting(model: Any) -> Callable:
    """`model.step` at the present parameters without TensorFlow, for a model that remembers nothing; no values."""
    actor = model.actor()

    def step(observation, S=None, M=None):
        return actor(observation), None, S, None
    return step


def collect(env: VecEnv, actor: Callable, noise: np.ndarray, obs: np.ndarray, news: np.ndarray, acs: np.ndarray,
            rews: np.ndarray) -> dict[tuple[int, np.intp], dict]:
    """Step N environments T times; returns by (t, n) the info of each step at which an episode ended.

    noise: [T, N, ...], which `actor` takes beside observations, and may overwrite. Filled in are obs and news
    [T + 1, N, ...] after their first, and acs and rews [T, N, ...].
    An environment with a method `advance`, as NativeVecEnv has, takes as many steps at a time as it likes.
    """
    advance = getattr(type(env), 'advance', one_step)  # of its own: wrappers hand on what is inside
    ended, t = {}, 0
    while t < len(rews):
        try:
            n, (ob, rew, new, infos) = advance(env, actor, noise[t:], obs[t:], acs[t:], rews[t:])
        except Exception:
            check_finite('the batch', ob=obs[:t + 1])  # it makes the actions that they fail at
            raise
        t += n
        obs[t], news[t], rews[t - 1] = ob, new, rew
        for i in np.flatnonzero(news[t]):
            ended[t - 1, i] = infos[i]
    return ended


def one_step(env: VecEnv, actor: Callable, noise: np.ndarray, obs: np.ndarray, acs: np.ndarray, rews: np.ndarray
             ) -> tuple[int, Step]:
    """(1, what `env.step` gives); see `collect`."""
    acs[0] = ac = actor(obs[0], noise=noise[0])
    return 1, env.step(ac)


def is_episode(info: Mapping[str, Any]) -> bool:
    """Whether what ended with this info was an episode, and not only a life of a game that goes on, as in Atari.

    A Monitor inside says so; without one, a game that has lives left goes on unless a time limit cut it.
    """
    return 'episode' in info or not info.get('lives') or info.get('TimeLimit.truncated', False)


class Episodes:
    """Return and length so far of the episode in each of `nenv` environments."""

    def __init__(self, nenv: int):
        self.ep_ret = np.zeros(nenv)
        self.ep_len = np.zeros(nenv, int)

    def note(self, rewards: np.ndarray, dones: Sequence | np.ndarray, infos: list[dict]) -> None:
        """Take in a step; an episode that ended has {'r': return, 'l': length} as `info['episode']` from now on.

        Where a `Monitor` inside wrote it, it stays: that knows the raw return.
        """
        self.ep_ret += rewards
        self.ep_len += 1
        for n, done in enumerate(dones):
            if done and is_episode(infos[n]):
                infos[n].setdefault('episode', {'r': self.ep_ret[n], 'l': int(self.ep_len[n])})
                self.ep_ret[n] = self.ep_len[n] = 0

    def state(self) -> State:
        """Both, by name."""
        return {'ep_ret': self.ep_ret.copy(), 'ep_len': self.ep_len.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError for another number of environments."""
        check_shapes('episodes', state, self.state())
        self.ep_ret, self.ep_len = state['ep_ret'].copy(), state['ep_len'].copy()


def values_beyond(model: Any, dones: ArrayLike, infos: list[dict], states: np.ndarray | None) -> np.ndarray:
    """[nenv], the values of the last observations of episodes that a time limit cut, else 0.

    states: of the model, after the step.
    """
    values = np.zeros(len(infos))
    cut = [n for n in np.flatnonzero(dones) if infos[n].get('TimeLimit.truncated')]
    if cut:
        obs = np.array([infos[n]['terminal_observation'] for n in cut])
        values[cut] = model.value(obs, S=None if states is None else states[cut])
    return values


def gather(*vectors: ArrayLike) -> list[np.ndarray]:
    """Vectors of one length, which may be another on each MPI rank: each that of all ranks in one, on every rank."""
    return [np.concatenate(parts) for parts in zip(*allgather_arrays(vectors), strict=True)]


def gather_episodes(epinfos: Sequence[dict]) -> list[dict]:
    """{'r': return, 'l': length} of the episodes of all MPI ranks, on every rank."""
    rews, lens = gather([epinfo['r'] for epinfo in epinfos], [epinfo['l'] for epinfo in epinfos])
    return [{'r': float(rew), 'l': int(length)} for rew, length in zip(rews, lens, strict=True)]
