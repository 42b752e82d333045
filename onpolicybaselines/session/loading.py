"""Policies from model files alone."""
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays
from onpolicybaselines.common.policies import PolicyWithValue, build_policy
from onpolicybaselines.common.policy import spec_of
from onpolicybaselines.common.spaces import space_from_json
from onpolicybaselines.common.vec_env.statistics import NoEnv, restored

KINDS = ('policy', 'acktr_cont')


def load(path: str | os.PathLike, seed: int | None = None, functions: Mapping[str, Callable] | None = None) -> Any:
    """See `onpolicybaselines.load`."""
    arrays, meta = read_arrays(path)
    if meta.get('kind') not in KINDS:
        raise UsageError(f'{str(path)!r} is of an earlier version and lacks the spaces: python -m '
                         f'onpolicybaselines.run --alg=... --env=... --load_path={path} --num_timesteps=0 '
                         '--save_path=NEW writes one that can be loaded')
    functions = _check_functions(path, meta, functions or {})
    try:
        model = _maker(meta['kind'])(meta, arrays, np.random.default_rng(seed), functions)
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        reason = ' '.join(f'{type(e).__name__}: {e}'.split())
        raise UsageError(f'{str(path)!r} is damaged, its description is not of a policy ({reason})') from e
    model.load(path)
    return model


def _maker(kind):
    """function(description, arrays, generator, functions) that makes the model of such a file."""
    if kind == 'acktr_cont':
        from onpolicybaselines.acktr.cont_model import model_from
        return model_from
    return policy_from


def _check_functions(path, meta, functions):
    """`functions`, which must be those that the file lacks."""
    spec = spec_of(path, meta)
    missing = [name for name, value in spec.items() if value == 'custom' and name not in functions]
    if missing:
        given = ', '.join(f'{name}=...' for name in missing)
        raise UsageError(f'{str(path)!r} is of a policy with functions for {", ".join(missing)}, which are not in the '
                         f'file: load({str(path)!r}, {given})')
    for name in functions:
        if spec.get(name) != 'custom':
            raise UsageError(f'{str(path)!r} has no function for {name}, it is {spec.get(name)!r}: leave it out')
    return functions


def policy_from(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray], np_random: np.random.Generator,
                functions: Mapping[str, Callable]) -> PolicyWithValue:
    """A policy like that of a file whose description is `meta`; its arrays are still to be loaded."""
    ac_space = space_from_json(meta['action_space'])
    if meta['normalizer'] is None:
        env = NoEnv(1, space_from_json(meta['observation_space']), ac_space)
    else:
        env = restored(meta['normalizer'], ac_space)
        if env.observation_space != space_from_json(meta['observation_space']):
            raise UsageError('the observations of its VecNormalize were changed by a wrapper outside of that, which is '
                             'not in the file')
    kwargs = {**meta['spec'], **functions}
    dtype = next(value.dtype for name, value in arrays.items() if name.startswith('pi/'))
    return build_policy(env, kwargs.pop('network'), **kwargs)(np_random, dtype.name)
