"""Videos: read back with imageio."""
import functools
import glob
import os
import re
import subprocess
import sys
import tempfile

import gymnasium
import numpy as np
import pytest

from onpolicybaselines.common.vec_env import DummyVecEnv, ShmemVecEnv, SubprocVecEnv, VecMonitor, VecVideoRecorder

imageio = pytest.importorskip('imageio.v2')
imageio_ffmpeg = pytest.importorskip('imageio_ffmpeg')


class LampEnv(gymnasium.Env):
    """Renders its number of steps as brightness: 10 a step."""

    metadata = {'render_modes': ['rgb_array'], 'render_fps': 25}
    observation_space = gymnasium.spaces.Box(0, 255, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, index=0, render_mode='rgb_array'):
        self.render_mode, self.index, self.t = render_mode, index, 0

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.full(1, self.t, np.float32), 0., False, False, {}

    def render(self):
        return np.full((32, 64, 3), 10 * self.t + 100 * self.index, np.uint8)


def frames_of(path):
    """The frames of a video, by way of PNG files, and its frames per second."""
    with tempfile.TemporaryDirectory() as pngs:
        out = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), '-i', path, os.path.join(pngs, '%03d.png')],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        frames = [imageio.imread(png) for png in sorted(glob.glob(os.path.join(pngs, '*.png')))]
    return frames, float(re.search(r'h264.* ([\d.]+) fps', out.stderr).group(1))


@pytest.mark.parametrize('klass', [DummyVecEnv, ShmemVecEnv, SubprocVecEnv])
def test_video_recorder(klass, tmp_path):
    num_envs = 2
    venv = klass([functools.partial(LampEnv, i) for i in range(num_envs)])
    env = VecVideoRecorder(venv, str(tmp_path / 'new' / 'dir'),
                           record_video_trigger=lambda step: step % 7 == 0, video_length=4)
    env.reset()
    for _ in range(9):
        env.step([0] * num_envs)
    env.close()
    env.close()
    paths = sorted(glob.glob(str(tmp_path / 'new' / 'dir' / '*')))
    assert [os.path.basename(p) for p in paths] == [
        'vecenv.video.%d.video%06d.mp4' % (os.getpid(), step) for step in (0, 7)]
    for path, first, count in [(paths[0], 0, 5), (paths[1], 7, 3)]:
        frames, fps = frames_of(path)
        assert len(frames) == count and fps == 25
        for t, frame in enumerate(frames, first):
            assert frame.shape == (64, 64, 3)  # two pictures of 32 x 64, one above the other
            # lossy: H.264 at imageio's default quality is off by far less than half a step of brightness
            assert abs(frame[:24].mean() - 10 * t) < 5
            assert abs(frame[-24:].mean() - 10 * t - 100) < 5


def test_reset_starts_a_new_video(tmp_path):
    env = VecVideoRecorder(DummyVecEnv([LampEnv]), str(tmp_path), record_video_trigger=lambda step: False,
                           video_length=100)
    for _ in range(2):
        env.reset()
        for _ in range(3):
            env.step([0])
    env.close()
    assert [len(frames_of(p)[0]) for p in sorted(glob.glob(str(tmp_path / '*.mp4')))] == [4, 4]


def test_goes_on_from_a_state_without_the_film_that_was_under_way(tmp_path):
    """Taken in the middle of a film; the other one's own, begun at its reset, ends."""
    def make(folder):
        return VecVideoRecorder(VecMonitor(DummyVecEnv([LampEnv])), str(tmp_path / folder),
                                record_video_trigger=lambda step: step == 7, video_length=2)
    env, fresh, begun = make('one'), make('fresh'), make('begun')
    env.reset()
    env.step([0])
    state = env.state()
    begun.reset()
    for other in (fresh, begun):
        other.set_state(state)
        for t in range(2, 12):
            assert other.step([0])[0] == t
        other.close()
    env.close()
    assert {folder: [(p.name[-10:-4], len(frames_of(str(p))[0])) for p in sorted((tmp_path / folder).glob('*.mp4'))]
            for folder in ('fresh', 'begun')} == {'fresh': [('000007', 3)], 'begun': [('000000', 1), ('000007', 3)]}


def test_render_mode_is_needed(tmp_path):
    venv = DummyVecEnv([functools.partial(gymnasium.make, 'Pendulum-v1')])
    with pytest.raises(ValueError, match="render_mode='rgb_array', these have None"):
        VecVideoRecorder(venv, str(tmp_path), lambda step: True)


def test_missing_imageio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    with pytest.raises(ImportError, match=r"pip install 'onpolicybaselines\[video\]'"):
        VecVideoRecorder(DummyVecEnv([LampEnv]), str(tmp_path), lambda step: True)


RENDER = '''
import functools, sys
import gymnasium
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.vec_env import DummyVecEnv, SubprocVecEnv, VecVideoRecorder
if __name__ == '__main__':
    make = functools.partial(gymnasium.make, 'Hopper-v5', render_mode='rgb_array')
    venv = {'dummy': DummyVecEnv, 'subproc': SubprocVecEnv}[sys.argv[1]]([make] * int(sys.argv[2]))
    venv = VecVideoRecorder(venv, sys.argv[3], lambda step: False, video_length=100)
    try:
        venv.reset()
        for _ in range(9):
            venv.step(venv.action_space.sample()[None].repeat(venv.num_envs, 0))
    except UsageError as error:
        sys.exit(str(error))
    finally:
        venv.close()
'''


def render_hopper(directory, kind, num_envs, **environ):
    """Record Hopper where there is no display; MUJOCO_GL is unset unless given."""
    script = directory / 'render.py'
    script.write_text(RENDER)
    hidden = ('MUJOCO_GL', 'PYOPENGL_PLATFORM', 'DISPLAY', 'WAYLAND_DISPLAY')
    env = {k: v for k, v in os.environ.items() if k not in hidden}
    return subprocess.run([sys.executable, str(script), kind, str(num_envs), str(directory)],
                          env=dict(env, **environ), capture_output=True, text=True, timeout=120)


def gl_is_missing():
    """Whether this machine has no EGL, found out without our package."""
    code = 'from mujoco.egl import GLContext; GLContext(8, 8).free()'
    return subprocess.run([sys.executable, '-c', code], env=dict(os.environ, MUJOCO_GL='egl'),
                          capture_output=True).returncode != 0


@pytest.mark.skipif(gl_is_missing(), reason='no EGL: apt install libegl1 libgl1-mesa-dri')
@pytest.mark.parametrize(('kind', 'num_envs'), [('dummy', 1), ('subproc', 2)])
def test_mujoco_without_display(tmp_path, kind, num_envs):
    out = render_hopper(tmp_path, kind, num_envs)
    assert out.returncode == 0, out.stderr
    path, = glob.glob(str(tmp_path / '*.mp4'))
    frames, fps = frames_of(path)
    assert len(frames) == 10 and fps == 125
    assert frames[0].shape == (480 * num_envs, 480, 3)
    assert frames[0].std() > 10  # a picture
    assert np.abs(frames[9].astype(int) - frames[0]).max() > 50  # that moves


@pytest.mark.parametrize('kind', ['dummy', 'subproc'])
def test_mujoco_without_gl(tmp_path, kind):
    """libglvnd and MuJoCo find no EGL device when the list of EGL drivers is empty."""
    out = render_hopper(tmp_path, kind, 1, __EGL_VENDOR_LIBRARY_FILENAMES='/nonexistent')
    assert out.returncode == 1
    last, = [line for line in out.stderr.splitlines() if 'MuJoCo cannot render with MUJOCO_GL=egl' in line]
    assert 'MUJOCO_GL=osmesa' in last and 'apt install libegl1 libgl1-mesa-dri' in last
