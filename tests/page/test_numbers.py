"""The numbers that the page shows are the API's."""

import re
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import opened, wait_for_answer
from tests.page.looking import answer, asked, fact, turn


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
            return float(text.replace("−", "-").replace(",", "").removeprefix("± "))

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
        least, most = map(number, re.findall(r"from (\S+) to (\S+), ", told)[0])
        assert [least, most] == pytest.approx([min(passes), max(passes)], rel=1e-3)
        for name in ("aleatoric", "epistemic"):
            shown = page.locator(f".parts .{name} b").inner_text()
            assert number(shown) == pytest.approx(row[name]["price"], rel=6e-3)
        sweep = page.get_by_role("region", name="As a column changes")
        expect(sweep.locator("path.band")).to_have_count(1)
        expect(sweep.locator("rect.beyond")).to_have_count(2)
