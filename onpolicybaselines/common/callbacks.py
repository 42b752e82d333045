"""Ready callbacks for `learn`: evaluation, model files, an end at a return.

A callback is called with (locals(), globals()) of `learn` before every update and at the end; training stops if it
returns False. One with `state` and `set_state` goes on with the run from a checkpoint. Under MPI all ranks must have
the same ones.

    trpo_mpi.learn(..., callback=CallbackList(EvalCallback(gym.make('Hopper-v5'), 10_000, best_path='best.npz'),
                                              StopAtReturn(3000)))
"""
import abc
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.checks import check_positive
from onpolicybaselines.common.env_state import NoStateError
from onpolicybaselines.common.evaluation import evaluate_policy, in_words, kept_generators, summary
from onpolicybaselines.common.log_files import attempt
from onpolicybaselines.common.math_util import safemean
from onpolicybaselines.common.mpi_world import rank, size
from onpolicybaselines.common.prediction import own_noise
from onpolicybaselines.common.rollouts import gather
from onpolicybaselines.common.seeds import environment_seed, evaluation_seed
from onpolicybaselines.common.state import State, Stateful, generator_state, set_generator_state
from onpolicybaselines.common.vec_env import VecEnv, as_vec_env


def model_of(values: Mapping[str, Any]) -> Any:
    """What a `learn` whose locals these are returns: it has `predict` and `save`."""
    return values['model'] if 'model' in values else values['pi']


class CallbackList:
    """Several callbacks as one: each is called; training stops if one of them returns False."""

    def __init__(self, *callbacks: Callable):
        self.callbacks = callbacks

    def __call__(self, values: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
        """Whether to go on."""
        return all([callback(values, names) is not False for callback in self.callbacks])

    def state(self) -> State:
        """Of those that have one, by their number."""
        return {str(i): callback.state() for i, callback in enumerate(self.callbacks) if isinstance(callback, Stateful)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        for i, part in state.items():
            self.callbacks[int(i)].set_state(part)


class Every(abc.ABC):
    """Once in `interval` time steps: calls `act`, with the locals of `learn`, after the first update in which so many
    have passed since the last time."""

    def __init__(self, interval: int):
        check_positive('interval', interval)
        self.interval = self.due = interval

    def __call__(self, values: Mapping[str, Any], names: Mapping[str, Any]) -> bool | None:
        """What `act` returns; True while nothing is due."""
        steps = values['timesteps_so_far']
        if steps < self.due:
            return True
        self.due = (steps // self.interval + 1) * self.interval
        return self.act(values)

    @abc.abstractmethod
    def act(self, values: Mapping[str, Any]) -> bool | None:
        """What is to be done; False stops training."""

    def state(self) -> State:
        """When it is due."""
        return {'due': self.due}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        self.due = state['due']


class EvalCallback(Every):
    """Every eval_interval time steps, plays n_eval_episodes in environments of its own, by a generator of its own:
    training goes on, to the bit, as it would without.

    A row of the log has eval/timesteps, eval/mean, eval/std, eval/episodes and eval/best. Under MPI the ranks share the
    episodes. `last` and `best` are the last mean and the highest.

    eval_env: as `learn` takes it; it is not closed here. deterministic: the policy's deterministic actions. best_path:
    where the model of the highest mean is kept; None: nowhere. seed: of the actions, and of a plain gymnasium
    environment. Raises UsageError for an interval below 1.
    """

    def __init__(self, eval_env: gym.Env | gym.vector.VectorEnv | VecEnv, eval_interval: int, n_eval_episodes: int = 10,
                 deterministic: bool = True, best_path: str | os.PathLike | None = None, seed: int | None = None):
        super().__init__(eval_interval)
        with kept_generators():
            self.env = as_vec_env(eval_env, environment_seed(evaluation_seed(seed), rank()))
        self.n_eval_episodes, self.deterministic, self.best_path = n_eval_episodes, deterministic, best_path
        self.np_random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(rank(), 1)))
        self.last = self.best = -math.inf

    def act(self, values: Mapping[str, Any]) -> bool:
        """Evaluate, write the row, keep the best model."""
        model = model_of(values)
        result = evaluate(model, self.env, self.n_eval_episodes, self.deterministic, self.np_random)
        self.last = result['mean']
        is_best, self.best = self.last > self.best, max(self.last, self.best)
        log_row({'eval/timesteps': values['timesteps_so_far'], 'eval/mean': self.last, 'eval/std': result['std'],
                 'eval/episodes': result['episodes'], 'eval/best': self.best})
        if is_best and self.best_path is not None and rank() == 0:
            model.save(self.best_path)
            logger.log(f'Best so far, {in_words(result)}: saved to {self.best_path}')
        return True

    def state(self) -> State:
        """With its environments, as far as their state can be taken."""
        try:
            env = self.env.state()
        except NoStateError as e:
            logger.warn(f'{e}. Evaluations of a run that goes on from a checkpoint will start with new ones')
            env = None
        return {**super().state(), 'last': _json(self.last), 'best': _json(self.best), 'env': env,
                'np_random': generator_state(self.np_random)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave."""
        super().set_state(state)
        self.last, self.best = float(state['last']), float(state['best'])
        set_generator_state(self.np_random, state['np_random'])
        if state['env'] is not None:
            self.env.set_state(state['env'])


def _json(value):
    return value if math.isfinite(value) else str(value)


def evaluate(model: Any, env: VecEnv, n_eval_episodes: int, deterministic: bool, np_random: np.random.Generator
             ) -> dict[str, Any]:
    """The `summary` of so many episodes, which the MPI ranks, all of which must call it, share; actions are drawn from
    np_random."""
    share = (n_eval_episodes + rank()) // size()
    returns, lengths = [], []
    if share:
        with own_noise(model, np_random), kept_generators():
            returns, lengths = evaluate_policy(model, env, share, deterministic, return_episode_rewards=True,
                                               warn=False)
    return summary(*(values.tolist() for values in gather(returns, lengths)))


def log_row(values: Mapping[str, Any]) -> None:
    """A row of these values alone in the outputs of the log, on the first rank; what `logkv` has gathered for the next
    row stays."""
    for output in logger.get_current().output_formats if rank() == 0 else ():
        if isinstance(output, logger.KVWriter):
            attempt(output.writekvs, values)


class CheckpointCallback(Every):
    """Every `interval` time steps, a model file `model_<time steps>.npz` in `folder`, which is made; None: that of the
    run. To go on with a run exactly, `common/checkpoint.py` has `checkpointing`.

    Raises UsageError for an interval below 1.
    """

    def __init__(self, interval: int, folder: str | os.PathLike | None = None):
        super().__init__(interval)
        self.folder = folder

    def act(self, values: Mapping[str, Any]) -> bool:
        """Write the file, on the first rank."""
        if rank() == 0:
            folder = logger.get_dir() if self.folder is None else self.folder
            model_of(values).save(os.path.join(folder, f'model_{values["timesteps_so_far"]}.npz'))
        return True


class StopAtReturn:
    """Stops training as soon as the mean return is `threshold` or more: of the last training episodes (as EpRewMean in
    the log), or of the last evaluation of an `EvalCallback`, which is to come before it in a `CallbackList`."""

    def __init__(self, threshold: float, evaluation: EvalCallback | None = None):
        self.threshold, self.evaluation = threshold, evaluation

    def __call__(self, values: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
        """Whether to go on."""
        mean = safemean(values['rewbuffer']) if self.evaluation is None else self.evaluation.last
        return not mean >= self.threshold
