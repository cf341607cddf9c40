"""Pictures in color: the gray ones' tools, for each channel."""

import base64
import io
import json
import re
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import opened, wait_for_answer
from tests.page.looking import answer, asked, fact, row_of, turn

SHAPE = (3, 6, 8)


def colors_of(page: Page) -> np.ndarray:
    """What the page asks about, channels first; banners have them last."""
    if "#banners" in page.url:
        return np.moveaxis(row_of(page, (6, 8, 3)), -1, 0)
    return row_of(page, SHAPE)


def upload(page: Page, picture: Image.Image) -> str:
    """Give the page a PNG, and return its base64."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    file = {"name": "sun.png", "mimeType": "image/png", "buffer": stream.getvalue()}
    page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    expect(page.locator(".note")).to_have_text("From sun.png")
    wait_for_answer(page)
    return base64.b64encode(stream.getvalue()).decode()


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw with the mouse, by shares of the pad's width and height."""
    box = page.locator(".pad").bounding_box()
    assert box is not None
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    wait_for_answer(page)


def test_each_channel_is_treated_as_a_gray_picture_is(digits: Page) -> None:
    run = """async ({data, channels, degrees}) => {
      const p = await import('/static/picture.js');
      const big = {width: 24, height: 18, channels, data: Float64Array.from(data)};
      const small = p.hide(p.resample(big, {width: 8, height: 6}, degrees), 0.25);
      p.stamp(small, 6, 2, 2, [1, 0.5, 0.25].slice(0, channels));
      return {small: Array.from(small.data), large: Array.from(p.enlarge(small, 2).data),
              noisy: Array.from(p.addNoise(small, 0.1).data)};
    }"""
    data = np.random.default_rng(0).random((3, 18, 24))

    def apply(data: np.ndarray, degrees: float) -> Any:
        about = {"channels": len(data), "degrees": degrees}
        return digits.evaluate(run, {"data": data.ravel().tolist(), **about})

    for degrees in (0, 35):
        found = apply(data, degrees)
        gray = apply(data[:1], degrees)
        assert found["small"][:48] == gray["small"]
        assert found["large"][: 4 * 48] == gray["large"]
        last = np.array(apply(data[2:], degrees)["small"]).reshape(6, 8)
        drawn = last == 1
        assert drawn.sum() > 3
        np.testing.assert_array_equal(
            np.array(found["small"]).reshape(SHAPE)[2], np.where(drawn, 0.25, last)
        )
        noise = np.reshape(np.subtract(found["noisy"], found["small"]), (3, 48))
        assert np.abs(np.corrcoef(noise)[np.triu_indices(3, 1)]).max() < 0.6  # 4 / sqrt(48)


@pytest.mark.parametrize(("model", "scheme"), [("flags", "light"), ("banners", "dark")])
def test_a_sample_is_sent_as_it_is_and_shown_in_its_colors(
    browser: Browser, url: str, model: str, scheme: Any
) -> None:
    examples = httpx.get(f"{url}models/{model}/versions/1/examples").json()
    with opened(browser, f"{url}#{model}/1", color_scheme=scheme) as page:
        wait_for_answer(page)
        page.get_by_role("button", name="Sample 2, labeled Mali").click()
        wait_for_answer(page)
        assert asked(page)["inputs"] == [examples["rows"][1]]
        read = "e => Array.from(e.getContext('2d').getImageData(0, 0, e.width, e.height).data)"
        shown = np.reshape(page.locator(".strip canvas").nth(1).evaluate(read), (6, 8, 4))
        np.testing.assert_array_equal(np.moveaxis(shown[..., :3], -1, 0), colors_of(page))
        row = answer(url, asked(page))["predictions"][0]
        assert fact(page, "Confidence") == f"{row['confidence']:.3f}"
        box = page.locator(".pad").bounding_box()
        assert box is not None
        assert box["width"] / box["height"] == pytest.approx(8 / 6, abs=0.02)


@pytest.mark.parametrize("model", ["flags", "banners"])
def test_an_upload_keeps_its_colors_and_gets_the_answer_of_the_same_file(
    browser: Browser, url: str, model: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    with opened(browser, f"{url}#{model}/1") as page:
        wait_for_answer(page)
        file = upload(page, Image.fromarray(pixels))
        np.testing.assert_array_equal(colors_of(page), np.moveaxis(pixels, -1, 0))
        body = asked(page)
        body.pop("inputs")
        row = answer(url, {**body, "images": [file]})["predictions"][0]
        assert page.locator(".mc .big").inner_text() == row["prediction"]
        assert fact(page, "Confidence") == f"{row['confidence']:.3f}"


def test_of_a_larger_upload_the_middle_is_averaged_and_what_is_transparent_is_black(
    flags: Page,
) -> None:
    wide = np.full((96, 256, 4), 255, np.uint8)  # white, also at its border: it stays white
    wide[:, :64] = wide[:, -64:] = (0, 0, 255, 255)
    wide[32:64, 96:160, :3] = (255, 128, 0)
    wide[80:, :, 3] = 0
    upload(flags, Image.fromarray(wide))
    expected = np.full((6, 8, 3), 255)
    expected[2:4, 2:6] = (255, 128, 0)
    expected[5] = 0
    np.testing.assert_array_equal(colors_of(flags), np.moveaxis(expected, -1, 0))


def test_one_draws_in_a_color_by_mouse_and_by_keys(flags: Page) -> None:
    flags.get_by_role("button", name="Draw").click()
    wait_for_answer(flags)
    assert colors_of(flags).sum() == 0
    flags.locator("input[type=file]").focus()
    flags.keyboard.press("Tab")
    expect(flags.get_by_label("Color to draw in")).to_be_focused()
    flags.get_by_label("Color to draw in").fill("#ff8000")
    stroke(flags, (0.0, 0.25), (1.0, 0.25))
    row = colors_of(flags)
    assert (row[0, 1] > 150).all()
    np.testing.assert_allclose(row[1], row[0] * 128 / 255, atol=0.02)
    assert row[2].sum() == row[:, 3:].sum() == 0
    turn(flags, "Rotation", 180)
    assert (colors_of(flags)[0, 4] > 150).all()
    stroke(flags, (0.3, 0.25), (0.7, 0.25))
    assert (colors_of(flags)[0, 1, 3:5] > 150).all()  # under the pointer
    flags.get_by_role("button", name="Eraser").click()
    stroke(flags, (0.0, 0.75), (1.0, 0.75))
    assert colors_of(flags)[:, 4].sum() == 0
    flags.get_by_role("button", name="Draw").click()
    flags.get_by_label("Color to draw in").fill("#0000ff")
    flags.locator(".pad").press("Space")
    said = re.compile("row 4, column 5: 0 % red, 0 % green, 9[0-9] % blue")
    expect(flags.locator("#spoken")).to_have_text(said)
    wait_for_answer(flags)
    assert np.argwhere(colors_of(flags) > 200).tolist() == [[2, 3, 4]]


def test_sliders_change_all_channels(flags: Page) -> None:
    before = colors_of(flags)
    turn(flags, "Occlusion", 0.25)
    hidden = colors_of(flags)
    assert hidden[:, 1:4, 2:6].sum() == 0
    assert (hidden != before).sum() == (before[:, 1:4, 2:6] > 0).sum()
    turn(flags, "Occlusion", 0)
    turn(flags, "Noise", 0.1)
    spread = colors_of(flags) - before
    inside = (colors_of(flags) > 0) & (colors_of(flags) < 255)
    assert (spread[inside] != 0).all()
    turn(flags, "Noise", 0)
    turn(flags, "Rotation", 180)
    np.testing.assert_array_equal(colors_of(flags), before[:, ::-1, ::-1])


def test_the_request_can_be_made_elsewhere(flags: Page, url: str) -> None:
    turn(flags, "Rotation", 25)
    row = answer(url, asked(flags))["predictions"][0]
    curl = flags.locator("pre code").text_content() or ""
    said = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["predictions"] == [row]
    flags.get_by_label("Python").check()
    python = flags.locator("pre code").text_content() or ""
    told = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, check=True
    )
    name, confidence, epistemic = re.sub(r"[\[\]']", "", told.stdout).split()
    assert name == row["prediction"]
    assert float(confidence) == pytest.approx(row["confidence"], abs=1e-7)
    assert float(epistemic) == pytest.approx(row["epistemic"], abs=1e-7)
