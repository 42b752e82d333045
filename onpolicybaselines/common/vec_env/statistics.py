"""The statistics of a VecNormalize, without which a policy that has learned from what it gives is another policy."""
from collections.abc import Mapping
from typing import Any, NoReturn

import gymnasium
import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.running_mean_std import RunningMeanStd
from onpolicybaselines.common.spaces import space_from_json, space_to_json
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper
from onpolicybaselines.common.vec_env.vec_normalize import VecNormalize

PREFIX = 'vec_normalize/'


def normalizer_of(env: Any) -> VecNormalize | None:
    """The (outermost) VecNormalize among the wrappers of an environment."""
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecNormalize):
        env = env.venv
    return env if isinstance(env, VecNormalize) else None


def _parts(normalizer: VecNormalize | None) -> dict[str, RunningMeanStd]:
    parts = {name: getattr(normalizer, name, None) for name in ('ob_rms', 'ret_rms')}
    return {name: rms for name, rms in parts.items() if rms is not None}


def arrays(normalizer: VecNormalize | None) -> dict[str, np.ndarray]:
    """Its statistics by names for a model file; {} of None."""
    return {f'{PREFIX}{part}/{name}': np.asarray(value) for part, rms in _parts(normalizer).items()
            for name, value in rms.state().items()}


def set_arrays(normalizer: VecNormalize | None, found: Mapping[str, np.ndarray]) -> None:
    """Go back to what `arrays` gave, among others."""
    for part, rms in _parts(normalizer).items():
        rms.set_state({name: found[f'{PREFIX}{part}/{name}'] for name in rms.state()})


def complete(normalizer: VecNormalize | None, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a model file; the present statistics, with a line in the log, where it is older than they are."""
    present = arrays(normalizer)
    if not present or any(name.startswith(PREFIX) for name in found):
        return dict(found)
    logger.warn('The model file has no statistics of the VecNormalize around the environments: they begin anew')
    return {**found, **present}


def description(normalizer: VecNormalize | None) -> dict[str, Any] | None:
    """How it was asked for, and the space of what it normalises, as JSON; `restored` makes another one of that."""
    if normalizer is None:
        return None
    return {'observation_space': space_to_json(normalizer.venv.observation_space), 'ob': normalizer.ob_rms is not None,
            'ret': normalizer.ret_rms is not None, 'clipob': normalizer.clipob, 'epsilon': normalizer.epsilon}


def restored(found: Mapping[str, Any], action_space: gymnasium.Space) -> VecNormalize:
    """A VecNormalize that `description` is of, around no environment."""
    venv = NoEnv(1, space_from_json(found['observation_space']), action_space)
    return VecNormalize(venv, **{name: found[name] for name in ('ob', 'ret', 'clipob', 'epsilon')}, training=False)


class NoEnv(VecEnv):
    """The spaces of an environment that is not there."""

    def reset(self) -> NoReturn:
        """Raises UsageError."""
        raise UsageError('a loaded policy has no environment: make one')

    def step_async(self, actions: np.ndarray) -> NoReturn:
        """Raises UsageError."""
        self.reset()

    def step_wait(self) -> NoReturn:
        """Raises UsageError."""
        self.reset()


def freeze(env: Any, learned: VecNormalize | None) -> None:
    """Let the VecNormalize among the wrappers of `env`, if there is one, keep to what another has learned."""
    normalizer = normalizer_of(env)
    if normalizer is not None and learned is not None:
        set_arrays(normalizer, arrays(learned))
        normalizer.training = False
