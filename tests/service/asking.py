"""Requests to the server, and what is in its answers."""

from typing import Any

import httpx
import pytest

from tests.models import random_pixels

PIXELS = random_pixels(3).tolist()


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/predict", json=body)


def columns(rows: list[dict[str, Any]], *path: str) -> list[Any]:
    """What each row has at ``path``; dictionaries become lists in their order."""
    found = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value[key]
        found.append(list(value.values()) if isinstance(value, dict) else value)
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two answers agree, but for the last digits: those depend on who is beside them."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == pytest.approx(other, abs=1e-6)) if isinstance(one, float) else one == other
