"""Batches of experience with advantages by GAE (upstream ppo2/runner.py)."""
from collections.abc import Mapping
from typing import Any

import numpy as np
from onpolicybaselines.common.runners import AbstractEnvRunner

from onpolicybaselines.common.checks import check_finite
from onpolicybaselines.common.learning import sf01
from onpolicybaselines.common.math_util import discount_with_boundaries
from onpolicybaselines.common.rollouts import Episodes, acting, values_beyond
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env import VecEnv


class Runner(AbstractEnvRunner):
    """Rolls out `model` for nsteps steps of every environment at a time.

    Actions are those of `model.actor` without TensorFlow, values and probabilities of a batch then one call each; where
    a model remembers, or sees images, whose convolutions policy and value function may share, they are those of
    `model.step`.
    gamma: discount; lam: lambda of GAE; bootstrap_truncated: value what lies beyond a time limit; upstream takes a time
    limit for an end.
    """

    def __init__(self, *, env: VecEnv, model: Any, nsteps: int, gamma: float, lam: float,
                 bootstrap_truncated: bool = False):
        super().__init__(env=env, model=model, nsteps=nsteps)
        self.lam = lam
        self.gamma = gamma
        self.bootstrap_truncated = bootstrap_truncated
        self.step_by_step = self.states is not None or len(env.observation_space.shape) == 3
        self.episodes = Episodes(self.nenv)

    def run(self) -> tuple:
        """The next batch, of B = nenv * nsteps steps, one environment after the other.

        Returns (obs, returns, masks, actions, values, neglogpacs, states, epinfos): arrays [B, ...], but states, those
        of the model before the first steps [nenv, n] or None; masks: the step is the first of an episode; epinfos:
        {'r': return, 'l': length} of the episodes that ended. Returns are values + advantages (Schulman et al. 2016).
        Raises FloatingPointError if an observation, action or reward is not finite.
        """
        mb_obs, mb_rewards, mb_actions, mb_values, mb_dones, mb_neglogpacs = [],[],[],[],[],[]
        mb_states = self.states
        epinfos = []
        step = self.model.step if self.step_by_step else acting(self.model)
        for _ in range(self.nsteps):
            actions, values, self.states, neglogpacs = step(self.obs, S=self.states, M=self.dones)
            mb_obs.append(self.obs.copy())
            mb_actions.append(actions)
            mb_values.append(values)
            mb_neglogpacs.append(neglogpacs)
            mb_dones.append(self.dones)

            try:
                self.obs, rewards, self.dones, infos = self.env.step(actions)
            except Exception:
                check_finite('the batch', observation=np.array(mb_obs)) # it makes the actions that they fail at
                raise
            self.episodes.note(rewards, self.dones, infos)
            for info in infos:
                maybeepinfo = info.get('episode')
                if maybeepinfo: epinfos.append(maybeepinfo)
            if self.bootstrap_truncated:
                rewards = rewards + self.gamma * values_beyond(self.model, self.dones, infos, self.states)
            mb_rewards.append(rewards)
        #batch of steps to batch of rollouts
        mb_obs = np.asarray([*mb_obs, self.obs], dtype=self.obs.dtype)
        mb_actions = np.asarray(mb_actions)
        check_finite('the batch', observation=mb_obs, action=mb_actions, reward=np.asarray(mb_rewards))
        mb_rewards = np.asarray(mb_rewards, dtype=np.float32)
        mb_dones = np.asarray([*mb_dones, self.dones], dtype=bool)
        if self.step_by_step:
            mb_values = np.asarray([*mb_values, self.model.value(self.obs, S=self.states, M=self.dones)])
            mb_neglogpacs = np.asarray(mb_neglogpacs)
        else:
            mb_values = self.model.value(mb_obs).reshape(-1, self.nenv)
            mb_neglogpacs = self.model.neglogp(mb_obs[:-1], mb_actions).reshape(-1, self.nenv)

        # discount/bootstrap off value fn
        with np.errstate(over='ignore', invalid='ignore'): # said by the check
            mb_delta = mb_rewards + self.gamma * mb_values[1:] * ~mb_dones[1:] - mb_values[:-1]
            mb_advs = discount_with_boundaries(mb_delta, mb_dones[:-1], self.gamma * self.lam)
            mb_returns = mb_advs + mb_values[:-1]
        check_finite('the batch', **{'return': mb_returns})
        return (*map(sf01, (mb_obs[:-1], mb_returns, mb_dones[:-1], mb_actions, mb_values[:-1], mb_neglogpacs)),
            mb_states, epinfos)

    def state(self) -> State:
        """What the next batch begins with; the environments and the model have states of their own."""
        return {**super().state(), 'episodes': self.episodes.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of other environments or another model."""
        super().set_state(state)
        self.episodes.set_state(state['episodes'])
