"""Pictures of any size and color as the pixels a model was trained on.

Knows gray and colors, transparency, depth and size. Refuses to know files, and how large a picture
may be.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing
from mcdrop.errors import DataError

__all__ = ["picture_shape", "pixels_of"]

_CHANNELS = (1, 3)


def picture_shape(preprocessing: Preprocessing) -> tuple[int, int, int] | None:
    """Height, width and channels of a row that is a picture; None where rows are no pictures.

    Pictures are (height, width), or have an axis of 1 or 3 channels before these or behind them.
    """
    shape = preprocessing.shape if isinstance(preprocessing, ArrayPreprocessing) else ()
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or not {shape[0], shape[2]}.intersection(_CHANNELS):
        return None
    first, second, third = shape
    return (second, third, first) if first in _CHANNELS else (first, second, third)


def pixels_of(image: Image.Image, step: ArrayPreprocessing) -> NDArray[np.float32]:
    """A picture in a model's shape and unit; see `picture_shape`.

    Where the model sees gray, color becomes luma (ITU-R 601). What is transparent is black; 16 bits
    are brought to 8. Another size is resized: bilinear, averaged where it shrinks. A pixel of 0
    becomes the least value of the unit, 255 the greatest.

    Raises:
        DataError: the model's rows are no pictures.
    """
    size = picture_shape(step)
    if size is None:
        raise DataError(f"got a picture, but rows of shape {step.shape} are none")
    height, width, channels = size
    image = _opaque(image).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32).reshape(size)  # (height, width, channels)
    if len(step.shape) == 2 or step.shape[0] in _CHANNELS:
        pixels = np.moveaxis(pixels, -1, 0).reshape(step.shape)  # ([channels], height, width)
    return pixels * ((step.maximum - step.minimum) / 255) + step.minimum


def _opaque(image: Image.Image) -> Image.Image:
    """Of 8 bits, on black where it is transparent."""
    if "A" in image.getbands() or "transparency" in image.info:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    if image.mode.startswith("I"):  # 16 bits, which conversion would cut off at 255
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image
