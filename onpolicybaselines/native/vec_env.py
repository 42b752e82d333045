"""Environments whose physics, observations and rewards are one call of machine code a step, or many steps."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from onpolicybaselines import logger
from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.rollouts import one_step
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.steps import Step, end_of_episode
from onpolicybaselines.common.vec_env.vec_env import VecEnv
from onpolicybaselines.common.wrappers import RewardScaler
from onpolicybaselines.native.known import (
    NotNative,
    check_registered,
    compare,
    is_mujoco,
    numbers_of,
    same_kind,
    stepper_of,
    task_of,
    wrappers_of,
)

EnvFns = Sequence[Callable[[], gymnasium.Env]]


def native_vec_env(env_fns: EnvFns, env_id: str, env_kwargs: Mapping[str, Any]) -> 'NativeVecEnv | None':
    """The environments of env_fns in a NativeVecEnv, or None, with one line in the log if they are MuJoCo's.

    env_id, env_kwargs: what env_fns give to gymnasium.make; they are called only if that may be native.
    """
    try:
        check_registered(env_id, env_kwargs)
        envs = [fn() for fn in env_fns]
        try:
            return NativeVecEnv(envs)
        except NotNative:
            for env in envs:
                env.close()
            raise
    except NotNative as reason:
        if is_mujoco(env_id):
            logger.log(f'gymnasium steps {env_id} itself: {reason}')
    return None


def native_or_dummy(env_fns: EnvFns) -> VecEnv:
    """A NativeVecEnv, or a DummyVecEnv, with one line in the log if the environments are MuJoCo's."""
    venv = DummyVecEnv(env_fns)
    try:
        return NativeVecEnv(venv.envs)
    except NotNative as reason:
        if is_mujoco(venv.envs[0]):
            logger.log(f'gymnasium steps {venv.spec and venv.spec.id} itself: {reason}')
    return venv


class NativeVecEnv(DummyVecEnv):
    """A DummyVecEnv whose steps are machine code: the same numbers, to the bit.

    Environments, wrappers and simulators are gymnasium's own, whose counters, files, resets and random numbers go on as
    ever. Only infos are shorter: they have what VecEnv promises and 'episode', but nothing of the task. What an
    environment's keywords and attributes are is read once, here.

    Raises NotNative unless every environment is exactly known, by class, keywords and wrappers, or if steps of a copy
    of one differ from gymnasium's.
    """

    def __init__(self, envs: Sequence[gymnasium.Env]) -> None:
        super().__init__([lambda env=env: env for env in envs])
        self.native = Native(self.envs)
        self.unchecked = 2  # first steps, at which gymnasium's checker wants to look

    def __reduce__(self) -> tuple:
        """Copies are made anew, of copies of the environments, whose simulators are elsewhere."""
        return NativeVecEnv, (self.envs,)

    def step_wait(self) -> Step:
        """See VecEnv.step_wait. Raises mujoco.FatalError for an error of MuJoCo."""
        actions = np.asarray(self.actions)
        stepper = self.native.stepper(actions)
        if self.unchecked or stepper is None:
            step = super().step_wait()
            self.unchecked = max(0, self.unchecked - 1)
            return step
        self.actions = None
        stepper.actions[:] = actions
        return self._end_of_step(stepper, stepper.run())

    def advance(self, actor: Callable, noise: np.ndarray, obs: np.ndarray, acs: np.ndarray, rews: np.ndarray
                ) -> tuple[int, Step]:
        """As many steps as need no Python, at least one: how many, and what `step` gives of the last. See
        `rollouts.collect`, which has the others in obs, acs and rews. Raises mujoco.FatalError for an error of MuJoCo.
        """
        rollout = None if self.unchecked else self.native.rollout(actor, acs)
        if rollout is None:
            return one_step(self, actor, noise, obs, acs, rews)
        left = [limit._max_episode_steps - limit._elapsed_steps for _, limit, _ in self.native.wrappers if limit]
        T = min([len(rews), *left])
        n = rollout.run(noise[:T], obs[:T], acs[:T], rews[:T])
        if n == 0:
            raise rollout.stepper.error()
        self._count(rews[:n - 1])
        return n, self._end_of_step(rollout.stepper, self.num_envs)

    def _count(self, rews):
        """Tell the wrappers of steps [n, N] that end no episode, and scale their rewards."""
        for e, (_, limit, monitor) in enumerate(self.native.wrappers):
            if limit is not None:
                limit._elapsed_steps += len(rews)
            if monitor is not None:
                monitor.rewards.extend(rews[:, e].tolist())
                monitor.total_steps += len(rews)
        if self.native.scales is not None:
            rews *= self.native.scales

    def _end_of_step(self, stepper, stepped):
        """What `step` gives, when that many environments could take their step."""
        obs, rews, dones, infos = stepper.obs.copy(), stepper.rews.copy(), np.zeros(self.num_envs, bool), []
        for e in range(stepped):
            env, limit, monitor = self.native.wrappers[e]
            over, cut, info = bool(stepper.over[e]), False, {}
            if limit is not None:
                limit._elapsed_steps += 1
                cut = limit._elapsed_steps >= limit._max_episode_steps
            if monitor is not None:
                monitor.update(obs[e], rews[e], over or cut, info)
            if over or cut:
                dones[e] = True
                info = end_of_episode(info, obs[e], over, cut)
                obs[e], _ = env.reset()
            infos.append(info)
        if stepped < self.num_envs:
            raise stepper.error()
        if self.native.scales is not None:
            rews *= self.native.scales
        return obs, rews, dones, infos


class Native:
    """What a NativeVecEnv knows of its environments. Nothing of it changes, so that it has no state of its own.

    wrappers: of each environment itself, its TimeLimit and its Monitor, or None; scales: of rewards, or None.
    Raises NotNative.
    """

    def __init__(self, envs: Sequence[gymnasium.Env]) -> None:
        chains, bare = [wrappers_of(env) for env in envs], [env.unwrapped for env in envs]
        tasks = {task_of(env) for env in bare}
        if len(tasks) > 1:
            raise NotNative('several tasks')
        self.task, = tasks
        numbers = [numbers_of(env, self.task) for env in bare]
        for i, env in enumerate(bare):
            if not any(same_kind(numbers[i], other) for other in numbers[:i]):
                compare(env, self.task)
        self.numbers, self.ob_space = np.concatenate(numbers), envs[0].observation_space
        self.simulators = [(env.model, env.data) for env in bare]  # to live as long as their addresses are used
        self.wrappers = [(env, chain.get(TimeLimit), chain.get(Monitor))
                         for env, chain in zip(envs, chains, strict=True)]
        self.scales = None
        if any(RewardScaler in chain for chain in chains):
            self.scales = [chain[RewardScaler].scale if RewardScaler in chain else 1. for chain in chains]
        self.steppers: dict[np.dtype, Any] = {}
        self.last_rollout = None

    def stepper(self, actions: np.ndarray) -> Any:
        """The Stepper for actions of this shape and dtype, or what clipping makes of it; None if there is none."""
        if actions.dtype not in self.steppers:
            kind = np.result_type(actions.dtype, np.float32)
            known = kind in (np.float32, np.float64)
            self.steppers[actions.dtype] = stepper_of(self.task, self.numbers, self.ob_space, kind) if known else None
        stepper = self.steppers[actions.dtype]
        return stepper if stepper is not None and actions.shape == stepper.actions.shape else None

    def rollout(self, actor: Callable, acs: np.ndarray) -> Any:
        """The Rollout of this actor for actions as in acs [T, N, ...]; None if there is none."""
        programs = getattr(actor, 'programs', None)
        stepper = self.stepper(acs[0])
        if programs is None or stepper is None or acs.dtype != np.float32:
            return None
        if self.last_rollout is None or self.last_rollout.programs is not programs:
            from onpolicybaselines.native.rollout import Rollout
            self.last_rollout = Rollout(programs, stepper)
        return self.last_rollout

    def state(self) -> State:
        """None; see the class."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to go back to."""
