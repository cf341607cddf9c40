"""Rows that are no pictures: a form for each model's columns."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from mcdrop.repository import read_card
from tests.browser import opened, wait_for_answer
from tests.page.looking import answer, asked, fact


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
        expect(page.get_by_text("Training never met such a value of coat.")).to_be_visible()
        assert fact(page, "Decision") == "Abstains"
        assert fact(page, "Novelty").startswith("100")


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
