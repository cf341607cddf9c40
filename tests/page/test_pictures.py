"""Pictures: turned, drawn by mouse and touch, taken from a file."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import opened, wait_for_answer
from tests.page.looking import row_of, turn


def test_pictures_are_turned_and_averaged_exactly(digits: Page) -> None:
    """The page's own arithmetic against NumPy's."""
    big = np.random.default_rng(0).random((24, 24))
    small = big.reshape(8, 3, 8, 3).mean((1, 3))
    run = """async ({data, size, degrees, share, amount}) => {
      const p = await import('/static/picture.js');
      const big = {width: size, height: size, channels: 1, data: Float64Array.from(data)};
      const eight = {width: 8, height: 8, channels: 1};
      let found = p.resample(big, eight, degrees);
      found = p.hide(p.addNoise(found, amount), share);
      return {data: Array.from(found.data), raw: p.toRaw(found, eight, {minimum: 0, maximum: 255}),
              back: Array.from(p.resample(p.enlarge(found, 4), eight, 0).data)};
    }"""

    def apply(data: np.ndarray, degrees: float = 0, share: float = 0, amount: float = 0) -> Any:
        about = {"degrees": degrees, "share": share, "amount": amount}
        return digits.evaluate(run, {"data": data.ravel().tolist(), "size": len(data), **about})

    for quarter in range(4):
        found = apply(big, -90 * quarter)  # numpy turns the other way
        np.testing.assert_allclose(
            np.reshape(found["data"], (8, 8)), np.rot90(small, quarter), atol=1e-12
        )
        assert found["back"] == pytest.approx(found["data"], abs=1e-12)
    assert apply(small)["data"] == small.ravel().tolist()
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8))
    assert apply(pixels / 255)["raw"] == pixels.ravel().tolist()
    hidden = np.reshape(apply(np.ones((8, 8)), share=0.25)["data"], (8, 8))
    assert hidden[2:6, 2:6].sum() == 0
    assert hidden.sum() == 48
    middle = np.full((8, 8), 0.5)
    noise = np.array(apply(middle, amount=0.1)["data"]) - 0.5
    # 64 normal draws of one fixed seed: mean and spread within 4 standard errors.
    assert abs(noise.mean()) < 4 * 0.1 / 8
    assert abs(noise.std() - 0.1) < 4 * 0.1 / np.sqrt(128)
    assert apply(middle, amount=0.1) == apply(middle, amount=0.1)
    slanted = np.array(apply(big, 30)["data"])
    assert slanted.min() >= 0
    assert slanted.max() <= big.max()


def test_drawing_by_mouse_leaves_ink_where_it_went(digits: Page) -> None:
    digits.get_by_role("button", name="Draw").click()
    wait_for_answer(digits)
    assert row_of(digits).sum() == 0
    box = digits.locator(".pad").bounding_box()
    assert box is not None

    def stroke(*points: tuple[float, float]) -> None:
        for number, (x, y) in enumerate(points):
            digits.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
            if number == 0:
                digits.mouse.down()
        digits.mouse.up()
        wait_for_answer(digits)

    stroke((0.31, 0.1), (0.31, 0.9))  # down the third column
    row = row_of(digits)
    assert (row[1:7, 2] > 8).all()
    assert row[:, 4:].sum() == 0
    turn(digits, "Rotation", 90)  # clockwise: left becomes up
    assert (row_of(digits)[2, 1:7] > 8).all()
    stroke((0.81, 0.1), (0.81, 0.9))
    row = row_of(digits)
    assert (row[1:7, 6] > 8).all()  # under the pointer, whichever way the picture is turned
    assert (row[2, 1:7] > 8).all()
    digits.get_by_role("button", name="Eraser").click()
    stroke((0.81, 0.1), (0.81, 0.9))
    assert row_of(digits)[4:, 6].sum() == 0
    digits.get_by_role("button", name="Invert").click()
    wait_for_answer(digits)
    assert row_of(digits)[4, 6] == 16


def test_drawing_by_touch(browser: Browser, url: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with opened(browser, f"{url}#digits/1", **phone) as page:
        wait_for_answer(page)
        page.get_by_role("button", name="Draw").tap()
        page.locator(".pad").scroll_into_view_if_needed()
        box = page.locator(".pad").bounding_box()
        assert box is not None
        page.touchscreen.tap(box["x"] + box["width"] * 0.56, box["y"] + box["height"] * 0.31)
        wait_for_answer(page)
        row = row_of(page)
        assert np.unravel_index(row.argmax(), row.shape) == (2, 4)


def test_an_upload_becomes_ink_on_paper(digits: Page) -> None:
    """Black on white, wider than high: the middle is taken, and dark becomes ink."""
    gray = np.full((32, 64), 255, np.uint8)
    gray[8:24, 28:32] = 0
    raw = b"".join(b"\0" + line.tobytes() for line in gray)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    size = struct.pack(">IIBBBBB", 64, 32, 8, 0, 0, 0, 0)
    png = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    bar = {"name": "bar.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + png}
    digits.locator("input[type=file]").set_input_files(bar)  # type: ignore[arg-type]
    expect(digits.locator(".note")).to_have_text("From bar.png")
    wait_for_answer(digits)
    expected = np.zeros((8, 8))
    expected[2:6, 3] = 16
    np.testing.assert_array_equal(row_of(digits), expected)
    text = {"name": "no.png", "mimeType": "image/png", "buffer": b"no picture"}
    digits.locator("input[type=file]").set_input_files(text)  # type: ignore[arg-type]
    expect(digits.locator(".note")).to_contain_text("no.png is no picture")
