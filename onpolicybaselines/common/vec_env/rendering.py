"""Drawing environments."""
import os
import sys
from typing import Any

import gymnasium

from onpolicybaselines.common.errors import UsageError


def render_env(env: gymnasium.Env) -> Any:
    """env.render(), with MuJoCo on EGL where there is no display and MUJOCO_GL is unset.

    Every frame is drawn through here. UsageError if MuJoCo finds no OpenGL to draw with, or if drawing would crash:
    Mesa's OpenGL and TensorFlow corrupt each other's memory in one process.
    """
    if not hasattr(env.unwrapped, 'mujoco_renderer'):
        return env.render()
    if 'tensorflow' in sys.modules and sys.platform == 'linux' and not os.path.exists('/dev/nvidiactl'):
        raise UsageError("MuJoCo's OpenGL and TensorFlow crash each other in one process: make the environment with "
                         'SubprocVecEnv to render it')
    # gymnasium reads the variable at the first render(), so here is early enough for any environment
    if (sys.platform == 'linux' and env.render_mode != 'human'
            and not os.environ.get('DISPLAY') and not os.environ.get('WAYLAND_DISPLAY')):
        os.environ.setdefault('MUJOCO_GL', 'egl')
    try:
        return env.render()
    except Exception as error:
        raise UsageError(
            f'MuJoCo cannot render with MUJOCO_GL={os.environ.get("MUJOCO_GL", "")}: on a machine without display set '
            'MUJOCO_GL=egl or MUJOCO_GL=osmesa, and install OpenGL (Debian: apt install libegl1 libgl1-mesa-dri)'
        ) from error
