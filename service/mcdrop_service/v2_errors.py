"""Failures below ``/v2`` in the protocol's own shape, ``{"error": text}``. Pure ASGI.

Whoever refuses a request there (the guard, the gate, a route, FastAPI) says ``{"detail": text}``;
the protocol's clients look for ``error``. Knows both shapes. Refuses to know why.
"""

import contextlib

import orjson
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ProtocolFailure", "V2Errors"]


class ProtocolFailure(BaseModel):
    """Why a request was not answered, in the protocol's shape."""

    error: str = Field(description="what came, what was wanted")


class V2Errors:
    """ASGI middleware that renames the one field of a failure."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; see the ASGI specification."""
        if scope["type"] != "http" or not scope["path"].startswith("/v2"):
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def renamed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _fail(start, b"".join(parts), send)

        await self.app(scope, receive, renamed)


async def _fail(start: Message, body: bytes, send: Send) -> None:
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):  # no failure of ours
        body = orjson.dumps({"error": orjson.loads(body)["detail"]})
    lengthless = [pair for pair in start["headers"] if pair[0] != b"content-length"]
    headers = [*lengthless, (b"content-length", b"%d" % len(body))]
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": body})
