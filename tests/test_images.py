"""Pictures become rows as training saw them; what is too large is refused before it is decoded."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mcdrop.data.preprocessing import ArrayPreprocessing, TablePreprocessing
from mcdrop.errors import InputError
from mcdrop_service import images
from mcdrop_service.images import decode

STEP = ArrayPreprocessing(shape=(28, 20), scale=1 / 255, mean=0.3, std=0.4)
DIGITS = ArrayPreprocessing(shape=(8, 8), scale=1 / 16, mean=0.3, std=0.4, minimum=0, maximum=16)
GRAY = np.random.default_rng(0).integers(0, 256, (28, 20), np.uint8)


def file(image: Image.Image, form: str = "PNG", **options: object) -> str:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return base64.b64encode(stream.getvalue()).decode()


def test_a_gray_png_comes_back_to_the_bit() -> None:
    name = file(Image.fromarray(GRAY))
    for text in (name, f"data:image/png;base64,{name}"):
        found = decode([text, text], STEP)
        assert found.shape == (2, 28, 20)
        np.testing.assert_array_equal(found[1], GRAY)


def test_white_is_the_greatest_value_of_the_unit() -> None:
    white = file(Image.new("L", (8, 8), 255))
    np.testing.assert_allclose(decode([white], DIGITS), 16)


def test_color_becomes_luma_and_transparency_black() -> None:
    red = decode([file(Image.new("RGB", (20, 28), (255, 0, 0)))], STEP)
    np.testing.assert_allclose(red, 76)  # ITU-R 601: 0.299 of 255
    clear = decode([file(Image.new("RGBA", (20, 28), (255, 255, 255, 0)))], STEP)
    np.testing.assert_allclose(clear, 0)
    palette = Image.new("P", (20, 28), 1)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    np.testing.assert_allclose(decode([file(palette)], STEP), 255)


def test_a_model_of_colors_sees_them_channel_first() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    step = STEP.model_copy(update={"shape": (3, 6, 5), "maximum": 1.0})
    np.testing.assert_array_equal(
        decode([file(Image.fromarray(colors))], step)[0],
        np.moveaxis(colors, -1, 0) * np.float32(1 / 255),
    )
    gray = decode([file(Image.fromarray(GRAY))], STEP.model_copy(update={"shape": (3, 28, 20)}))
    np.testing.assert_array_equal(gray[0], np.stack([GRAY] * 3))
    with pytest.raises(InputError, match="takes none"):
        decode([file(Image.fromarray(GRAY))], STEP.model_copy(update={"shape": (4, 28, 20)}))


def test_channels_may_come_last_or_be_one() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    last = STEP.model_copy(update={"shape": (6, 5, 3)})
    np.testing.assert_array_equal(decode([file(Image.fromarray(colors))], last)[0], colors)
    for shape in (1, 28, 20), (28, 20, 1):
        found = decode([file(Image.fromarray(GRAY))], STEP.model_copy(update={"shape": shape}))
        np.testing.assert_array_equal(found[0], GRAY.reshape(shape))
    both = STEP.model_copy(update={"shape": (3, 3, 3)})  # first, where it can be either
    small = decode([file(Image.fromarray(colors[:3, :3]))], both)
    np.testing.assert_array_equal(small[0], np.moveaxis(colors[:3, :3], -1, 0))


def test_another_size_is_averaged_into_the_models() -> None:
    large = Image.fromarray(np.kron(GRAY, np.ones((4, 4), np.uint8)))
    found = decode([file(large), file(large, "JPEG", quality=95)], STEP)
    assert found.shape == (2, 28, 20)
    assert np.corrcoef(found[0].ravel(), GRAY.ravel())[0, 1] > 0.9
    assert np.abs(found[0] - found[1]).mean() < 10


def test_deep_pictures_keep_their_range() -> None:
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    np.testing.assert_allclose(decode([file(deep)], STEP)[0], GRAY, atol=1)


def png_of(width: int, height: int) -> str:
    """A PNG's head that says how large it is, and hardly anything more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    )
    return base64.b64encode(content + chunk(b"IEND", b"")).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not base64!", "got no base64"),
        ("", "got no PNG or JPEG"),
        (base64.b64encode(b"GIF89a").decode(), "got no PNG or JPEG"),
        (file(Image.new("L", (4, 4)), "GIF"), "got no PNG or JPEG"),
        (file(Image.fromarray(GRAY))[:-40] + "AAAA", "images[1]: the file is damaged"),
        (png_of(20, 28), "the file is damaged"),
        (png_of(30_000, 30_000), "got too many pixels"),
        (png_of(4001, 1000), "got too many pixels, wanted 4,000,000 at most"),
    ],
)
def test_bad_files_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        decode([file(Image.fromarray(GRAY)), text], STEP)
    assert said in str(refused.value)


def test_a_long_file_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "IMAGE_BYTES", 100)
    with pytest.raises(InputError, match="more than 100 bytes"):
        decode([file(Image.fromarray(GRAY))], STEP)


def test_a_table_takes_no_images() -> None:
    flat = ArrayPreprocessing(shape=(560,), scale=1, mean=0, std=1)
    for step in (flat, TablePreprocessing(numeric=(), categorical=())):
        with pytest.raises(InputError, match="takes none"):
            decode([file(Image.fromarray(GRAY))], step)
