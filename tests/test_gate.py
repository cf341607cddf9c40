"""The gate bounds type, size and time of requests, asks the backend, and tells the live state."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from mcdrop_service.ask import Ask, RefusedError, Reply
from mcdrop_service.bodies import read
from mcdrop_service.gate import Gate
from mcdrop_service.intake import Intake

JSON = {"content-type": "application/json"}
GOOD = b'{"inputs": [[1, 2]], "samples": 7}'


class Echo:
    """A backend that answers with what it was asked, bit by bit where a stream is wanted."""

    ready, links, workers = True, 1, 1

    def start(self) -> None: ...

    async def submit(self, ask: Ask, receive: Any = None) -> Reply:
        try:
            ask = read(ask)
        except RefusedError as refused:
            return refused.reply
        rows = np.asarray(ask.rows).tolist()
        wait = ask.deadline - time.monotonic()
        told = {"rows": rows, "samples": ask.samples, "seconds": wait, "id": ask.id}
        return Reply(orjson.dumps(told))

    async def stream(self, ask: Ask, receive: Any = None) -> AsyncGenerator[Reply]:
        ask = read(ask)
        yield Reply(b"1", more=True)
        yield Reply(b'{"detail":"died"}', 503) if ask.samples == 7 else Reply(b"2")


async def length(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers how long the body is."""
    body = await Request(scope, receive).body()
    await JSONResponse({"length": len(body)})(scope, receive, send)


async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


def ask(
    path: str = "/predict", method: str = "POST", most: int = 2**24, **request: Any
) -> httpx.Response:
    async def go() -> httpx.Response:
        app = Gate(length, Echo(), Intake(30.0, most))  # type: ignore[arg-type]
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            answer = await client.request(method, path, **request)
        assert app._intake.held == 0
        return answer

    return asyncio.run(go())


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_read_and_asked(kind: str) -> None:
    answer = ask(content=GOOD, headers={"content-type": kind})
    assert answer.json()["rows"] == [[1.0, 2.0]]
    assert answer.json()["samples"] == 7
    assert answer.headers["x-request-id"] == answer.json()["id"]


def test_a_request_has_the_callers_id_if_it_is_one() -> None:
    answer = ask(content=GOOD, headers={**JSON, "x-request-id": "order-17"})
    assert answer.headers["x-request-id"] == answer.json()["id"] == "order-17"
    odd = ask(content=GOOD, headers={**JSON, "x-request-id": "a b\t"})
    assert odd.headers["x-request-id"] not in ("a b\t", "a b")


@pytest.mark.parametrize("kind", [None, "", "text/plain", "multipart/form-data", "json", "\xff"])
def test_other_types_are_refused(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind.encode("latin-1")}
    answer = ask(content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_unknown_encodings_are_refused() -> None:
    answer = ask(content=GOOD, headers={**JSON, "content-encoding": "br"})
    assert (answer.status_code, "gzip" in answer.json()["detail"]) == (415, True)


@pytest.mark.parametrize("path", ["/predict", "/predict/stream", "/other"])
def test_large_bodies_do_not_pass(path: str) -> None:
    assert ask(path, most=1000, content=b" " * 1000, headers=JSON).status_code != 413
    assert ask(path, most=1000, content=b" " * 1001, headers=JSON).status_code == 413
    assert ask(path, most=1000, content=chunks(100, 10), headers=JSON).status_code != 413
    assert ask(path, most=1000, content=chunks(100, 11), headers=JSON).status_code == 413
    for lie in ("-1", "x", "1" * 40):
        assert ask(path, most=1000, headers={**JSON, "content-length": lie}).status_code == 413


@pytest.mark.parametrize("name", ["x-shape", "accept", "content-type", "content-encoding", "query"])
def test_what_is_kept_of_requests_is_bounded(name: str) -> None:
    """Each kind of request is remembered: one that takes much memory is none."""
    long = "1" * 8192
    path, headers = "/predict", JSON
    if name == "query":
        path = f"/predict?{long}"
    else:
        headers = {**JSON, name: long}
    for _ in range(2):
        answer = ask(path, content=GOOD, headers=headers)
        assert (answer.status_code, "JSON body" in answer.json()["detail"]) == (431, True)


def test_other_requests_pass_whole() -> None:
    assert ask("/other", content=chunks(1000, 70)).json() == {"length": 70_000}
    assert ask("/other", content=b"").json() == {"length": 0}


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def silent() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def go() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        gate = Gate(length, Echo(), Intake(0.05, 2**24))  # type: ignore[arg-type]
        await gate(scope, silent, send)
        return sent

    assert asyncio.run(go())[0]["status"] == 408


@pytest.mark.parametrize(("said", "least", "most"), [("2.5", 2, 2.5), ("999", 29, 30)])
def test_a_caller_may_have_less_time(said: str, least: float, most: float) -> None:
    answer = ask(content=GOOD, headers={**JSON, "x-timeout": said})
    assert least < answer.json()["seconds"] <= most


@pytest.mark.parametrize("said", ["soon", "0", "-1", "nan"])
def test_a_time_that_is_none_is_refused(said: str) -> None:
    assert ask(content=GOOD, headers={**JSON, "x-timeout": said}).status_code == 422


def test_a_stream_says_whether_it_is_complete() -> None:
    whole = ask("/predict/stream", content=b'{"inputs": [[1, 2]]}', headers=JSON)
    assert whole.headers["content-type"] == "text/event-stream"
    assert whole.text == (
        "event: estimate\ndata: 1\n\nevent: estimate\ndata: 2\n\nevent: done\ndata: {}\n\n"
    )
    broken = ask("/predict/stream", content=GOOD, headers=JSON)
    assert broken.text.endswith('event: error\ndata: {"detail":"died"}\n\n')


def test_health_tells_the_live_state(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/health", "/health/ready", "/health/live"):
        assert ask(path, "GET").status_code == 200
    monkeypatch.setattr(Echo, "ready", False)
    assert ask("/health", "GET").status_code == ask("/health/ready", "GET").status_code == 503
    assert ask("/health/live", "GET").status_code == 200
