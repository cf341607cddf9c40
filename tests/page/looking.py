"""What the page asks and says, read off it."""

import json
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import Page

from tests.browser import wait_for_answer


def asked(page: Page) -> dict[str, Any]:
    """The request that the page shows, as curl would send it."""
    code = page.locator("pre code").text_content() or ""
    found: dict[str, Any] = json.loads(code.split(" -d '")[1].rstrip("'"))
    return found


def row_of(page: Page, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    return np.array(asked(page)["inputs"][0]).reshape(shape)


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
