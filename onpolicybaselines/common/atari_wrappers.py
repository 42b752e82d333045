"""Atari games as the DeepMind papers preprocess them. Needs the extra `atari`: ale-py and opencv."""
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TransformObservation, TransformReward

from onpolicybaselines.common.atari_games import make_game


class FireResetEnv(gym.Wrapper):
    """Presses FIRE at each reset, for games that stand still until then.

    Source: openai/baselines `common/atari_wrappers.py`.
    """

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        """Reset, then take actions 1 (FIRE) and 2."""
        obs, info = self.env.reset(**kwargs)
        for action in (1, 2):
            obs, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                obs, info = self.env.reset()
        return obs, info


class EpisodicLifeEnv(gym.Wrapper):
    """Ends the episode (terminated) when a life is lost, but resets the game only when it is over.

    Source: openai/baselines `common/atari_wrappers.py`.
    """

    def __init__(self, env: gym.Env) -> None:
        gym.Wrapper.__init__(self, env)
        self.lives = 0
        self.was_real_done = True

    def step(self, action: int) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict]:
        """Step; losing a life but the last terminates."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.was_real_done = terminated or truncated
        lives = self.env.unwrapped.ale.lives()
        if lives < self.lives and lives > 0:  # with none left some games go on for a few frames, then end by themselves
            terminated = True
        self.lives = lives
        return obs, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        """Start a new game if the last one is over or a seed is given, else go on with it after a NOOP."""
        over = self.was_real_done or kwargs.get('seed') is not None
        if not over:
            obs, _, terminated, truncated, info = self.env.step(0)
            over = terminated or truncated
        if over:
            obs, info = self.env.reset(**kwargs)
        self.was_real_done = False
        self.lives = self.env.unwrapped.ale.lives()
        return obs, info


def make_atari(env_id: str, max_episode_steps: int | None = None, **env_kwargs: Any) -> gym.Env:
    """An Atari game in steps of 4 frames, with up to 30 NOOPs at reset and observations uint8 [84, 84, 1].

    The steps are the same whatever the id skips by itself, as ALE/Pong-v5 does. How often the game takes the action
    before again is the id's: with probability 0.25 in each frame for v5, never for NoFrameskip-v4, upstream's.
    max_episode_steps counts these steps; None leaves the game's own limit. env_kwargs go to gymnasium.make.
    UsageError for an id that is no game; ImportError without ale-py or opencv.
    Source: openai/baselines `common/atari_wrappers.py`.
    """
    env = AtariPreprocessing(make_game(env_id, **env_kwargs), noop_max=30, frame_skip=4, screen_size=84,
                             grayscale_newaxis=True)
    if max_episode_steps is not None:
        env = gym.wrappers.TimeLimit(env, max_episode_steps=max_episode_steps)
    return env


def wrap_deepmind(env: gym.Env, episode_life: bool = True, clip_rewards: bool = True,
                  frame_stack: bool = False, scale: bool = False) -> gym.Env:
    """DeepMind's further treatment of an environment of make_atari.

    episode_life: a lost life ends the episode. clip_rewards: rewards become their signs. frame_stack: the last 4
    frames as channels, [84, 84, 4]. scale: observations become float32 in [0, 1].
    Source: openai/baselines `common/atari_wrappers.py`.
    """
    if episode_life:
        env = EpisodicLifeEnv(env)
    if 'FIRE' in env.unwrapped.get_action_meanings():
        env = FireResetEnv(env)
    if scale:
        env = TransformObservation(env, lambda ob: ob.astype(np.float32) / 255.,
                                   gym.spaces.Box(0., 1., env.observation_space.shape, np.float32))
    if clip_rewards:
        env = TransformReward(env, np.sign)
    if frame_stack:
        space = env.observation_space
        env = TransformObservation(FrameStackObservation(env, 4), lambda obs: np.concatenate(obs, axis=-1),
                                   gym.spaces.Box(space.low.min(), space.high.max(),
                                                  space.shape[:-1] + (4 * space.shape[-1],), space.dtype))
    return env
