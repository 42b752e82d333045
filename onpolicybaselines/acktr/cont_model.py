"""What a run of continuous ACKTR learns, and how it meets one environment and several ranks."""
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.paths import split_paths
from onpolicybaselines.acktr.policies import MlpPolicy
from onpolicybaselines.acktr.value_functions import NeuralNetValueFunction
from onpolicybaselines.common import saved_model, tf_util as U
from onpolicybaselines.common.checks import check_finite, check_single, check_size
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import check_fits
from onpolicybaselines.common.mpi_filter import MpiZFilter
from onpolicybaselines.common.mpi_world import allsum
from onpolicybaselines.common.policy import check_spec
from onpolicybaselines.common.prediction import batched, unbatched
from onpolicybaselines.common.spaces import space_from_json, space_to_json
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env import VecEnv, VecEnvWrapper
from onpolicybaselines.common.vec_env.steps import Obs, Step
from onpolicybaselines.version import __version__


class Model:
    """What a run learns: policy, critic `vf` and observation filter; and `optim`, the policy's optimizer, if any."""

    initial_state = None

    def __init__(self, ob_space: gym.spaces.Box, ac_space: gym.spaces.Box, policy: MlpPolicy,
                 vf: NeuralNetValueFunction, optim: KfacOptimizer | None = None):
        self.ob_space = ob_space
        self.ac_space = ac_space
        self.policy = policy
        self.vf = vf
        self.obfilter = MpiZFilter(ob_space.shape)
        self.optim = optim

    def step(self, observation: np.ndarray, S: np.ndarray | None = None, M: np.ndarray | None = None,
             stochastic: bool = True) -> tuple:
        """(actions within the bounds, None, next state, None) at observations [B, ...].

        S: the state that the last step gave, the previous filtered observations, None to begin with; M [B]: 1 where an
        episode starts; not `stochastic`: the policy's deterministic actions.
        """
        ac, ob = self._act(self.policy.act, observation, S, M, stochastic)
        return ac, None, ob, None

    def _act(self, act, observation, S, M, *args):
        ob = self.obfilter(observation, update=False)
        prev_ob = np.zeros_like(ob) if S is None else S * (1 - np.reshape(0. if M is None else M, [-1, 1]))
        return scale_action(act(np.concatenate([ob, prev_ob], -1), *args), self.ac_space), ob

    def predict(self, observation: np.ndarray, state: np.ndarray | None = None,
                episode_start: np.ndarray | None = None, deterministic: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(action within the bounds, next state) at one observation, or (actions, states) at several, as
        Stable-Baselines3's `predict`; state [B, n]: as S of `step`, episode_start [B] as its M, None: nowhere.

        Raises UsageError for observations of other shapes.
        """
        ob, is_batch = batched(self.ob_space, observation)
        ac, ob = self._act(self.policy.present_actor(not deterministic), ob, state, episode_start)
        return unbatched(ac, is_batch), ob

    def export(self, path: str | os.PathLike) -> None:
        """Write a TensorFlow SavedModel that acts as `predict` does, into a folder; see common/saved_model.py. Its
        state is that of `predict`."""
        rs, low, high = self.obfilter.rs, self.ac_space.low, self.ac_space.high
        clip = self.obfilter.clip

        def act(observation, noise, state, episode_start):
            x = (tf.cast(observation, tf.float64) - rs.mean) / (rs.std + 1e-8)
            ob = tf.cast(tf.clip_by_value(x, -clip, clip), tf.float32)
            pd = self.policy.pd(tf.concat([ob, state * (1 - episode_start[:, tf.newaxis])], axis=-1))
            ac = pd.mode() if noise is None else pd.sample(noise)
            return tf.minimum(tf.maximum(low + (ac + 1.) * 0.5 * (high - low), low), high), ob

        saved_model.write_saved_model(path, act, self.ob_space, self.policy.pdtype, self.ob_space.shape[0],
                                      self.policy.var_list)

    def arrays(self) -> dict[str, np.ndarray]:
        """Variables and filter by name, flat: what a model file holds."""
        return {**self.policy.arrays(), **self.vf.arrays(),
                **{f'obfilter/{name}': value for name, value in self.obfilter.state().items()}}

    def save(self, save_path: str | os.PathLike) -> None:
        """Write `arrays`, spaces, and how the policy was asked for, to one npz file."""
        U.save_variables(save_path, self.arrays(), {
            'kind': 'acktr_cont', 'spec': self.policy.spec, 'version': __version__,
            'observation_space': space_to_json(self.ob_space), 'action_space': space_to_json(self.ac_space),
            'critic_sees': self.policy.critic_sees})

    def load(self, load_path: str | os.PathLike) -> None:
        """Read what `save` wrote. Raises UsageError, changing nothing, if the file is of another model."""
        arrays, meta = U.load_variables(load_path)
        check_fits(load_path, meta, arrays, self.arrays())
        check_spec(load_path, meta, self.policy.spec)
        self.policy.set_arrays(arrays)
        self.vf.set_arrays(arrays)
        self.obfilter.set_state({name: arrays[f'obfilter/{name}'] for name in self.obfilter.state()})

    def state(self) -> State:
        """Of all its parts; the step size is the learning rate of `optim`."""
        return {name: part.state() for name, part in self._parts().items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of another model."""
        for name, part in self._parts().items():
            part.set_state(state[name])

    def _parts(self):
        parts = {'policy': self.policy, 'vf': self.vf, 'obfilter': self.obfilter}
        return parts if self.optim is None else {**parts, 'optim': self.optim}


def model_from(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], np_random: np.random.Generator,
               functions: Mapping[str, Callable]) -> Model:
    """A `Model` like that of a file whose description is `meta`; its arrays are still to be loaded."""
    ob_space, ac_space = (space_from_json(meta[name]) for name in ('observation_space', 'action_space'))
    policy = MlpPolicy(ob_space.shape[0], ac_space, np_random=np_random, critic_sees=meta['critic_sees'],
                       **meta['spec'], **functions)
    return Model(ob_space, ac_space, policy, NeuralNetValueFunction(ob_space.shape[0], policy.dist_dim, np_random))


def single(env: VecEnv) -> VecEnv:
    """`env` for whole episodes one after the other, see `Starts`. Raises UsageError where this learner cannot take it.
    """
    check_single(env.num_envs)
    check_size('observations', env.observation_space.shape)
    check_size('actions', env.action_space.shape)
    if not isinstance(env.observation_space, gym.spaces.Box) or len(env.observation_space.shape) != 1:
        raise UsageError(f'acktr_cont is for observations that are vectors, not {env.observation_space}: '
                         'use --alg=acktr')
    if not isinstance(env.action_space, gym.spaces.Box):
        raise UsageError(f'acktr_cont is for continuous (Box) actions, not for {env.action_space}: use --alg=acktr')
    if not env.action_space.is_bounded():
        raise UsageError('acktr_cont scales actions to the bounds of the action space, which has none')
    return Starts(env)


class Starts(VecEnvWrapper):
    """Environments whose `reset` does not throw away the start to which one has just reset itself."""

    def __init__(self, venv: VecEnv):
        super().__init__(venv)
        self.start = None

    def reset(self) -> Obs:
        """The first observations of the next episode, [1, ...]."""
        obs, self.start = self.start, None
        return self.venv.reset() if obs is None else obs

    def step_wait(self) -> Step:
        """See VecEnv.step_wait."""
        obs, rews, dones, infos = self.venv.step_wait()
        self.start = obs if dones[0] else None
        return obs, rews, dones, infos


def scale_action(ac: np.ndarray, ac_space: gym.spaces.Box) -> np.ndarray:
    """Actions of a policy, [-1, 1] to the bounds of the space, those beyond clipped.

    >>> scale_action(np.array([-1., 0., 3.]), gym.spaces.Box(0, 10, [3]))
    array([ 0.,  5., 10.])
    """
    low, high = ac_space.low, ac_space.high
    return np.minimum(np.maximum(low + (ac + 1.) * 0.5 * (high - low), low), high)


def step_one(env: VecEnv, ac: np.ndarray, t: int) -> tuple[np.ndarray, float, bool, dict]:
    """(observation, reward, whether the episode is over, info) of the only environment, the last observation too.

    t: number of the step. Raises FloatingPointError for an observation or a reward that is not finite."""
    obs, rews, dones, infos = env.step(ac[np.newaxis])
    ob = infos[0]['terminal_observation'] if dones[0] else obs[0]
    check_step(t, ob, rews[0])
    return ob, rews[0], dones[0], infos[0]


def check_step(t: int, ob: np.ndarray, rew: float = 0.) -> None:
    """Raise FloatingPointError if the reward of step t of an episode, or the observation after it, is not finite; no
    filter has seen them yet."""
    with np.errstate(over='ignore'):
        square = float(ob.dot(ob)) + float(rew) * float(rew)
    if not square < 1e76:  # numbers that float32 holds, mostly; NaN is less than nothing
        check_finite('an episode', environments=False, first=t, reward=np.array([rew]))
        check_finite('an episode', environments=False, first=t + 1, observation=ob[np.newaxis])


def add_action_dists(paths: Sequence[dict], policy: MlpPolicy) -> None:
    """Add to each path what the critic is told of the policy, from one call for all of them."""
    ac_dists = policy.action_dist(np.concatenate([path["observation"] for path in paths]),
                                  np.concatenate([path["action"] for path in paths]))
    for path, ac_dist in zip(paths, split_paths(ac_dists, paths), strict=True):
        path["action_dist"] = ac_dist


def mean_over_ranks(value: float, count: int) -> float:
    """Mean of values that are means of `count` samples each."""
    total, n = allsum(np.array([value * count, count]))
    return float(total / n)
