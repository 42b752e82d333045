"""What TRPO learns from: segments of experience, from an object that can say where it stands."""
from collections.abc import Iterator, Mapping

import numpy as np

from onpolicybaselines.common.checks import check_divides, check_finite
from onpolicybaselines.common.learning import sf01
from onpolicybaselines.common.policies import PolicyWithValue
from onpolicybaselines.common.rollouts import collect, is_episode
from onpolicybaselines.common.state import State, check_shapes
from onpolicybaselines.common.vec_env import VecEnv


class Segments(Iterator[dict]):
    """Endless segments of `horizon` steps, T of each of N environments, as dicts of arrays [T, N, ...].

    ob, ac, rew; new: the step is the first of an episode; vpred: values of ob; nextvpred [N]: value of what follows
    the last step, 0 if an episode ended there; finalvpred: value of the last observation of an episode that a time
    limit cut at this step, else 0; prevac: the action before; ep_rets, ep_lens: returns and lengths of the episodes
    that ended, of games that have lives those of the whole games.
    The environments are reset when the first segment is asked for. With their state, and that of the policy, `state()`
    is all it takes to go on.
    Raises UsageError unless N divides the horizon; `next` raises FloatingPointError if an observation, action or reward
    is not finite.
    """

    def __init__(self, pi: PolicyWithValue, env: VecEnv, horizon: int, stochastic: bool):
        self.pi = pi
        self.env = env
        self.stochastic = stochastic
        check_divides(env.num_envs, timesteps_per_batch=horizon)
        self.T = horizon // env.num_envs
        # actors give floats for Boxes of integers
        self.ac_dtype = np.result_type(env.action_space.dtype, pi.pdtype.sample_dtype().as_numpy_dtype)
        self.ob = None

    def _begin(self):
        # Initialize state variables
        env = self.env
        self.ac = np.array([env.action_space.sample() for _ in range(env.num_envs)])
        self.new = np.ones(env.num_envs, 'int32')
        self.ob = env.reset()

        self.cur_ep_ret = np.zeros(env.num_envs)
        self.cur_ep_len = np.zeros(env.num_envs, int)

    def __next__(self) -> dict:
        if self.ob is None:
            self._begin()
        env, T, N = self.env, self.T, self.env.num_envs
        # Initialize history arrays
        obs = np.empty((T + 1, *self.ob.shape), self.ob.dtype)
        rews = np.empty((T, N))
        news = np.zeros((T + 1, N), 'int32')
        acs = np.empty((T + 1, *self.ac.shape), self.ac_dtype)
        # the first are the last of the segment before
        obs[0], news[0], acs[0] = self.ob, self.new, self.ac

        noise = self.pi.noise(T * N).reshape(T, N, -1)
        ended = collect(env, self.pi.actor(self.stochastic), noise, obs, news, acs[1:], rews)
        self.ac, self.new, self.ob = acs[-1].copy(), news[-1].copy(), obs[-1].copy()

        check_finite('the segment', ob=obs, ac=acs[1:], rew=rews)
        seg = {"ob": obs[:-1], "rew": rews.astype('float32'), "new": news[:-1], "ac": acs[1:], "prevac": acs[:-1]}
        self._add_episodes(seg, rews, ended)
        self._add_values(seg, obs, ended)
        return seg

    def _add_episodes(self, seg, rews, ended):
        seg["ep_rets"], seg["ep_lens"] = [], []
        # of the episode so far, before each step and after the last
        rets = np.cumsum(np.vstack([self.cur_ep_ret, rews]), axis=0)
        for (i, n), info in ended.items():
            if not is_episode(info):
                continue
            # a Monitor inside knows the raw return, whatever scales the rewards further out
            seg["ep_rets"].append(info.get('episode', {}).get('r', rets[i+1, n]))
            seg["ep_lens"].append(int(self.cur_ep_len[n]) + i+1)
            rets[i+1:, n] -= rets[i+1, n]
            self.cur_ep_len[n] = -(i+1)
        self.cur_ep_ret = rets[-1]
        self.cur_ep_len += self.T

    def _add_values(self, seg, obs, ended):
        vpred = self.pi.value(obs).reshape(len(obs), -1)
        seg["vpred"], seg["nextvpred"] = vpred[:-1], vpred[-1] * (1 - self.new)
        seg["finalvpred"] = np.zeros_like(seg["vpred"])
        cut = {at: info['terminal_observation'] for at, info in ended.items() if info.get('TimeLimit.truncated')}
        if cut:
            seg["finalvpred"][tuple(np.transpose(list(cut)))] = self.pi.value(np.array(list(cut.values())))

    def state(self) -> State:
        """Last observation and action, whether an episode begins, returns and lengths so far; {} before the first
        segment."""
        if self.ob is None:
            return {}
        return {name: np.array(getattr(self, name)) for name in ('ac', 'new', 'ob', 'cur_ep_ret', 'cur_ep_len')}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        if not state:
            self.ob = None
            return
        N = self.env.num_envs
        shapes = {'ac': (N, *self.env.action_space.shape), 'ob': (N, *self.env.observation_space.shape),
                  'new': (N,), 'cur_ep_ret': (N,), 'cur_ep_len': (N,)}
        check_shapes('Segments', state, {name: np.empty(shape) for name, shape in shapes.items()})
        for name in shapes:
            setattr(self, name, np.array(state[name]))


def flatten(seg: dict) -> None:
    """Turn the arrays [T, N, ...] of a segment into [N * T, ...], one environment after the other."""
    for name, array in seg.items():
        if name not in ("nextvpred", "ep_rets", "ep_lens"):
            seg[name] = sf01(array)
