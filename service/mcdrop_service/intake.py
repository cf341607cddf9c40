"""Requests taken in: from headers and the pieces of a body to an `Ask`.

Knows HTTP's headers, and what a body may take in bytes and in time, alone and together with
others. Refuses to know what bodies mean (``bodies``) and who answers.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Any

from starlette.types import Message, Receive, Scope

from mcdrop.packing import CONTENT_TYPE
from mcdrop_service.ask import JSON, Ask, Body, RefusedError
from mcdrop_service.bodies import KINDS, too_large
from mcdrop_service.limits import HELD_BYTES

__all__ = ["Intake", "replay"]

_ABOUT_BYTES = 8 * 2**10  # of the query and the headers that asks have in common: they are kept
_FORMS = {CONTENT_TYPE.encode(): "tensors"}
"""Forms of answers that a caller asks for by the header ``accept``."""


class Intake:
    """Takes requests in.

    Args:
        deadline: seconds from a request's arrival to its answer.
        body_bytes: of a request's body.
    """

    def __init__(self, deadline: float, body_bytes: int) -> None:
        self.deadline, self.body_bytes = deadline, body_bytes
        self.held = 0  # bytes of bodies that are being read

    async def ask(self, name: str, scope: Scope, receive: Receive) -> Ask:
        """Take a request in; its body is for the worker to read, off this event loop."""
        headers = dict(scope["headers"])
        deadline = self.until(headers)
        empty, form = _empty(*_about(headers, scope["query_string"]), self.body_bytes)
        body = empty._replace(content=await self.body(headers, receive))
        return Ask(body, format=form, id=name, deadline=deadline)

    def shared(self, headers: Mapping[bytes, bytes], query: bytes) -> bytes:
        """What the ask of a request with these headers shares with others: see `Ask.share`."""
        return _shared(*_about(headers, query), self.body_bytes)

    def until(self, headers: Mapping[bytes, bytes]) -> float:
        """When nobody waits any more: ``x-timeout`` seconds from now, or the server's limit."""
        text = headers.get(b"x-timeout")
        if text is None:
            return time.monotonic() + self.deadline
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not seconds > 0:
            raise RefusedError(422, "x-timeout: wanted a number of seconds above 0")
        return time.monotonic() + min(seconds, self.deadline)

    async def body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
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


def _about(headers: Mapping[bytes, bytes], query: bytes) -> tuple[bytes, ...]:
    """What makes one kind of request: callers repeat themselves, so that few have to be read."""
    get = headers.get
    kind, coding = get(b"content-type", b"none"), get(b"content-encoding", b"identity")
    about = kind, coding, get(b"x-shape", b""), get(b"accept", b""), query
    if sum(map(len, about)) > _ABOUT_BYTES:
        raise RefusedError(
            431,
            f"the query and the headers that say how to read the body have {sum(map(len, about))} "
            f"bytes, wanted {_ABOUT_BYTES} at most: send options in a JSON body",
        )
    return about


@lru_cache(256)
def _shared(*about: Any) -> bytes:
    empty, form = _empty(*about)
    return Ask(empty, format=form).share()[0]


@lru_cache(256)
def _empty(
    kind: bytes, coding: bytes, shape: bytes, accept: bytes, query: bytes, most: int
) -> tuple[Body, str]:
    """The body of such a request, empty, and the form of its answer."""
    texts = query.decode("latin-1"), shape.decode("latin-1")
    return Body(b"", _kind(kind), *texts, _gzip(coding), most), _FORMS.get(accept, "json")


def _kind(header: bytes) -> str:
    """The content type, which has to be one that can be read."""
    given = header.decode("latin-1")
    kind = given.partition(";")[0].strip().lower()
    if kind != JSON and kind not in KINDS:
        wanted = ", ".join([JSON, *KINDS])
        raise RefusedError(415, f"got content type {given[:80]!r}, wanted one of {wanted}")
    return kind


def _gzip(header: bytes) -> bool:
    given = header.decode("latin-1").strip().lower()
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


def replay(body: bytes, receive: Receive) -> Receive:
    """Give ``body`` as the one message of a request, then what comes after it."""
    message: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def give() -> Any:
        nonlocal message
        first, message = message, None
        return first or await receive()

    return give
