"""On-policy algorithms of OpenAI Baselines in TensorFlow 2, with expressive policies."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onpolicybaselines.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ['__version__', 'load']


def load(path: str | os.PathLike, seed: int | None = None, **functions: Callable) -> Any:
    """The policy in a model file, with all that it needs to act: no environment and no option has to be given.

    It is what `learn` has returned, as far as acting goes: `predict`, `step`, `save` and `export`, of a file of
    trpo_mpi, a2c, acktr and ppo2 a `PolicyWithValue`, of one of acktr_cont its `Model`.

    seed: of the actions that it draws; functions: what was given as a function, and is therefore not in the file, by
    the same name: network, value_network, activation, conv_fn. Raises UsageError, one line, for what is no model file,
    for one that lacks its spaces (of an earlier version) and where functions are missing or too many.
    """
    from onpolicybaselines.common import loading
    return loading.load(path, seed, functions)
