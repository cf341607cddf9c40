"""The gate: what stands before FastAPI, and answers what has to be fast or must not fail.

- ``POST /predict`` and ``POST /predict/stream`` are answered here: read, asked of a worker, sent.
- ``GET /health``, ``/health/live`` and ``/health/ready`` tell the live state.
- Every other request passes on to FastAPI, its body bounded in bytes and in time.

Every request has an id: the caller's ``x-request-id``, or a fresh one; it is in the scope's state
as ``request_id``, in the ask, and comes back as a header. Knows the bytes of a request. Refuses to
know what they mean (``bodies``) and who answers (``backend``). Pure ASGI.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from itertools import count
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcdrop.packing import CONTENT_TYPE
from mcdrop_service.ask import JSON, Ask, Body, RefusedError, Reply
from mcdrop_service.backend import Backend
from mcdrop_service.bodies import KINDS, too_large
from mcdrop_service.limits import BODY_BYTES, DEADLINE, HELD_BYTES

__all__ = ["Gate", "Handler", "request_id"]

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
"""Answers one request; raises `RefusedError` where it will not, before anything is sent."""

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class Gate:
    """ASGI middleware.

    Args:
        app: what answers everything else.
        backend: the way to the workers.
        deadline: seconds from a request's arrival to its answer.
        body_bytes: of a request's body.
    """

    def __init__(
        self,
        app: ASGIApp,
        backend: Backend,
        deadline: float = DEADLINE,
        body_bytes: int = BODY_BYTES,
    ) -> None:
        self.app, self.backend, self.deadline = app, backend, deadline
        self.body_bytes = body_bytes
        self.held = 0  # bytes of bodies that are being read
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
        ask = await self._ask(scope, receive)
        await respond(await self.backend.submit(ask, receive), scope, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Server-sent events: ``estimate`` after 8, 16, 32, ... passes, then ``done`` or ``error``.

        What cannot be begun is refused with a status, as by ``/predict``.
        """
        ask = await self._ask(scope, receive)
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
        body = await self._body(dict(scope["headers"]), receive)
        await self.app(scope, _replay(body, receive), send)

    async def _ask(self, scope: Scope, receive: Receive) -> Ask:
        """Take a request in; its body is for the worker to read, off this event loop."""
        headers = dict(scope["headers"])
        deadline = time.monotonic() + self._seconds(headers)
        kind = _kind(headers)
        gzip = _gzip(headers)
        content = await self._body(headers, receive)
        shape = headers.get(b"x-shape", b"").decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        form = _FORMS.get(headers.get(b"accept", b""), "json")
        body = Body(content, kind, query, shape, gzip, self.body_bytes)
        return Ask(body, format=form, id=request_id(scope), deadline=deadline)

    def _seconds(self, headers: Mapping[bytes, bytes]) -> float:
        """How long the caller waits: ``x-timeout``, in seconds, or the server's limit."""
        text = headers.get(b"x-timeout")
        if text is None:
            return self.deadline
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not seconds > 0:
            raise RefusedError(422, "x-timeout: wanted a number of seconds above 0")
        return min(seconds, self.deadline)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The body, bounded in bytes and time; together, bodies are bounded too."""
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 20 or int(length) > self.body_bytes:
            raise too_large(self.body_bytes)
        message = await self._message(receive)
        if not message.get("more_body"):
            return self._checked(message.get("body", b""))
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.deadline):
                async for part in _parts(message, receive):
                    size += len(part)
                    self.held += len(part)
                    if size > self.body_bytes:
                        raise too_large(self.body_bytes)
                    if self.held > HELD_BYTES:
                        raise RefusedError(503, "too many bodies are coming: try again in a second")
                    parts.append(part)
        except TimeoutError:
            raise RefusedError(408, "the body did not come in time") from None
        finally:
            self.held -= size
        return b"".join(parts)

    def _checked(self, body: bytes) -> bytes:
        if len(body) > self.body_bytes:
            raise too_large(self.body_bytes)
        return body

    async def _message(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self.deadline):
                return await receive()
        except TimeoutError:
            raise RefusedError(408, "the body did not come in time") from None


def request_id(scope: Scope) -> str:
    """The id of a request: the caller's, or a fresh one, the same each time it is asked for."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        fits = _ID.fullmatch(given)
        state["request_id"] = given.decode() if fits else f"{_RUN}-{next(_NUMBERS):x}"
    return str(state["request_id"])


async def respond(reply: Reply, scope: Scope, send: Send) -> None:
    """Send a reply."""
    start = _start(reply.status, reply.kind, reply.headers, scope, len(reply.body))
    await send(start)
    await send({"type": "http.response.body", "body": reply.body})


_RUN = secrets.token_hex(6)
_NUMBERS = count()
_FORMS = {CONTENT_TYPE.encode(): "tensors"}
"""Forms of answers that a caller asks for by the header ``accept``."""
_EVENTS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def _start(
    status: int, kind: str, headers: Mapping[str, str], scope: Scope, length: int | None = None
) -> Message:
    lines = [(b"content-type", kind.encode()), (b"x-request-id", request_id(scope).encode())]
    if length is not None:
        lines.append((b"content-length", b"%d" % length))
    lines += [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": lines}


def _event(name: bytes, data: bytes, *, more: bool) -> Message:
    body = b"event: %b\ndata: %b\n\n" % (name, data)
    return {"type": "http.response.body", "body": body, "more_body": more}


def _kind(headers: Mapping[bytes, bytes]) -> str:
    """The content type, which has to be one that can be read."""
    given = headers.get(b"content-type", b"none").decode("latin-1")
    kind = given.partition(";")[0].strip().lower()
    if kind != JSON and kind not in KINDS:
        wanted = ", ".join([JSON, *KINDS])
        raise RefusedError(415, f"got content type {given[:80]!r}, wanted one of {wanted}")
    return kind


def _gzip(headers: Mapping[bytes, bytes]) -> bool:
    given = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if given not in ("identity", "gzip"):
        raise RefusedError(415, f"got content encoding {given[:80]!r}, wanted gzip or none")
    return given == "gzip"


async def _parts(message: Message, receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes, from its first message on."""
    while True:
        if message["type"] == "http.disconnect":
            raise RefusedError(499, "the client went away")
        yield message.get("body", b"")
        if not message.get("more_body"):
            return
        message = await receive()


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give ``body`` as the one message of a request, then what comes after it."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Any:
        nonlocal message
        first, message = message, None
        return first or await receive()

    return replay
