"""Batches of experience with n-step returns (upstream a2c/runner.py)."""
from collections.abc import Mapping
from typing import Any

import numpy as np
from onpolicybaselines.a2c.utils import discount_with_dones
from onpolicybaselines.common.runners import AbstractEnvRunner

from onpolicybaselines.common.checks import check_finite
from onpolicybaselines.common.rollouts import Episodes, acting, values_beyond
from onpolicybaselines.common.state import State
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
        self.batch_action_shape = (-1, *env.action_space.shape)
        self.step_by_step = self.states is not None or len(env.observation_space.shape) == 3
        self.episodes = Episodes(self.nenv)

    def run(self) -> tuple:
        """The next batch, of B = nenv * nsteps steps, one environment after the other.

        Returns (obs, states, returns, masks, actions, values, epinfos): arrays [B, ...], but states, those of the model
        before the first steps [nenv, n] or None; masks: the step is the first of an episode; epinfos: {'r': return,
        'l': length} of the episodes that ended. Returns are discounted rewards, up to the end of the episode or to the
        last step, after which the value of the last observation goes on.
        Raises FloatingPointError if an observation, action or reward is not finite.
        """
        mb_obs, mb_rewards, mb_actions, mb_values, mb_dones = [],[],[],[],[]
        mb_states = self.states
        epinfos = []
        step = self.model.step if self.step_by_step else acting(self.model)
        for _ in range(self.nsteps):
            actions, values, states, _ = step(self.obs, S=self.states, M=self.dones)

            mb_obs.append(np.copy(self.obs))
            mb_actions.append(actions)
            mb_values.append(values)
            mb_dones.append(self.dones)

            try:
                obs, rewards, dones, infos = self.env.step(actions)
            except Exception:
                check_finite('the batch', observation=np.array(mb_obs)) # it makes the actions that they fail at
                raise
            self.episodes.note(rewards, dones, infos)
            for info in infos:
                maybeepinfo = info.get('episode')
                if maybeepinfo: epinfos.append(maybeepinfo)
            if self.bootstrap_truncated:
                rewards = rewards + self.gamma * values_beyond(self.model, dones, infos, states)
            self.states = states
            self.dones = dones
            self.obs = obs
            mb_rewards.append(rewards)
        mb_dones.append(self.dones)
        mb_obs, mb_rewards, mb_actions = map(np.array, ([*mb_obs, self.obs], mb_rewards, mb_actions))
        check_finite('the batch', observation=mb_obs, action=mb_actions, reward=mb_rewards)

        # Discount/bootstrap off value fn
        if self.step_by_step:
            last_values = self.model.value(self.obs, S=self.states, M=self.dones)
        else:
            *mb_values, last_values = self.model.value(mb_obs).reshape(-1, self.nenv)
        mb_rewards = discount_with_dones([*mb_rewards, last_values], [*mb_dones[1:], self.dones], self.gamma)[:-1]
        check_finite('the batch', **{'return': np.array(mb_rewards)})

        # Batch of steps to batch of rollouts
        mb_obs = mb_obs[:-1].swapaxes(1, 0).reshape(self.batch_ob_shape)
        mb_rewards = np.asarray(mb_rewards, dtype=np.float32).swapaxes(1, 0)
        mb_actions = mb_actions.swapaxes(1, 0)
        mb_values = np.asarray(mb_values).swapaxes(1, 0)
        mb_masks = np.asarray(mb_dones[:-1]).swapaxes(1, 0)

        mb_actions = mb_actions.reshape(self.batch_action_shape)

        mb_rewards = mb_rewards.flatten()
        mb_values = mb_values.flatten()
        mb_masks = mb_masks.flatten()
        return mb_obs, mb_states, mb_rewards, mb_masks, mb_actions, mb_values, epinfos

    def state(self) -> State:
        """What the next batch begins with; the environments and the model have states of their own."""
        return {**super().state(), 'episodes': self.episodes.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; raises ValueError if it is of other environments or another model."""
        super().set_state(state)
        self.episodes.set_state(state['episodes'])
