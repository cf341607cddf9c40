"""A real browser for tests, and what a page must never do in it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is installed: apt-get install chromium")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # root may not have one
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser, url: str, expected: str = "", script: str = "", **options: Any
) -> Iterator[Page]:
    """A page of its own at ``url``, in which nothing fails and which asks nobody else.

    What a browser logs of failed requests is no fault where it contains ``expected``; ``script``
    is run before the page's own.
    """
    faults: list[str] = []
    host = urlsplit(url).netloc
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
    context = browser.new_context(**options)
    page = context.new_page()
    if script:
        page.add_init_script(script)
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: (
            None
            if expected and expected in message.text
            else faults.append(f"{message.type}: {message.text}")
        ),
    )
    page.on(
        "request",
        lambda request: (
            faults.append(f"asked {request.url}")
            if urlsplit(request.url).netloc != host and not request.url.startswith("blob:")
            else None
        ),
    )
    try:
        page.goto(url)
        yield page
        assert faults == []
    finally:
        context.close()


def wait_for_answer(page: Page) -> None:
    """Wait until the newest answer, and the charts that follow it, are shown."""
    expect(page.locator("main:not([aria-busy])")).to_be_attached(timeout=15_000)
