"""Videos of vectorized environments."""
import os
from collections.abc import Callable, Mapping
from typing import Any

from onpolicybaselines import logger
from onpolicybaselines.common.state import State
from onpolicybaselines.common.vec_env.steps import Obs, Step
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper
from onpolicybaselines.common.vec_env.video_recorder import VideoRecorder, import_imageio


class VecVideoRecorder(VecEnvWrapper):
    """Records mp4 videos of all environments, tiled, into `directory`.

    A video starts at each reset(), and after each step at which none is being recorded and
    record_video_trigger(number of steps so far) is true; it has video_length steps, that is video_length + 1 frames.
    ValueError unless the environments were made with render_mode='rgb_array'; ImportError without imageio and
    imageio-ffmpeg. Source: openai/baselines `common/vec_env/vec_video_recorder.py`.
    """

    def __init__(self, venv: VecEnv, directory: str, record_video_trigger: Callable[[int], bool],
                 video_length: int = 200) -> None:
        VecEnvWrapper.__init__(self, venv)
        if self.render_mode != 'rgb_array':
            raise ValueError("recording needs environments made with render_mode='rgb_array', these have %r"
                             % self.render_mode)
        import_imageio()  # rather now than at the first frame
        self.record_video_trigger = record_video_trigger
        self.video_recorder = None

        self.directory = os.path.abspath(directory)
        os.makedirs(self.directory, exist_ok=True)

        self.file_prefix = 'vecenv'
        self.file_infix = '{}'.format(os.getpid())
        self.step_id = 0
        self.video_length = video_length

        self.recording = False
        self.recorded_frames = 0

    def reset(self) -> Obs:
        """Reset, and start a new video."""
        obs = self.venv.reset()

        self.start_video_recorder()

        return obs

    def start_video_recorder(self) -> None:
        """End the current video, if any, and start the next one."""
        self.close_video_recorder()

        base_path = os.path.join(self.directory, '{}.video.{}.video{:06}'.format(
            self.file_prefix, self.file_infix, self.step_id))
        self.video_recorder = VideoRecorder(
                env=self.venv,
                path=base_path + '.mp4'
                )

        self.video_recorder.capture_frame()
        self.recorded_frames = 1
        self.recording = True

    def _video_enabled(self):
        return self.record_video_trigger(self.step_id)

    def step_wait(self) -> Step:
        """Finish the step, and record it if a video is on."""
        obs, rews, dones, infos = self.venv.step_wait()

        self.step_id += 1
        if self.recording:
            self.video_recorder.capture_frame()
            self.recorded_frames += 1
            if self.recorded_frames > self.video_length:
                logger.info("Saving video to ", self.video_recorder.path)
                self.close_video_recorder()
        elif self._video_enabled():
            self.start_video_recorder()

        return obs, rews, dones, infos

    def state(self) -> State:
        """That of the environments, and the number of steps; films are not gone on with."""
        return {'venv': self.venv.state(), 'step_id': self.step_id}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave; ends the current video, if any."""
        self.close_video_recorder()
        self.venv.set_state(state['venv'])
        self.step_id = state['step_id']

    def close_video_recorder(self) -> None:
        """End the current video, if any."""
        if self.recording:
            self.video_recorder.close()
        self.recording = False
        self.recorded_frames = 0

    def close(self) -> None:
        """End the video and close the environments."""
        self.close_video_recorder()
        VecEnvWrapper.close(self)
