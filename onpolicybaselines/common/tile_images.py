"""Several images as one."""
from collections.abc import Sequence

import numpy as np


def tile_images(img_nhwc: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Lay N images of equal shape [h, w, c] out on a grid, row by row, as one image [rows*h, columns*w, c].

    The grid is as square as N allows (never wider than high); places without an image are black.
    ValueError without images or when they differ in shape. Source: openai/baselines `common/tile_images.py`.
    """
    shapes = {np.shape(img) for img in img_nhwc}
    if len(shapes) != 1 or len(*shapes) != 3:
        raise ValueError('tile_images needs one or more images of one shape [h, w, c], got shapes %s'
                         % sorted(shapes))
    (h, w, c), = shapes
    rows = int(np.ceil(np.sqrt(len(img_nhwc))))
    columns = int(np.ceil(len(img_nhwc) / rows))
    bigimg = np.zeros((rows * h, columns * w, c), np.asarray(img_nhwc[0]).dtype)
    for i, img in enumerate(img_nhwc):
        row, column = divmod(i, columns)
        bigimg[row * h:(row + 1) * h, column * w:(column + 1) * w] = img
    return bigimg
