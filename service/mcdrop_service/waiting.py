"""An ask that waits in an API process, and who is told of the replies to it.

Knows how one waits and stops waiting. Refuses to know whom an ask is given to, and why it fails.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from mcdrop_service.ask import RefusedError, Reply

__all__ = ["Link", "Receive", "Replies", "Waiting"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's ``receive`` of a request whose body has been read: it tells when the client goes away."""


class Link(Protocol):
    """The way to one worker."""

    load: int

    def send(self, number: int, head: bytes = b"", content: bytes = b"") -> None:
        """Send an ask, or take one back."""


class Waiting:
    """An ask that a worker is to answer.

    Args:
        packed: the ask's bytes.
        deadline: of the ask, by `time.monotonic`.
        tell: told of each reply, and of the failure after which there will be none.
        receive: of the request, where somebody has to look after the client.
        link: to the worker that is to answer; None: any.
    """

    def __init__(
        self,
        packed: tuple[bytes, bytes],
        deadline: float,
        tell: Callable[[Reply], None],
        receive: Receive | None = None,
        link: Link | None = None,
    ) -> None:
        self.number = 0
        self.packed, self.size = packed, len(packed[1])
        self.deadline, self.since = deadline, time.monotonic()
        self.tell, self.receive, self.link = tell, receive, link
        self.watcher: asyncio.Task[None] | None = None
        self.tries = 0
        self.begun = self.answered = self._failed = False

    def put(self, reply: Reply) -> None:
        """A reply has come."""
        self.begun, self.answered = True, not reply.more
        if not self._failed:
            self.tell(reply)

    def fail(self, refused: RefusedError) -> None:
        """There will be no reply; its worker is told when the ask is released."""
        if not self._failed and not self.answered:
            self._failed = True
            self.tell(refused.reply)

    async def watch(self, receive: Receive) -> None:
        """End the wait when the client goes away; what is answered then goes nowhere."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.fail(RefusedError(499, "the client went away"))


class Replies:
    """Replies as they come, for a coroutine to wait for."""

    def __init__(self) -> None:
        self._come: list[Reply] = []
        self._next: asyncio.Future[Reply] | None = None

    def tell(self, reply: Reply) -> None:
        """A reply has come."""
        if self._next is not None and not self._next.done():
            self._next.set_result(reply)
        else:
            self._come.append(reply)

    async def take(self) -> Reply:
        """The next reply, when it comes."""
        if self._come:
            return self._come.pop(0)
        self._next = asyncio.get_running_loop().create_future()
        return await self._next
