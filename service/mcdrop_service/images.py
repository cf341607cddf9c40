"""Rows that come as PNG or JPEG files: decoded, and turned into what training saw.

Knows base64, and a file's size and dimensions before its pixels are decoded. Refuses to know
requests, and what becomes of pixels.
"""

import base64
import binascii
import io
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mcdrop.data.pixels import picture_shape, pixels_of
from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing
from mcdrop.errors import InputError
from mcdrop_service.limits import ALL_PIXELS, IMAGE_BYTES, PIXELS

__all__ = ["decode"]

_URL = re.compile(r"^data:image/(png|jpeg);base64,")
_FORMATS = ("PNG", "JPEG")


def decode(files: Sequence[str], step: Preprocessing) -> NDArray[np.float32]:
    """Pixels of image files as `mcdrop.data.pixels.pixels_of` makes them, (B, *shape).

    Args:
        files: base64 of PNG or JPEG files.
        step: of the model that is to see them.

    Raises:
        InputError: the model takes no images, or a file is none, or is too large, or all together
            are.
    """
    if not isinstance(step, ArrayPreprocessing) or not picture_shape(step):
        raise InputError("got `images`, but the model takes none: send `inputs` or `records`")
    pictures, left = [], ALL_PIXELS
    for row, file in enumerate(files):
        pixels, unpacked = _read(row, file, step, min(PIXELS, left))
        pictures.append(pixels)
        left -= unpacked
    return np.stack(pictures)  # (B, *shape)


def _read(
    row: int, file: str, step: ArrayPreprocessing, most: int
) -> tuple[NDArray[np.float32], int]:
    """A file's pixels as the model takes them, and how many they were."""
    if len(file) > IMAGE_BYTES * 4 // 3 + 4:
        raise InputError(f"images[{row}]: the file has more than {IMAGE_BYTES:,} bytes")
    try:
        content = base64.b64decode(_URL.sub("", file, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"images[{row}]: got no base64, wanted a PNG or JPEG file in it") from None
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            unpacked = _bounded(image, most)
            return pixels_of(image, step), unpacked
    except UnidentifiedImageError:
        raise InputError(f"images[{row}]: got no PNG or JPEG file") from None
    except Image.DecompressionBombError:
        text = f"{PIXELS:,} at most, and {ALL_PIXELS:,} in all images of a request"
        raise InputError(f"images[{row}]: got too many pixels, wanted {text}") from None
    except (OSError, SyntaxError, ValueError):
        raise InputError(f"images[{row}]: the file is damaged") from None


def _bounded(image: Image.Image, most: int) -> int:
    """How many pixels an image has, of which none is decoded yet: its head tells."""
    pixels = image.width * image.height
    if pixels > most:
        raise Image.DecompressionBombError
    return pixels
