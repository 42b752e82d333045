"""A film of vectorized environments, in place of gym's recorder, which is gone."""
from onpolicybaselines.common.extras import need
from onpolicybaselines.common.tile_images import tile_images
from onpolicybaselines.common.vec_env.vec_env import VecEnv


class VideoRecorder:
    """An mp4 file at `path`, to which each `capture_frame` adds a picture of all environments, tiled."""

    def __init__(self, env: VecEnv, path: str) -> None:
        self.env = env
        self.path = path
        # H.264 needs even sides; imageio's own rule of multiples of 16 would rescale most pictures
        self.writer = import_imageio().get_writer(
            path, format='FFMPEG', fps=env.metadata.get('render_fps', 30), macro_block_size=2,
            ffmpeg_log_level='error')

    def capture_frame(self) -> None:
        """Add what there is to see."""
        self.writer.append_data(tile_images(self.env.get_images()))

    def close(self) -> None:
        """End the film."""
        self.writer.close()


def import_imageio() -> object:
    """imageio's v2 interface, which writes frame by frame. Raises NotInstalled, with what to install."""
    need('imageio', 'imageio_ffmpeg')
    import imageio.v2
    return imageio.v2
