"""An ask that waits in an API process, and the replies to it that have come.

Knows how one waits and stops waiting. Refuses to know whom an ask is given to, and why it fails.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from mcdrop_service.ask import Ask, RefusedError, Reply

__all__ = ["Link", "Receive", "Waiting"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's ``receive`` of a request whose body has been read: it tells when the client goes away."""


class Link(Protocol):
    """The way to one worker."""

    load: int

    def send(self, number: int, head: bytes = b"", content: bytes = b"") -> None:
        """Send an ask, or take one back."""


class Waiting:
    """An ask and the replies to it that have come."""

    def __init__(self, ask: Ask, receive: Receive | None, link: "Link | None" = None) -> None:
        self.number = 0
        self.packed = ask.pack()
        self.size = len(self.packed[1])
        self.deadline, self.since = ask.deadline, time.monotonic()
        self.receive = receive
        self.watcher: asyncio.Task[None] | None = None
        self.link = link
        self.tries = 0
        self.begun = self.answered = False
        self._failure: RefusedError | None = None
        self._replies: list[Reply] = []
        self._next: asyncio.Future[Reply] | None = None

    def put(self, reply: Reply) -> None:
        """A reply has come."""
        self.begun, self.answered = True, not reply.more
        if self._next is not None and not self._next.done():
            self._next.set_result(reply)
        else:
            self._replies.append(reply)

    def fail(self, refused: RefusedError) -> None:
        """There will be no reply; its worker is told when the ask is released."""
        self._failure = refused
        if self._next is not None and not self._next.done():
            self._next.set_exception(refused)

    async def take(self) -> Reply:
        """The next reply, when it comes."""
        if self._replies:
            return self._replies.pop(0)
        if self._failure is not None:
            raise self._failure
        self._next = asyncio.get_running_loop().create_future()
        return await self._next

    async def watch(self, receive: Receive) -> None:
        """End the wait when the client goes away; what is answered then goes nowhere."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.fail(RefusedError(499, "the client went away"))
