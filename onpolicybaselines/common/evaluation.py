"""How good a policy is: the returns of whole episodes that it does not learn from."""
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import tensorflow_probability as tfp

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.rollouts import Episodes
from onpolicybaselines.common.state import generator_state, global_generators, set_generator_state
from onpolicybaselines.common.vec_env import VecEnv, VecNormalize, as_vec_env


def evaluate_policy(model: Any, env: gym.Env | gym.vector.VectorEnv | VecEnv, n_eval_episodes: int = 10,
                    deterministic: bool = True, render: bool = False, callback: Callable | None = None,
                    reward_threshold: float | None = None, return_episode_rewards: bool = False,
                    warn: bool = True) -> tuple[float, float] | tuple[list[float], list[int]]:
    """(mean, standard deviation) of the returns of n_eval_episodes episodes of `model.predict`; or all (returns,
    lengths) with return_episode_rewards. Arguments and result are those of Stable-Baselines3's function of this name.

    env: as `learn` takes it; returns are raw where a Monitor inside knows them, and games are whole ones. Outermost, a
    VecNormalize is left out: `predict` normalises by what the model has learned. Each environment plays its share of
    the episodes, as the first ones to end would be the short ones.
    callback: called with (locals(), globals()) for each environment after each step; warn: say in the log that a
    single environment has no Monitor. Raises UsageError where the mean is not above reward_threshold.
    """
    if warn and isinstance(env, gym.Env) and not _is_monitored(env):
        logger.warn('The environment has no Monitor: if wrappers change rewards or ends of episodes, so do the returns')
    env = as_vec_env(env)
    while isinstance(env, VecNormalize):
        env = env.venv
    n_envs = env.num_envs
    episodes, episode_rewards, episode_lengths = Episodes(n_envs), [], []
    episode_counts = np.zeros(n_envs, int)
    episode_count_targets = (n_eval_episodes + np.arange(n_envs)) // n_envs
    observations, states, episode_starts = env.reset(), None, np.ones(n_envs)
    while (episode_counts < episode_count_targets).any():
        actions, states = model.predict(observations, state=states, episode_start=episode_starts,
                                        deterministic=deterministic)
        observations, rewards, dones, infos = env.step(actions)
        episode_starts = np.asarray(dones, float)
        episodes.note(rewards, dones, infos)
        for i in np.flatnonzero(episode_counts < episode_count_targets):
            reward, done, info = rewards[i], dones[i], infos[i]  # noqa: F841, a callback reads them
            if callback is not None:
                callback(locals(), globals())
            if done and 'episode' in info:
                episode_rewards.append(float(info['episode']['r']))
                episode_lengths.append(int(info['episode']['l']))
                episode_counts[i] += 1
        if render:
            env.render(env.render_mode or 'human')
    mean_reward = float(np.mean(episode_rewards))
    if reward_threshold is not None and not mean_reward > reward_threshold:
        raise UsageError(f'the mean return {mean_reward:.2f} is not above {reward_threshold:.2f}')
    if return_episode_rewards:
        return episode_rewards, episode_lengths
    return mean_reward, float(np.std(episode_rewards))


def _is_monitored(env):
    from onpolicybaselines.bench.monitor import Monitor
    while isinstance(env, gym.Wrapper):
        if isinstance(env, Monitor):
            return True
        env = env.env
    return False


def summary(returns: list[float], lengths: list[int]) -> dict[str, Any]:
    """What is said of an evaluation, for JSON: the mean return with its 95 % interval, by Student's t distribution
    (None for less than three episodes), the standard deviation, all returns and lengths.

    >>> {name: value for name, value in summary([1., 2., 3.], [5, 5, 5]).items() if name != 'std'}
    {'episodes': 3, 'mean': 2.0, 'interval': [-0.484, 4.484], 'returns': [1.0, 2.0, 3.0], 'lengths': [5, 5, 5]}
    """
    n, mean, interval = len(returns), float(np.mean(returns)), None
    if n >= 3:
        half = _t(n - 1) * float(np.std(returns, ddof=1)) / np.sqrt(n)
        interval = [round(float(mean - half), 3), round(float(mean + half), 3)]
    return {'episodes': n, 'mean': mean, 'std': float(np.std(returns)), 'interval': interval,
            'returns': list(map(float, returns)), 'lengths': list(map(int, lengths))}


@functools.cache
def _t(degrees):
    """The 97.5 % quantile of Student's t distribution."""
    return float(tfp.distributions.StudentT(np.float64(degrees), np.float64(0), np.float64(1)).quantile(0.975))


def in_words(result: Mapping[str, Any]) -> str:
    """A `summary` as a line.

    >>> in_words(summary([1., 2., 3.], [5, 5, 5]))
    'mean return 2 ± 0.82 (95 % interval of the mean -0.48 to 4.48), 3 episodes'
    """
    interval = result['interval']
    between = '' if interval is None else ' (95 % interval of the mean {:.2f} to {:.2f})'.format(*interval)
    return f'mean return {result["mean"]:.6g} ± {result["std"]:.2f}{between}, {result["episodes"]} episodes'


@contextlib.contextmanager
def kept_generators() -> Iterator[None]:
    """Within, what draws from the generators of numpy and of `random` that belong to nobody leaves no trace."""
    generators = global_generators().values()
    states = [generator_state(generator) for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            set_generator_state(generator, state)
