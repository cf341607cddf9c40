"""The gate in front of the application: what is not worth parsing is turned away here.

Knows the bytes of a request: their type, their number, and how long an answer may take. Refuses
to know what they mean. Pure ASGI.
"""

import asyncio
from collections.abc import AsyncIterator
from email.message import Message as Headers

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcdrop_service.limits import BODY_BYTES, DEADLINE, PENDING

__all__ = ["Gate"]


class _RefusedError(Exception):
    """A request is turned away with this status and message."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Gate:
    """ASGI middleware that bounds POST requests: in type, size, number and time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.pending = 0  # requests whose body has come, and whose answer has not gone
        self.held = 0  # bytes of bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        started = late = False
        taken = size = 0

        async def watched(message: Message) -> None:
            nonlocal started
            if not late:
                started = True
                await send(message)

        try:
            _check(scope)
            async with asyncio.timeout(DEADLINE):
                parts: list[bytes] = []
                async for part in _parts(receive):
                    size += len(part)
                    self.held += len(part)
                    self._admit(size)
                    parts.append(part)
                # Counted only now: a client that sends no body must not keep others out.
                body, taken = b"".join(parts), 1
                self.pending += 1
                self._admit(size)
                work = asyncio.ensure_future(self.app(scope, _replay(body, receive), watched))
                # Shielded: LitServe keeps an answer in memory until its request takes it, however
                # late, and a canceled request never would.
                await asyncio.shield(work)
        except _RefusedError as refused:
            await _refuse(refused.status, str(refused), scope, receive, send)
        except TimeoutError:
            if started:
                raise
            late = True
            await _refuse(504, f"no answer within {DEADLINE:.0f} s", scope, receive, send)
        finally:
            self.pending -= taken
            self.held -= size

    def _admit(self, size: int) -> None:
        if size > BODY_BYTES:
            raise _too_large()
        if self.pending > PENDING or self.held > PENDING * BODY_BYTES:
            raise _RefusedError(
                503, f"{PENDING} requests are waiting already: try again in a second"
            )


def _check(scope: Scope) -> None:
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"none").decode("latin-1")
    if not _is_json(kind):
        raise _RefusedError(415, f"got content type {kind[:80]!r}, wanted application/json")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > BODY_BYTES:
        raise _too_large()


def _is_json(content_type: str) -> bool:
    headers = Headers()
    headers["content-type"] = content_type
    return headers.get_content_type() == "application/json"


def _too_large() -> _RefusedError:
    return _RefusedError(
        413,
        f"the body has more than {BODY_BYTES // 2**20} MiB: send fewer rows at a time, or score a "
        "file of rows with `mcdrop score`",
    )


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes."""
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give ``body`` as the one message of a request, then what comes after it."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal message
        first, message = message, None
        return first or await receive()

    return replay


async def _refuse(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"retry-after": "1"} if status == 503 else None
    await JSONResponse({"detail": detail}, status, headers)(scope, receive, send)
