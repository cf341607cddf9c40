"""What the page asks of the server, as code to copy, and what it makes of a refusal."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from mcdrop_service.keys import make
from tests.browser import opened, wait_for_answer
from tests.page.looking import answer, asked, fact, turn
from tests.serving import serving


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


def test_the_address_names_the_model(digits: Page) -> None:
    digits.get_by_label("Model").select_option("pets, version 1")
    expect(digits.get_by_label("coat")).to_be_visible()
    wait_for_answer(digits)
    assert digits.url.endswith("#pets/1")
    assert asked(digits)["model"] == "pets"


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


def test_versions_say_how_they_stand_to_the_one_that_answers(browser: Browser, url: str) -> None:
    """As where a version is pinned, and newer ones are there."""
    models = httpx.get(f"{url}models").json()
    first = next(model for model in models["models"] if model["latest"])
    pinned = [{**first, "version": number, "latest": number == 2} for number in (1, 2, 3)]
    with opened(browser, url) as page:
        wait_for_answer(page)
        page.route("**/models", lambda route: route.fulfill(json={"models": pinned}))
        page.reload()
        told = page.get_by_label("Model").locator("option")
        name = first["name"]
        expect(told).to_have_text(
            [f"{name}, version 1 (older)", f"{name}, version 2", f"{name}, version 3 (newer)"]
        )


def test_what_the_server_refuses_is_said(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}#pets/1", expected="status of 422") as page:
        wait_for_answer(page)
        page.get_by_label("weight", exact=True).fill("1e300")
        expect(page.get_by_role("alert")).to_contain_text("'weight'")
        page.locator("pre").scroll_into_view_if_needed()
        expect(page.get_by_role("alert")).to_be_in_viewport()
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
