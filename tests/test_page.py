"""The page in a real browser: what it asks, shows and refuses, by mouse, touch and keyboard."""

import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

import mcdrop
from mcdrop.recipe import Recipe
from mcdrop.repository import load_examples, read_card
from mcdrop_service.keys import make
from tests.browser import chromium, opened, wait_for_answer
from tests.serving import serving

FOLDER = Path(__file__).parent.parent / "service/mcdrop_service/page"


def train(root: Path, folder: Path, name: str, **changes: Any) -> None:
    recipe = Recipe.model_validate(
        {
            "network": {"hidden": [16], "dropout": 0.2},
            "training": {"lr": 0.01, "epochs": 5},
            **changes,
        }
    )
    mcdrop.train(recipe, name, root, base=folder)


@pytest.fixture(scope="module")
def root(digits_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of digits, of a classification of mixed columns and of a regression."""
    folder = tmp_path_factory.mktemp("page")
    root = folder / "models"
    shutil.copytree(digits_model, root / "digits" / "1")
    rng = np.random.default_rng(0)
    weight = rng.gamma(4, 1.5, 400).round(1)
    coat = rng.choice(["long", "short"], 400)
    kind = np.where(weight + 3 * (coat == "long") + rng.normal(size=400) > 7, "dog", "cat")
    gone = rng.random(400) < 0.1
    pets = zip(np.where(gone, "", weight.astype(str)), coat, kind, strict=True)
    lines = ["weight,coat,kind", *map(",".join, pets)]
    (folder / "pets.csv").write_text("\n".join(lines) + "\n")
    x, y = rng.uniform(-1, 1, (2, 300)).round(3)
    mass = 10 + 5 * x + rng.normal(size=300)
    lines = [
        "x,y,mass,price",
        *(f"{a},{b},{c},{-c / 2}" for a, b, c in zip(x, y, mass, strict=True)),
    ]
    (folder / "parts.csv").write_text("\n".join(lines) + "\n")
    train(root, folder, "pets", data={"source": "table", "train": "pets.csv", "target": "kind"})
    train(
        root,
        folder,
        "parts",
        task="regression",
        data={"source": "table", "train": "parts.csv", "target": ["mass", "price"]},
    )
    for name in ("line", "linear"):
        train(root, folder, name, task="regression", data={"source": name})
    return root


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with serving(root) as address:
        yield f"{address}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def digits(browser: Browser, url: str) -> Iterator[Page]:
    with opened(browser, f"{url}#digits/1") as page:
        wait_for_answer(page)
        yield page


def asked(page: Page) -> dict[str, Any]:
    """The request that the page shows, as curl would send it."""
    code = page.locator("pre code").text_content() or ""
    found: dict[str, Any] = json.loads(code.split(" -d '")[1].rstrip("'"))
    return found


def row_of(page: Page) -> np.ndarray:
    return np.array(asked(page)["inputs"][0]).reshape(8, 8)


def answer(url: str, body: dict[str, Any]) -> dict[str, Any]:
    response = httpx.post(f"{url}predict", json=body, timeout=30)
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found


def turn(page: Page, name: str, value: float) -> None:
    page.get_by_label(name, exact=True).fill(str(value))
    wait_for_answer(page)


def fact(page: Page, title: str) -> str:
    facts = page.locator(".fact").filter(has=page.get_by_role("heading", name=title, exact=True))
    return facts.locator(".number").inner_text()


def test_the_files_name_nobody_else_and_bring_no_inline_code(url: str) -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name
        assert len(text.splitlines()) < 250, path.name
    index = httpx.get(url)
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=|javascript:", index.text)
    for response in (index, httpx.get(f"{url}static/app.js"), httpx.get(f"{url}static/base.css")):
        policy = response.headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert policy[0].startswith("default-src 'self';")
        assert "unsafe" not in policy[0]
        assert response.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{url}static/app.js", headers={"if-none-match": response_tag(url)})
    assert again.status_code == 304
    for path in ("static/none.js", "static/../playground.py", "static/%2e%2e/playground.py"):
        assert httpx.get(url + path).status_code == 404


def response_tag(url: str) -> str:
    return httpx.get(f"{url}static/app.js").headers["etag"]


def test_examples_are_the_repository_s(url: str, root: Path) -> None:
    folder = root / "digits/1"
    served = httpx.get(f"{url}models/digits/versions/1/examples").json()
    kept = load_examples(folder, read_card(folder))
    assert served == kept.model_dump(mode="json")
    assert httpx.get(f"{url}models/pets/versions/1/examples").json() == {"rows": [], "labels": []}
    for path in ("none/versions/1", "digits/versions/9", "digits/versions/-1", "..%2Fx/versions/1"):
        assert httpx.get(f"{url}models/{path}/examples").status_code == 404


def test_a_sample_is_sent_as_it_is(digits: Page, url: str) -> None:
    examples = httpx.get(f"{url}models/digits/versions/1/examples").json()
    for number in (1, 7, 16):
        digits.get_by_role("button", name=re.compile(f"^Sample {number}, ")).click()
        wait_for_answer(digits)
        assert asked(digits)["inputs"] == [examples["rows"][number - 1]]
        expect(digits.locator(".note")).to_have_text(
            f"Sample {number} shows {examples['labels'][number - 1]}. You can draw on it."
        )


def test_the_numbers_shown_are_the_api_s(digits: Page, url: str) -> None:
    turn(digits, "Rotation", 40)
    body = asked(digits)
    assert set(body) == {"model", "version", "samples", "seed", "inputs"}
    told = answer(url, {**body, "passes": True})
    row = told["predictions"][0]
    plainly = row["deterministic"]
    mean, std = (row[name][row["prediction"]] for name in ("probabilities", "std"))
    assert digits.locator(".mc .big").inner_text() == row["prediction"]
    assert digits.locator(".mc .detail").inner_text() == f"{100 * mean:.1f}\xa0% ± {100 * std:.1f}"
    assert digits.locator(".sides .fixed .big").inner_text() == plainly["prediction"]
    top = plainly["probabilities"][plainly["prediction"]]
    assert digits.locator(".sides .fixed .detail").inner_text() == f"{100 * top:.1f}\xa0%"
    assert fact(digits, "Confidence") == f"{row['confidence']:.3f}"
    assert fact(digits, "Novelty") == f"{100 * row['novelty']:.0f}\xa0%"
    assert set(re.findall(r"\d", fact(digits, "Prediction set"))) == set(row["prediction_set"])
    assert fact(digits, "Decision") == ("Abstains" if row["abstain"] else "Answers")
    for name in ("aleatoric", "epistemic"):
        shown = digits.locator(f".parts .{name} b").inner_text()
        assert float(shown) == pytest.approx(row[name], rel=5e-3)
    lines = digits.locator(".classes li")
    for index, label in enumerate(told["classes"]):
        line = lines.nth(index)
        mean, std = row["probabilities"][label], row["std"][label]
        assert line.locator(".name").text_content() == label
        assert line.locator(".value").text_content() == f"{100 * mean:.1f}\xa0% ± {100 * std:.1f}"
        dots = re.findall(r"M([\d.]+) ", line.locator(".passes").get_attribute("d") or "")
        expected = [f"{1000 * single[index]:.1f}" for single in row["passes"]]
        np.testing.assert_allclose(
            [float(d) for d in dots], [float(e) for e in expected], atol=0.11
        )
    votes = sum(np.argmax(single) == int(row["prediction"]) for single in row["passes"])
    said = f"{votes} of 100 thinned networks say {row['prediction']}."
    expect(digits.locator(".sentence")).to_contain_text(said.replace("100 of 100", "All 100"))


def test_options_are_asked_and_a_wrong_one_is_not(digits: Page, url: str) -> None:
    for name, value in (("Passes", 25), ("Seed", 7), ("Level", 0.8), ("Risk", 0.2)):
        turn(digits, name, value)
    body = asked(digits)
    wanted = {"samples": 25, "seed": 7, "level": 0.8, "risk": 0.2}
    assert {name: body[name] for name in wanted} == wanted
    row = answer(url, body)["predictions"][0]
    assert fact(digits, "Confidence") == f"{row['confidence']:.3f}"
    digits.get_by_label("Level", exact=True).fill("1.5")
    expect(digits.get_by_label("Level", exact=True)).to_have_attribute("aria-invalid", "true")
    turn(digits, "Seed", 8)
    assert asked(digits)["level"] == 0.8
    turn(digits, "Risk", "")  # type: ignore[arg-type]
    assert "risk" not in asked(digits)


def test_the_sweep_is_one_request_and_shows_its_confidence(digits: Page, url: str) -> None:
    bodies: list[dict[str, Any]] = []
    digits.on(
        "request",
        lambda request: (
            bodies.append(request.post_data_json)
            if request.url == f"{url}predict" and "passes" not in request.post_data_json
            else None
        ),
    )
    turn(digits, "Noise", 0.1)
    (body,) = bodies
    assert len(body["inputs"]) == 37
    rows = answer(url, body)["predictions"]
    confidence = np.array([row["confidence"] for row in rows])
    angles = np.linspace(-180, 180, 37)
    panel = digits.get_by_role("region", name="As the picture turns")
    label = panel.get_by_role("img").get_attribute("aria-label") or ""
    for word, place in (("highest", confidence.argmax()), ("lowest", confidence.argmin())):
        angle = f"{angles[place]:g}".replace("-", "−")
        found = re.search(rf"{word}, ([\d.]+), at (−?[\d.]+)", label)
        assert found is not None
        assert found[1] == f"{confidence[place]:.2f}"
        assert float(found[2].replace("−", "-")) == float(angle.replace("−", "-"))
    line = panel.locator("path.line").get_attribute("d") or ""
    heights = np.array([float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", line)])
    slope, start = np.polyfit(heights, confidence, 1)
    np.testing.assert_allclose(slope * heights + start, confidence, atol=2e-3)
    assert slope < 0


def test_the_estimate_settles_to_the_api_s(digits: Page, url: str) -> None:
    turn(digits, "Rotation", 35)
    panel = digits.get_by_role("region", name="How it settles")
    label = panel.get_by_role("img").get_attribute("aria-label") or ""
    expect(panel.locator(".dot")).to_have_count(8)  # after 8, 16, ... 1024 passes
    row = answer(url, {**asked(digits), "samples": 1024})["predictions"][0]
    name = digits.locator(".mc .big").inner_text()
    found = re.fullmatch(rf"{name} after 1024 passes: ([\d.]+), standard error ([\d.e−]+)", label)
    assert found is not None, label
    assert float(found[1]) == pytest.approx(row["probabilities"][name], rel=1e-3)
    assert float(found[2].replace("−", "-")) == pytest.approx(row["mc_error"][name], rel=0.1)


def test_pictures_are_turned_and_averaged_exactly(digits: Page) -> None:
    """The page's own arithmetic against NumPy's."""
    big = np.random.default_rng(0).random((24, 24))
    small = big.reshape(8, 3, 8, 3).mean((1, 3))
    run = """async ({data, size, degrees, share, amount}) => {
      const p = await import('/static/picture.js');
      const big = {width: size, height: size, data: Float64Array.from(data)};
      let found = p.resample(big, 8, 8, degrees);
      found = p.hide(p.addNoise(found, amount), share);
      return {data: Array.from(found.data), raw: p.toRaw(found, {minimum: 0, maximum: 255}),
              back: Array.from(p.resample(p.enlarge(found, 4), 8, 8, 0).data)};
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


def test_everything_can_be_done_by_keyboard(digits: Page) -> None:
    reached = set()
    for _ in range(60):
        digits.keyboard.press("Tab")
        reached.add(digits.evaluate("document.activeElement.outerHTML"))
    selector = "select, button, input:not([type=radio]), textarea, [tabindex='0'], a"
    wanted = digits.eval_on_selector_all(
        selector, "all => all.filter(e => e.checkVisibility()).map(e => e.outerHTML)"
    )
    assert set(wanted) <= reached
    digits.get_by_role("button", name="Draw").press("Enter")
    expect(digits.locator(".pad")).to_be_focused()
    for key in ("ArrowUp", "ArrowLeft", "Space", "ArrowDown", "Space", "ArrowDown", "Space"):
        digits.keyboard.press(key)
    wait_for_answer(digits)
    row = row_of(digits)
    assert (row[3:6, 3] > 12).all()
    assert row[:, [0, 1, 5, 6, 7]].sum() == 0
    digits.keyboard.press("Backspace")
    wait_for_answer(digits)
    assert row_of(digits)[5, 3] == 0
    digits.get_by_label("Rotation").press("ArrowRight")
    expect(digits.locator("output").first).to_have_text("5°")
    digits.get_by_label("Python").check()
    expect(digits.locator("pre")).to_contain_text("mcdrop.Client")


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


def test_a_form_is_made_from_the_model_s_columns(browser: Browser, url: str, root: Path) -> None:
    card = read_card(root / "pets/1")
    (weight,) = card.preprocessing.numeric  # type: ignore[union-attr]
    with opened(browser, f"{url}#pets/1") as page:
        wait_for_answer(page)
        slider = page.get_by_label("weight, slider")
        field = page.get_by_label("weight", exact=True)
        assert float(slider.get_attribute("max") or "") == pytest.approx(weight.maximum, abs=0.1)
        choices = page.get_by_label("coat").locator("option").all_inner_texts()
        assert choices == ["long", "short", "any other", "missing"]
        slider.fill("9.5")
        page.get_by_label("coat").select_option("short")
        wait_for_answer(page)
        body = asked(page)
        assert body["records"] == [{"weight": 9.5, "coat": "short"}]
        row = answer(url, body)["predictions"][0]
        assert fact(page, "Confidence") == f"{row['confidence']:.3f}"
        expect(
            page.get_by_role("region", name="As weight changes").get_by_role("img")
        ).to_be_visible()
        field.fill("")
        page.get_by_label("coat").select_option("missing")
        wait_for_answer(page)
        assert asked(page)["records"] == [{"weight": None, "coat": None}]


def test_a_regression_shows_its_interval_and_its_passes(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}#parts/1") as page:
        wait_for_answer(page)
        page.get_by_label("x, slider").fill("0.5")
        page.get_by_label("Target").select_option("price")
        page.get_by_label("Column that changes").select_option("y")
        wait_for_answer(page)
        body = asked(page)
        row = answer(url, {**body, "passes": True})["predictions"][0]

        def number(text: str) -> float:
            return float(text.replace("−", "-").removeprefix("± "))

        assert number(page.locator(".mc .big").inner_text()) == pytest.approx(
            row["mean"]["price"], rel=1e-3
        )
        fixed = page.locator(".sides .fixed .big").inner_text()
        assert number(fixed) == pytest.approx(row["deterministic"]["mean"]["price"], rel=1e-3)
        std = page.locator(".mc .detail").inner_text()
        assert number(std) == pytest.approx(row["std"]["price"], rel=1e-2)
        low, high = map(number, fact(page, "Interval").split(" to "))
        ends = row["interval"]["price"]
        assert [low, high] == pytest.approx([ends["lower"], ends["upper"]], rel=1e-3)
        passes = [single[1] for single in row["passes"]]
        label = page.get_by_role("region", name="Every pass").get_by_role("img")
        told = label.get_attribute("aria-label") or ""
        assert told.startswith(f"{len(passes)} passes from ")
        least, most = map(number, re.findall(r"from (\S+) to (\S+),", told)[0])
        assert [least, most] == pytest.approx([min(passes), max(passes)], rel=1e-3)
        for name in ("aleatoric", "epistemic"):
            shown = page.locator(f".parts .{name} b").inner_text()
            assert number(shown) == pytest.approx(row[name]["price"], rel=6e-3)
        sweep = page.get_by_role("region", name="As a column changes")
        expect(sweep.locator("path.band")).to_have_count(1)
        expect(sweep.locator("rect.beyond")).to_have_count(2)


def test_python_and_curl_get_the_answer_the_page_shows(digits: Page, url: str) -> None:
    turn(digits, "Rotation", -20)
    row = answer(url, asked(digits))["predictions"][0]
    curl = digits.locator("pre code").text_content() or ""
    if shutil.which("curl"):
        said = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True)
        assert json.loads(said.stdout)["predictions"] == [row]
    digits.get_by_label("Python").check()
    python = digits.locator("pre code").text_content() or ""
    said = subprocess.run(
        [sys.executable, "-c", python], capture_output=True, text=True, check=True
    )
    numbers = [float(number) for number in re.findall(r"[-\d.e]+", said.stdout)]
    assert numbers == pytest.approx(
        [int(row["prediction"]), row["confidence"], row["epistemic"]], abs=1e-7
    )


def test_the_request_is_copied(browser: Browser, url: str) -> None:
    rights = ["clipboard-read", "clipboard-write"]
    with opened(browser, f"{url}#digits/1", permissions=rights) as page:
        wait_for_answer(page)
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator("pre code").text_content()


def test_a_key_is_asked_for_kept_and_sent(browser: Browser, root: Path) -> None:
    secret, line = make("ann")
    with (
        serving(root, keys=line) as address,
        opened(browser, f"{address}/#digits/1", expected="status of 401") as page,
    ):
        field = page.get_by_label("This server asks for an API key.")
        expect(field).to_be_focused()
        expect(page.get_by_role("alert")).to_be_hidden()
        field.fill("wrong")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("got an unknown key")
        field.fill(secret)
        field.press("Enter")
        wait_for_answer(page)
        expect(field).to_be_hidden()
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.get_by_role("region", name="How it settles").get_by_role("img")).to_be_visible()
        code = page.locator("pre code").text_content() or ""
        assert secret not in code
        assert '-H "X-API-Key: $MCDROP_API_KEY"' in code
        assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 1]


def test_where_no_version_is_the_latest_the_first_is_shown(browser: Browser, url: str) -> None:
    """As when the model that answers has been unloaded while the page was loaded."""
    models = httpx.get(f"{url}models").json()
    for model in models["models"]:
        model["latest"] = False
    with opened(browser, url) as page:
        wait_for_answer(page)
        page.route("**/models", lambda route: route.fulfill(json=models))
        page.reload()
        wait_for_answer(page)
        first = models["models"][0]
        expect(page.get_by_label("Model").locator("option:checked")).to_contain_text(first["name"])


def test_what_the_server_refuses_is_said(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}#pets/1", expected="status of 422") as page:
        wait_for_answer(page)
        page.get_by_label("weight", exact=True).fill("1e300")
        expect(page.get_by_role("alert")).to_contain_text("'weight'")
        page.get_by_label("weight", exact=True).fill("4")
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_server_that_is_busy_is_asked_again_and_one_that_is_gone_is_said(
    browser: Browser, url: str
) -> None:
    with opened(browser, f"{url}#pets/1", expected="Failed to load") as page:
        wait_for_answer(page)
        before = fact(page, "Confidence")
        busy = [429, 503]

        def refuse(route: Any) -> None:
            if busy:
                detail = {"detail": "too many requests"}
                route.fulfill(status=busy.pop(), json=detail, headers={"retry-after": "1"})
            else:
                route.continue_()

        page.route("**/predict", refuse)
        page.get_by_label("coat").select_option("short")
        expect(page.locator(".fact .number").first).not_to_have_text(before)
        assert busy == []
        expect(page.get_by_role("alert")).to_be_hidden()
        page.unroute("**/predict")
        page.route("**/predict", lambda route: route.abort())
        page.get_by_label("coat").select_option("long")
        expect(page.get_by_role("alert")).to_have_text(re.compile("cannot be reached"))


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [x, y] = [light(rgba(a)), light(rgba(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (rgba(color)[3] === 255) return color;
    }
    throw new Error('nothing is opaque');
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest('.unseen')) continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const found = ratio(color, behind(element));
    if (found < 4.5) low.push(`${node.data}: ${found.toFixed(2)}`);
  }
  for (const element of document.querySelectorAll('button, select, input:not([type=file]), pre')) {
    if (element.closest('.strip') || element.tagName === 'PRE') continue;  // not told by borders
    const {borderTopColor} = getComputedStyle(element);
    const found = ratio(borderTopColor, behind(element.parentElement));
    if (element.type !== 'range' && element.type !== 'radio' && found < 3)
      low.push(`border of ${element.outerHTML.slice(0, 60)}: ${found.toFixed(2)}`);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("model", ["digits", "parts"])
def test_everything_can_be_read(browser: Browser, url: str, scheme: Any, model: str) -> None:
    """WCAG 2.2 AA: text at 4.5 to 1, edges of controls at 3 to 1, a name for every control."""
    with opened(browser, f"{url}#{model}/1", color_scheme=scheme) as page:
        wait_for_answer(page)
        assert page.evaluate(CONTRAST) == []
        nameless = page.eval_on_selector_all(
            "input, select, textarea, button, [role=img], [role=application], section",
            """all => all.filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim()))
                 .map(e => e.outerHTML)""",
        )
        assert nameless == []
        twice = page.evaluate(
            "(ids => ids.filter((id, i) => ids.indexOf(id) !== i))"
            "([...document.querySelectorAll('[id]')].map(e => e.id))"
        )
        assert twice == []


SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifted += entry.value;
  }).observe({type: 'layout-shift', buffered: true});
"""


@pytest.mark.parametrize(
    ("model", "width"),
    [
        *(("digits", 360), ("digits", 768), ("digits", 1280)),
        *(("pets", 360), ("parts", 360), ("parts", 1280), ("linear", 360)),
    ],
)
def test_it_fits_any_screen_and_nothing_jumps(
    browser: Browser, url: str, model: str, width: int
) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, f"{url}#{model}/1", script=SHIFTS, viewport=size) as page:
        wait_for_answer(page)
        for slider in page.locator("input[type=range]").all()[:2]:
            for key in ("PageUp", "PageUp", "Home"):
                slider.press(key)
                wait_for_answer(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("window.shifted") < 0.02
        small = page.eval_on_selector_all(
            "button, select, input:not(.unseen):not([type=radio]), .button",
            """all => all.filter(e => e.checkVisibility())
                 .filter(e => Math.min(e.getBoundingClientRect().width,
                                       e.getBoundingClientRect().height) < 24)
                 .map(e => e.outerHTML)""",
        )
        assert small == []  # WCAG 2.2: targets of 24 pixels at least


def test_on_a_phone_the_gist_stays_in_sight(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}#digits/1", viewport={"width": 360, "height": 740}) as page:
        wait_for_answer(page)
        gist = page.locator(".glance")
        expect(gist).to_be_visible()
        shown = page.locator(".mc .big").text_content()
        expect(gist.locator("b")).to_have_text(shown or "")
        gist.click()
        expect(page.locator(".verdict")).to_be_in_viewport()
        expect(gist).to_be_hidden()


def test_motion_is_reduced_where_it_is_unwanted(browser: Browser, url: str) -> None:
    moving = "getComputedStyle(document.querySelector('.split i')).transitionDuration"
    for motion, seconds in (("reduce", "0s"), ("no-preference", "0.15s, 0.15s")):
        with opened(browser, f"{url}#digits/1", reduced_motion=motion) as page:
            wait_for_answer(page)
            assert page.evaluate(moving) == seconds


def test_long_rows_are_typed_and_short_ones_have_a_form(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}#linear/1") as page:
        wait_for_answer(page)
        area = page.get_by_label("The row")
        area.fill("1 2 3")
        expect(page.locator("small", has_text="3 numbers, 200 are wanted")).to_be_visible()
        area.fill(", ".join(["0.5"] * 200))
        wait_for_answer(page)
        assert asked(page)["inputs"] == [[0.5] * 200]
    with opened(browser, f"{url}#line/1") as page:
        wait_for_answer(page)
        page.get_by_label("x", exact=True).fill("0.25")
        wait_for_answer(page)
        assert asked(page)["inputs"] == [[0.25]]


def test_the_address_names_the_model(digits: Page) -> None:
    digits.get_by_label("Model").select_option("pets, version 1")
    expect(digits.get_by_label("coat")).to_be_visible()
    wait_for_answer(digits)
    assert digits.url.endswith("#pets/1")
    assert asked(digits)["model"] == "pets"
