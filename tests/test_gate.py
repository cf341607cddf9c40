"""The gate bounds type, size, number and time before anything is parsed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from mcdrop_service import gate
from mcdrop_service.gate import Gate

JSON = {"content-type": "application/json"}


async def length(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers how long the body is."""
    body = await Request(scope, receive).body()
    await JSONResponse({"length": len(body)})(scope, receive, send)


async def endless(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def chunks(size: int, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


def ask(app: Callable[..., Any], **request: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as c:
            return await c.post("/", **request)

    return asyncio.run(go())


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_passes_whole(kind: str) -> None:
    headers = {"content-type": kind}
    assert ask(Gate(length), content=b"x" * 70_000, headers=headers).json() == {"length": 70_000}
    assert ask(Gate(length), content=chunks(1000, 70), headers=headers).json() == {"length": 70_000}
    assert ask(Gate(length), content=b"", headers=headers).json() == {"length": 0}


@pytest.mark.parametrize("kind", [None, "", "text/plain", "multipart/form-data", "json", "\xff"])
def test_other_types_do_not(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind.encode("latin-1")}
    answer = ask(Gate(length), content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


def test_a_client_without_a_body_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PENDING", 1)
    app = Gate(length)

    async def silent() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    async def go() -> int:
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"content-type", b"application/json")],
        }
        waiting = [asyncio.ensure_future(app(scope, silent, None)) for _ in range(5)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as c:
            answer = await c.post("/", content=b"{}", headers=JSON)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return answer.status_code

    assert asyncio.run(go()) == 200
    assert (app.pending, app.held) == (0, 0)


def test_large_bodies_do_not_with_or_without_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_BYTES", 1000)
    assert ask(Gate(length), content=b"x" * 1000, headers=JSON).status_code == 200
    assert ask(Gate(length), content=b"x" * 1001, headers=JSON).status_code == 413
    assert ask(Gate(length), content=chunks(100, 10), headers=JSON).status_code == 200
    assert ask(Gate(length), content=chunks(100, 11), headers=JSON).status_code == 413
    for lie in ("-1", "x", "1" * 40):
        assert ask(Gate(length), headers={**JSON, "content-length": lie}).status_code == 413


def test_a_late_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "DEADLINE", 0.05)
    answer = ask(Gate(endless), content=b"{}", headers=JSON)
    assert answer.status_code == 504
    assert "no answer within" in answer.json()["detail"]


def test_a_late_answer_is_still_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """LitServe's buffer holds what no request takes; a canceled one would leave its answer."""
    monkeypatch.setattr(gate, "DEADLINE", 0.05)
    answers = {"late": "one"}

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.2)
        await JSONResponse(answers.pop("late"))(scope, receive, send)

    async def go() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(Gate(slow)), base_url="http://t"
        ) as c:
            answer = await c.post("/", content=b"{}", headers=JSON)
            await asyncio.sleep(0.3)
            return answer

    assert asyncio.run(go()).status_code == 504
    assert not answers


def test_too_many_are_asked_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PENDING", 3)
    app = Gate(endless)

    async def go() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as c:
            waiting = [
                asyncio.create_task(c.post("/", content=b"{}", headers=JSON)) for _ in range(3)
            ]
            await asyncio.sleep(0.05)
            answer = await c.post("/", content=b"{}", headers=JSON)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            for task in waiting:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        assert app.pending == 0

    asyncio.run(go())
