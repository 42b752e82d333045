"""Which action spaces there are distributions for."""
from collections.abc import Iterable

import numpy as np
from gymnasium import spaces

from onpolicybaselines.common.checks import check_size
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords import nearest


def check_action_space(ac_space: spaces.Space, policy: str | None, policies: Iterable[str]) -> None:
    """Raise UsageError, one line, for a space without a family, or a policy that is none of `policies` or does not fit.

    policy: for Box spaces only; None: the default.
    """
    if policy is not None and policy not in policies:
        raise UsageError(f'unknown policy {policy!r}{nearest(policy, policies)}')
    check_size('actions', ac_space.shape)
    if isinstance(ac_space, spaces.Box):
        if len(ac_space.shape) != 1:
            raise UsageError(f'actions of shape {ac_space.shape} are not supported: flatten them to one dimension')
    elif policy is not None:
        raise UsageError(f'policy={policy} is for continuous (Box) actions, not for {ac_space}: leave it out')
    elif (not isinstance(ac_space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))
          or len(ac_space.shape) > 1 or np.any(getattr(ac_space, 'start', 0))):
        raise UsageError(f'action space {" ".join(str(ac_space).split())} is not supported: use a one-dimensional Box, '
                         'MultiDiscrete or MultiBinary or a Discrete space, counted from 0')
