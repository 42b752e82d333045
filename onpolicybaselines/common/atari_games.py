"""Atari games for gymnasium. They need the extra `atari`: ale-py and opencv."""
import gymnasium


def register_atari() -> None:
    """Make the Atari ids known to gymnasium. Raises ImportError, with what to install."""
    try:
        import ale_py
        import cv2  # noqa: F401
    except ImportError as error:
        raise ImportError("Atari games need ale-py and opencv: pip install 'onpolicybaselines[atari]'") from error
    gymnasium.register_envs(ale_py)
