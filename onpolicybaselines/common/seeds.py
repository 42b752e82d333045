"""The seeds of a run's environments."""
import numpy as np


def environment_seed(seed: int | None, rank: int = 0, index: int = 0) -> int | None:
    """The seed of an environment of an MPI rank, in a run with this `seed`; None: no two runs alike.

    The first one of rank 0 has the run's own seed, so that `env.reset(seed=seed)` shows how the run begins. The others
    have seeds spawned from it: those of a run differ, and the runs of neighbouring seeds share none.
    """
    if seed is None or rank == index == 0:
        return seed
    first = int(np.random.SeedSequence(seed).generate_state(1)[0]) >> 2  # room for more, below 2**32 as simulators want
    return first + 10000 * rank + index


def evaluation_seed(seed: int | None) -> int | None:
    """The seed of environments in which a run with this `seed` is evaluated: none that it trains in has it."""
    return None if seed is None else int(np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(1)[0]) >> 2
