"""Pictures of any size and color as the pixels a model was trained on.

Knows gray and colors, transparency, depth and size. Refuses to know files, and how large a picture
may be.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing

__all__ = ["picture_shape", "pixels_of"]

_COLORS = 3


def picture_shape(preprocessing: Preprocessing) -> tuple[int, ...] | None:
    """The shape of a row that is a picture: (height, width), or (3, height, width) in color."""
    if not isinstance(preprocessing, ArrayPreprocessing):
        return None
    shape = preprocessing.shape
    return shape if len(shape) == 2 or (len(shape) == 3 and shape[0] == _COLORS) else None


def pixels_of(image: Image.Image, step: ArrayPreprocessing) -> NDArray[np.float32]:
    """A picture in a model's shape and unit: (height, width), or (3, height, width) in color.

    Where the model sees gray, color becomes luma (ITU-R 601). What is transparent is black; 16 bits
    are brought to 8. Another size is resized: bilinear, averaged where it shrinks. A pixel of 0
    becomes the least value of the unit, 255 the greatest.
    """
    *colors, height, width = step.shape
    image = _opaque(image).convert("RGB" if colors else "L")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32)  # (height, width), or (height, width, 3)
    pixels = np.moveaxis(pixels, -1, 0) if colors else pixels  # (3, height, width)
    return pixels * ((step.maximum - step.minimum) / 255) + step.minimum


def _opaque(image: Image.Image) -> Image.Image:
    """Of 8 bits, on black where it is transparent."""
    if "A" in image.getbands() or "transparency" in image.info:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    if image.mode.startswith("I"):  # 16 bits, which conversion would cut off at 255
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image
