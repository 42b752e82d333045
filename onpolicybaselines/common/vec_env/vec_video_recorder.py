"""Videos of vectorized environments."""
import os
from collections.abc import Callable

from onpolicybaselines import logger
from onpolicybaselines.common.tile_images import tile_images
from onpolicybaselines.common.vec_env.steps import Obs, Step
from onpolicybaselines.common.vec_env.vec_env import VecEnv, VecEnvWrapper


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
        _import_imageio()  # rather now than at the first frame
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
        name = '{}.video.{}.video{:06}.mp4'.format(self.file_prefix, self.file_infix, self.step_id)
        self.path = os.path.join(self.directory, name)
        # H.264 needs even sides; imageio's own rule of multiples of 16 would rescale most pictures
        self.video_recorder = _import_imageio().get_writer(
            self.path, format='FFMPEG', fps=self.metadata.get('render_fps', 30), macro_block_size=2,
            ffmpeg_log_level='error')
        self.recording = True
        self._capture_frame()

    def step_wait(self) -> Step:
        """Finish the step, and record it if a video is on."""
        obs, rews, dones, infos = self.venv.step_wait()
        self.step_id += 1
        if self.recording:
            self._capture_frame()
            if self.recorded_frames > self.video_length:
                logger.info('Saving video to ', self.path)
                self.close_video_recorder()
        elif self.record_video_trigger(self.step_id):
            self.start_video_recorder()
        return obs, rews, dones, infos

    def close_video_recorder(self) -> None:
        """End the current video, if any."""
        if self.recording:
            self.video_recorder.close()
        self.recording = False
        self.recorded_frames = 0

    def close_extras(self) -> None:
        """End the video and close the environments."""
        self.close_video_recorder()
        VecEnvWrapper.close_extras(self)

    def _capture_frame(self) -> None:
        self.video_recorder.append_data(tile_images(self.get_images()))
        self.recorded_frames += 1


def _import_imageio() -> object:
    """imageio's v2 interface, which writes frame by frame."""
    try:
        import imageio.v2
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise ImportError("recording videos needs imageio and imageio-ffmpeg: "
                          "pip install 'onpolicybaselines[video]'") from error
    return imageio.v2
