"""Atari games for gymnasium. They need the extra `atari`: ale-py and opencv."""
from typing import Any

import gymnasium

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.extras import need


def register_atari() -> None:
    """Make the Atari ids known to gymnasium. Raises NotInstalled, with what to install."""
    need('ale_py', 'cv2')
    import ale_py
    gymnasium.register_envs(ale_py)


def make_game(env_id: str, **env_kwargs: Any) -> gymnasium.Env:
    """`gymnasium.make(env_id, **env_kwargs)` in steps of one frame; UsageError if it is none of ale-py's games."""
    register_atari()
    try:
        return gymnasium.make(env_id, frameskip=1, **env_kwargs)
    except TypeError as error:
        raise UsageError(f"env_type 'atari' is for the games of ale-py, such as 'ALE/Pong-v5' or 'PongNoFrameskip-v4', "
                         f'got {env_id!r} ({error})') from error
