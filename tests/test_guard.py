"""Every route needs a key where there are keys; every answer is dressed."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from mcdrop_service.guard import CALLER, Guard
from mcdrop_service.headers import SecureHeaders
from mcdrop_service.keys import Keyring, make, read_keys

KEY, LINE = make("alice")
SLOW, SLOW_LINE = make("slow", 0.5)
RING = read_keys([LINE, SLOW_LINE])


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse({"caller": scope.get(CALLER)})(scope, receive, send)


def ask(app: Any, path: str = "/predict", **request: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as c:
            return await c.request(request.pop("method", "POST"), path, **request)

    return asyncio.run(go())


def guard(*doors: str, keys: Any = RING) -> Guard:
    return Guard(echo, Keyring(keys), doors)


@pytest.mark.parametrize(
    "headers",
    [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}],
)
def test_a_key_opens(headers: dict[str, str]) -> None:
    answer = ask(guard(), headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"caller": "alice"})


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-API-Key", "")],
        [("X-API-Key", KEY[:-1])],
        [("X-API-Key", KEY + "x")],
        [("X-API-Key", KEY.swapcase())],
        [("X-API-Key", LINE.split(":")[1])],
        [("X-API-Key", KEY), ("X-API-Key", KEY)],
        [("X-API-Key", KEY), ("Authorization", f"Bearer {KEY}")],
        [("Authorization", f"Basic {KEY}")],
        [("Authorization", KEY)],
        [("Cookie", f"X-API-Key={KEY}")],
        [("X-API-Key", "é" * 1000)],
    ],
)
def test_anything_else_does_not(headers: list[tuple[str, str]]) -> None:
    raw = [(name, value.encode()) for name, value in headers]
    answer = ask(guard(), headers=raw)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert list(answer.json()) == ["detail"]
    assert ask(guard(), "/predict?x-api-key=" + KEY).status_code == 401


UNLOAD = "/v2/repository/models/tiny/unload"
PATHS = [
    "/",
    "/predict",
    "/models",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/health",
    "/none",
    UNLOAD,
]


@pytest.mark.parametrize(
    ("doors", "paths"),
    [
        ((), set()),
        (("health",), {"/health"}),
        (("docs", "page"), {"/", "/docs", "/openapi.json"}),
        (("metrics",), {"/metrics"}),
        (("repository",), {UNLOAD}),
    ],
)
def test_only_open_doors_need_none(doors: tuple[str, ...], paths: set[str]) -> None:
    app = guard(*doors)
    assert {path for path in PATHS if ask(app, path).status_code == 200} == paths
    for path in ("/docs/../predict", "/healthy", "/HEALTH", "/predict/health"):
        assert ask(app, path).status_code == 401


def test_without_keys_all_may_ask() -> None:
    assert ask(guard(keys=())).status_code == 200


def test_a_key_that_asks_too_often_is_told_to_wait() -> None:
    app = guard()
    assert ask(app, headers={"X-API-Key": SLOW}).status_code == 200
    answer = ask(app, headers={"X-API-Key": SLOW})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "2"
    assert "0.5 times a second" in answer.json()["detail"]
    assert ask(app, headers={"X-API-Key": KEY}).status_code == 200


def test_every_answer_is_dressed_unless_it_says_otherwise() -> None:
    plain = ask(SecureHeaders(guard()))
    assert plain.status_code == 401
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert plain.headers["x-frame-options"] == "DENY"
    assert plain.headers["cache-control"] == "no-store"
    assert "unsafe-inline" not in plain.headers["content-security-policy"].split("style-src")[0]
    assert "jsdelivr" in ask(SecureHeaders(echo), "/docs").headers["content-security-policy"]

    async def cached(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        answer = JSONResponse(str(request.url), headers={"Cache-Control": "max-age=60"})
        await answer(scope, receive, send)

    assert ask(SecureHeaders(cached)).headers.get_list("cache-control") == ["max-age=60"]
