"""Rows that come as PNG or JPEG files: decoded, and turned into what training saw.

Knows base64, and a file's size and dimensions before its pixels are decoded. Refuses to know
requests and models, but for the shape and the unit of a row.
"""

import base64
import binascii
import io
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing
from mcdrop.errors import InputError
from mcdrop_service.limits import ALL_PIXELS, IMAGE_BYTES, PIXELS

__all__ = ["decode"]

_URL = re.compile(r"^data:image/(png|jpeg);base64,")
_FORMATS = ("PNG", "JPEG")


def decode(files: Sequence[str], step: Preprocessing) -> NDArray[np.float32]:
    """Gray pixels of image files, in the model's size and unit, (B, height, width).

    A picture of another size is resized (bilinear, averaged where it shrinks); color becomes
    luma (ITU-R 601), and what is transparent black. A pixel of 0 becomes the least value of the
    model's unit and 255 the greatest.

    Args:
        files: base64 of PNG or JPEG files.
        step: of the model that is to see them.

    Raises:
        InputError: the model takes no images, or a file is none, or is too large, or all together
            are.
    """
    if not isinstance(step, ArrayPreprocessing) or len(step.shape) != 2:
        raise InputError("got `images`, but the model takes none: send `inputs` or `records`")
    height, width = step.shape
    grays, left = [], ALL_PIXELS
    for row, file in enumerate(files):
        gray, unpacked = _read(row, file, (width, height), min(PIXELS, left))
        grays.append(gray)
        left -= unpacked
    pixels = np.stack(grays)
    return pixels * ((step.maximum - step.minimum) / 255) + step.minimum  # (B, height, width)


def _read(row: int, file: str, size: tuple[int, int], most: int) -> tuple[NDArray[np.float32], int]:
    """A file's pixels at another size, and how many they were."""
    if len(file) > IMAGE_BYTES * 4 // 3 + 4:
        raise InputError(f"images[{row}]: the file has more than {IMAGE_BYTES:,} bytes")
    try:
        content = base64.b64decode(_URL.sub("", file, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"images[{row}]: got no base64, wanted a PNG or JPEG file in it") from None
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            unpacked = _bounded(image, most)
            gray = _flat(image)
            gray = gray if gray.size == size else gray.resize(size, Image.Resampling.BILINEAR)
            return np.asarray(gray, np.float32), unpacked
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


def _flat(image: Image.Image) -> Image.Image:
    """Gray, on black where it is transparent."""
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, layered)
    if image.mode.startswith("I"):  # 16 bits, which conversion would cut off at 255
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image.convert("L")
