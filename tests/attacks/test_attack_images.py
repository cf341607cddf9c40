"""Pictures made to cost more than they are worth."""

import base64
import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.attacks.conftest import Target, refused


def png(width: int, height: int, rows: bytes | None = None) -> bytes:
    """A PNG of one gray, whatever its size: some kilobytes for gigabytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(rows if rows is not None else b"\0" * 1000)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind: str, size: tuple[int, int] = (8, 8)) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros(size, np.uint8)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        png(50_000, 50_000),
        png(2**31 - 1, 2**31 - 1),
        png(0, 8),
        png(8, 8, b"\0" * 3),
        saved("PNG", (3000, 3000)),
        saved("PNG")[:41],
        saved("GIF"),
        saved("BMP"),
        saved("TIFF"),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
        b"\xff\xd8\xff\xe0" + b"\0" * 100,
        b"",
    ],
    ids=lambda file: repr(file[:12]) + str(len(file)),
)
def test_pictures_are_refused_before_they_are_unpacked(target: Target, file: bytes) -> None:
    before = target.memory()
    body = {"images": [base64.b64encode(file).decode()], "model": "tiny"}
    refused(target.http.post("/predict", json=body), 413, 422)
    assert target.memory() - before < 100 * 2**20


def test_many_pictures_that_are_each_just_small_enough(target: Target) -> None:
    """A body of 3,000 would take a minute to decode, in which nobody else is answered."""
    file = base64.b64encode(saved("PNG", (2000, 2000))).decode()
    start = time.monotonic()
    refused(target.http.post("/predict", json={"images": [file] * 1000, "model": "tiny"}), 422)
    assert time.monotonic() - start < 5  # some tenths of a second, on a machine that rests


def test_text_that_is_no_base64(target: Target) -> None:
    for text in (
        "",
        "?",
        "data:image/png;base64,AAAA",
        "A" * 10**6,
        "/etc/passwd",
        "http://x/y.png",
    ):
        refused(target.http.post("/predict", json={"images": [text], "model": "tiny"}), 413, 422)
