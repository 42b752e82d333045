"""Batches of experience with n-step returns (upstream a2c/runner.py)."""
from collections.abc import Sequence
from typing import Any

import numpy as np

from onpolicybaselines.a2c.utils import discount_with_dones
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.mpi_util import allgather
from onpolicybaselines.common.runners import AbstractEnvRunner
from onpolicybaselines.common.vec_env import VecEnv


class Runner(AbstractEnvRunner):
    """Rolls out `model` for nsteps steps of every environment at a time.

    Actions are those of `model.actor` without TensorFlow, the values of a batch then one call; where a model remembers,
    or sees images, whose convolutions policy and value function may share, they are those of `model.step`.
    gamma: discount; bootstrap_truncated: value what lies beyond a time limit; upstream takes a time limit for an end.
    """

    def __init__(self, env: VecEnv, model: Any, nsteps: int = 5, gamma: float = 0.99,
                 bootstrap_truncated: bool = False):
        super().__init__(env=env, model=model, nsteps=nsteps)
        self.gamma = gamma
        self.bootstrap_truncated = bootstrap_truncated
        self.step_by_step = self.states is not None or len(env.observation_space.shape) == 3
        self.ep_ret = np.zeros(self.nenv)
        self.ep_len = np.zeros(self.nenv, int)

    def run(self) -> tuple:
        """The next batch, of B = nenv * nsteps steps, one environment after the other.

        Returns (obs, states, returns, masks, actions, values, epinfos): arrays [B, ...], but states, those of the model
        before the first steps [nenv, n] or None; masks: the step is the first of an episode; epinfos: {'r': return,
        'l': length} of the episodes that ended. Returns are discounted rewards, up to the end of the episode or to the
        last step, after which the value of the last observation goes on.
        Raises FloatingPointError if an observation, action or reward is not finite.
        """
        mb_obs, mb_rewards, mb_actions, mb_values, mb_dones = [], [], [], [], []
        mb_states = self.states
        epinfos = []
        actor = None if self.step_by_step else self.model.actor()
        for _ in range(self.nsteps):
            actions, values = (actor(self.obs), None) if actor else self._step()

            mb_obs.append(self.obs)
            mb_actions.append(actions)
            mb_values.append(values)
            mb_dones.append(self.dones)

            self.obs, rewards, self.dones, infos = self.env.step(actions)
            epinfos += self._ended_episodes(rewards, infos)
            if self.bootstrap_truncated:
                rewards = rewards + self.gamma * self._values_beyond(infos)
            mb_rewards.append(rewards)
        mb_dones.append(self.dones)
        mb_obs, mb_rewards, mb_actions = map(np.array, ([*mb_obs, self.obs], mb_rewards, mb_actions))
        _check_finite(observation=mb_obs, action=mb_actions, reward=mb_rewards)

        # Discount/bootstrap off value fn
        if actor:
            *mb_values, last_values = self.model.value(mb_obs).reshape(-1, self.nenv)
        else:
            last_values = self.model.value(self.obs, S=self.states, M=self.dones)
        mb_returns = discount_with_dones([*mb_rewards, last_values], [*mb_dones[1:], self.dones], self.gamma)[:-1]

        # Batch of steps to batch of rollouts
        mb_obs, mb_returns, mb_masks, mb_actions, mb_values = map(
            sf01, (mb_obs[:-1], mb_returns, mb_dones[:-1], mb_actions, mb_values))
        return mb_obs, mb_states, mb_returns.astype('float32'), mb_masks, mb_actions, mb_values, epinfos

    def _step(self):
        actions, values, self.states, _ = self.model.step(self.obs, S=self.states, M=self.dones)
        return actions, values

    def _ended_episodes(self, rewards, infos):
        """A Monitor inside knows the raw return; an Atari life that ends without one is no episode."""
        self.ep_ret += rewards
        self.ep_len += 1
        epinfos = []
        for n in np.flatnonzero(self.dones):
            if 'episode' in infos[n] or not infos[n].get('lives'):
                epinfos.append(infos[n].get('episode', {'r': self.ep_ret[n], 'l': int(self.ep_len[n])}))
                self.ep_ret[n] = self.ep_len[n] = 0
        return epinfos

    def _values_beyond(self, infos):
        """[nenv], of the last observations of episodes that a time limit cut, else 0."""
        values = np.zeros(self.nenv)
        cut = [n for n in np.flatnonzero(self.dones) if infos[n].get('TimeLimit.truncated')]
        if cut:
            obs = np.array([infos[n]['terminal_observation'] for n in cut])
            values[cut] = self.model.value(obs, S=None if self.states is None else self.states[cut])
        return values

def sf01(arr: Sequence) -> np.ndarray:
    """[T, N, ...] as [N * T, ...], one environment after the other."""
    arr = np.asarray(arr).swapaxes(0, 1)
    return arr.reshape(-1, *arr.shape[2:])

def _check_finite(**batch):
    for name, array in batch.items():
        if not np.isfinite(array).all():
            t, n = np.argwhere(~np.isfinite(array))[0][:2]
            raise FloatingPointError(f'{name} is not finite at step {t} of the batch, environment {n}: {array[t, n]}')

def gather(batch: Sequence) -> Sequence:
    """The lists or arrays of all MPI ranks in one, on every rank."""
    batches = allgather(batch)
    return np.concatenate(batches) if isinstance(batch, np.ndarray) else sum(batches, [])

def number_of_updates(total_timesteps: int, nbatch: int) -> int:
    """How many batches of nbatch steps there are in a run. Raises UsageError for a run that is too short for one."""
    if 0 < total_timesteps < nbatch:
        raise UsageError(f'total_timesteps={total_timesteps} is less than one batch of {nbatch} steps: nsteps of every '
                         'environment')
    return total_timesteps // nbatch
