"""The gate: what stands before FastAPI, and answers what has to be fast or must not fail.

- ``POST /predict`` and ``POST /predict/stream`` are answered here: read, asked of a worker, sent.
- ``GET /health``, ``/health/live`` and ``/health/ready`` tell the live state.
- Every other request passes on to FastAPI, its body bounded in bytes and in time.

Every request has an id: the caller's ``x-request-id``, or a fresh one; it is in the scope's state
as ``request_id``, in the ask, and comes back as a header. Knows which requests are answered here.
Refuses to know how one is read (``intake``) and who answers (``backend``). Pure ASGI.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from itertools import count

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcdrop_service.ask import Headers, RefusedError, Reply
from mcdrop_service.backend import Backend
from mcdrop_service.intake import Intake, replay

__all__ = ["Gate", "Handler", "identify", "request_id"]

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
"""Answers one request; raises `RefusedError` where it will not, before anything is sent."""

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Gate:
    """ASGI middleware.

    Args:
        app: what answers everything else.
        backend: the way to the workers.
        intake: takes requests in.
    """

    def __init__(self, app: ASGIApp, backend: Backend, intake: Intake) -> None:
        self.app, self.backend, self._intake = app, backend, intake
        self.routes: dict[tuple[str, str], Handler] = {
            ("POST", "/predict"): self._predict,
            ("POST", "/predict/stream"): self._stream,
            ("GET", "/health"): self._ready,
            ("GET", "/health/ready"): self._ready,
            ("GET", "/health/live"): self._live,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http":
            self.backend.start()  # the server starts: reach for the workers
            await self.app(scope, receive, send)
            return
        handler = self.routes.get((scope["method"], scope["path"]), self._pass)
        try:
            await handler(scope, receive, send)
        except RefusedError as refused:
            await respond(refused.reply, scope, send)

    async def _predict(self, scope: Scope, receive: Receive, send: Send) -> None:
        ask = await self._intake.ask(request_id(scope), scope, receive)
        await respond(await self.backend.submit(ask, receive), scope, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events: ``estimate`` after 8, 16, 32, ... passes, then ``done`` or ``error``.

        What cannot be begun is refused with a status, as by ``/predict``.
        """
        ask = await self._intake.ask(request_id(scope), scope, receive)
        begun = False
        async with aclosing(self.backend.stream(ask, receive)) as replies:
            async for reply in replies:
                if not begun:
                    if reply.status != 200:
                        await respond(reply, scope, send)
                        return
                    begun = True
                    await send(_start(200, "text/event-stream", _EVENTS, scope))
                event = b"estimate" if reply.status == 200 else b"error"
                await send(_event(event, reply.body, more=True))
                last = reply
        if last.status == 200:
            await send(_event(b"done", b"{}", more=True))
        await send({"type": "http.response.body", "body": b""})

    async def _ready(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Whether requests will be answered: a worker is there and the server is not stopping."""
        ready = self.backend.ready
        state = {"ready": ready, "workers": self.backend.links, "of": self.backend.workers}
        await respond(Reply(orjson.dumps(state), 200 if ready else 503), scope, send)

    async def _live(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Whether this process answers at all."""
        await respond(Reply(b'{"live":true}'), scope, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, when the whole body has come."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        body = await self._intake.body(dict(scope["headers"]), receive)
        await self.app(scope, replay(body, receive), send)


def request_id(scope: Scope) -> str:
    """The id of a request: the caller's, or a fresh one, the same each time it is asked for."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = identify(dict(scope["headers"]))
    return str(state["request_id"])


def identify(headers: Mapping[bytes, bytes]) -> str:
    """The caller's id of a request with these headers, or a fresh one."""
    given = headers.get(b"x-request-id")
    if given is not None and _ID.fullmatch(given):
        return given.decode()
    return f"{_RUN}-{next(_NUMBERS):x}"


async def respond(reply: Reply, scope: Scope, send: Send) -> None:
    """Send a reply."""
    start = _start(reply.status, reply.kind, reply.headers, scope, len(reply.body))
    await send(start)
    await send({"type": "http.response.body", "body": reply.body})


_RUN = secrets.token_hex(6)
_NUMBERS = count()
_EVENTS = (("cache-control", "no-store"), ("x-accel-buffering", "no"))


def _start(
    status: int, kind: str, headers: Headers, scope: Scope, length: int | None = None
) -> Message:
    lines = [(b"content-type", kind.encode()), (b"x-request-id", request_id(scope).encode())]
    if length is not None:
        lines.append((b"content-length", b"%d" % length))
    lines += [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": lines}


def _event(name: bytes, data: bytes, *, more: bool) -> Message:
    body = b"event: %b\ndata: %b\n\n" % (name, data)
    return {"type": "http.response.body", "body": body, "more_body": more}
