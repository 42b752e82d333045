"""What the tests of several algorithms share: environments, and what passes between them and a runner."""
import gymnasium as gym
import numpy as np

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.vec_env import VecEnvWrapper

NENV, NSTEPS = 3, 6  # of the runners


def vec_env(env_id='CartPole-v1', n=4, seed=0, wrap=lambda env: env):
    def make(i):
        env = gym.make(env_id)
        env.reset(seed=i)
        env.action_space.seed(i)
        return wrap(env)
    return DummyVecEnv([lambda i=i: make(seed + i) for i in range(n)])


def theta_of(model):
    return U.GetFlat(model.params)()


class Record(VecEnvWrapper):
    """Keeps what passes: (actions, observations, rewards, dones, infos) of each step, and the first observations."""

    def reset(self):
        self.first, self.steps = self.venv.reset(), []
        return self.first

    def step_async(self, actions):
        self.actions = actions
        self.venv.step_async(actions)

    def step_wait(self):
        result = self.venv.step_wait()
        self.steps.append((self.actions, *result))
        return result


def seen_in(env, batch):
    """[NENV, NSTEPS, ...] observations, actions, rewards, dones and starts of a batch, and the last observations."""
    steps = env.steps[batch * NSTEPS:(batch + 1) * NSTEPS]
    obs = [env.first, *(step[1] for step in env.steps)][batch * NSTEPS:(batch + 1) * NSTEPS + 1]
    starts = [np.zeros(NENV, bool), *(step[3] for step in env.steps)][batch * NSTEPS:(batch + 1) * NSTEPS]
    columns = [[step[i] for step in steps] for i in (0, 2, 3)]
    return [np.swapaxes(x, 0, 1) for x in (obs[:-1], *columns, starts)], obs[-1]


def returns_of(model, env, steps):
    """Returns of the episodes of a VecEnv that end within so many steps, with sampled actions."""
    ob, state, done, sums, returns = env.reset(), None, np.zeros(env.num_envs, bool), np.zeros(env.num_envs), []
    for _ in range(steps):
        ac, _, state, _ = model.step(ob, S=state, M=done)
        ob, rew, done, _ = env.step(ac)
        sums += rew
        returns.extend(sums[done])
        sums[done] = 0
    return np.array(returns)
