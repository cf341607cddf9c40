"""The API process's way to the workers: one link to each, and every ask that waits for a reply.

`Backend.submit` answers an ask, `Backend.stream` answers one bit by bit, and `Backend.give` lets
somebody be told of an answer who does not want a coroutine for it. All

- take on a bounded number of asks and of bytes, and refuse further ones with 503;
- answer 504 when the ask's deadline has come, whatever its worker does;
- take an ask back from its worker when the client has gone away;
- give an ask to another worker, once, when its worker has died: an evaluation changes nothing.

Workers are found by their sockets' names, and a link that breaks is tried again until it holds,
so that `ready` and `links` tell the live state. Refuses to know what an ask means.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator
from multiprocessing import Value
from pathlib import Path
from typing import Any

import orjson

from mcdrop_service.ask import LOOK, TELL, Ask, RefusedError, Reply
from mcdrop_service.limits import HELD_BYTES, PENDING
from mcdrop_service.waiting import Receive, Replies, Waiting
from mcdrop_service.wire import Wire

__all__ = ["Backend", "Receive"]

_TICK = 0.02  # seconds between looks at deadlines
_PATIENCE = 0.05  # seconds after which it is worth watching whether the client is still there
_RECONNECT = 0.05  # seconds between attempts to reach a worker
_LOOK_SECONDS, _TELL_SECONDS = 10.0, 2.0  # in which a worker has looked, or can tell anyway
_TRIES = 2  # workers that may die of an ask


class Backend:
    """Links to the workers of a server; made before processes part, used in each API process.

    Args:
        folder: where the workers' sockets are: ``0.sock``, ``1.sock``, ...
        workers: how many there are.
        pending: asks an API process takes on at a time.
    """

    def __init__(self, folder: Path, workers: int, *, pending: int = PENDING) -> None:
        self.folder, self.workers, self.limit = folder, workers, pending
        self.held = 0  # bytes of asks that wait for a reply
        self.asks: dict[int, Waiting] = {}
        self._links: list[_Link] = []
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._ticking = False
        self._draining = Value("b", 0, lock=False)  # shared with the main process

    @property
    def links(self) -> int:
        """Workers that can be asked now."""
        return len(self._links)

    @property
    def ready(self) -> bool:
        """Whether a worker is there, and the server is not stopping."""
        return bool(self._links) and not self._draining.value

    def drain(self) -> None:
        """Say not-ready from now on, in every process; requests are still answered."""
        self._draining.value = 1

    def start(self) -> None:
        """Reach for the workers, from within the event loop."""
        if not self._tasks:
            self._tasks = [
                asyncio.get_running_loop().create_task(self._keep(self.folder / f"{i}.sock"))
                for i in range(self.workers)
            ]

    async def submit(self, ask: Ask, receive: Receive | None = None) -> Reply:
        """Answer an ask.

        Args:
            ask: what to ask; its deadline is kept to.
            receive: of the request, to notice when the client goes away.

        Returns:
            The worker's reply, or one that says why there is none: 503 or 504.
        """
        return await self._ask(ask, receive)

    async def stream(self, ask: Ask, receive: Receive | None = None) -> AsyncGenerator[Reply]:
        """Answer an ask with several replies; leaving the iterator ends the evaluation.

        A reply that is not 200 is the last.
        """
        ask, replies = ask.with_(stream=True), Replies()
        waiting = Waiting(ask.pack(), ask.deadline, replies.tell, receive)
        try:
            self.give(waiting)
            more = True
            while more:
                reply = await replies.take()
                yield reply
                more = reply.more
        except RefusedError as refused:
            yield refused.reply
        finally:
            self.release(waiting)

    async def look(self) -> list[dict[str, Any]]:
        """Have every worker look at the repository, and say what it can answer with.

        Returns:
            For each worker a `mcdrop_service.shelf.State`, as JSON: ``served`` and ``broken``.
        """
        replies = await self._each(LOOK, _LOOK_SECONDS)
        return [orjson.loads(reply.body) for reply in replies if reply.status == 200]

    async def states(self) -> list[dict[str, Any]]:
        """What every worker can answer with, as of its last look; as `look`.

        Raises:
            RefusedError: 503; no worker is there, or one of them does not say.
        """
        replies = await self._each(TELL, _TELL_SECONDS)
        if not replies or any(reply.status != 200 for reply in replies):
            raise RefusedError(503, "the workers are busy or not there: try again in a second")
        return [orjson.loads(reply.body) for reply in replies]

    async def _each(self, form: str, seconds: float) -> list[Reply]:
        ask = Ask([], format=form, deadline=time.monotonic() + seconds)
        return await asyncio.gather(*(self._ask(ask, link=link) for link in self._links))

    async def _ask(
        self, ask: Ask, receive: Receive | None = None, link: "_Link | None" = None
    ) -> Reply:
        replies = Replies()
        waiting = Waiting(ask.pack(), ask.deadline, replies.tell, receive, link)
        try:
            self.give(waiting)
            return await replies.take()
        except RefusedError as refused:
            return refused.reply
        finally:
            self.release(waiting)

    def give(self, waiting: Waiting) -> None:
        """Have a worker answer an ask; whoever is told of the last reply has to `release` it.

        Raises:
            RefusedError: as many are waiting as may, or their bodies are too long together.
        """
        if len(self.asks) >= self.limit or self.held > HELD_BYTES:
            raise RefusedError(
                503, f"{len(self.asks)} requests are waiting already: try again in a second"
            )
        self.start()
        waiting.number = next(self._numbers)
        self.asks[waiting.number] = waiting
        self.held += waiting.size
        self._send(waiting)
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(_TICK, self._tick)

    def release(self, waiting: Waiting) -> None:
        """Forget an ask; where it is not answered yet, its worker need not answer it."""
        if self.asks.pop(waiting.number, None) is None:
            return
        self.held -= waiting.size
        if waiting.watcher is not None:
            waiting.watcher.cancel()
        if waiting.link is not None and not waiting.answered:
            waiting.link.send(waiting.number)  # takes it back
        if waiting.link is not None:
            waiting.link.load -= 1

    def _send(self, waiting: Waiting) -> None:
        """Give an ask to the worker with the fewest; without any, it waits for one."""
        if waiting.link is None and self._links:
            waiting.link = min(self._links, key=lambda link: link.load)
        if waiting.link is not None:
            waiting.link.load += 1
            waiting.link.send(waiting.number, *waiting.packed)

    async def _keep(self, path: Path) -> None:
        """Hold a link to the worker that listens at ``path``, whoever that is."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(OSError):
                _, link = await loop.create_unix_connection(lambda: _Link(self), str(path))
                self._links.append(link)
                for waiting in [w for w in self.asks.values() if w.link is None]:
                    self._send(waiting)
                await link.gone.wait()
                self._links.remove(link)
                self._rescue(link)
            await asyncio.sleep(_RECONNECT)

    def _rescue(self, link: "_Link") -> None:
        """Give the asks of a worker that died to another, if they may be answered still."""
        for waiting in [w for w in self.asks.values() if w.link is link and not w.answered]:
            waiting.link, waiting.tries = None, waiting.tries + 1
            if waiting.begun or waiting.tries >= _TRIES:
                waiting.put(RefusedError(503, "the worker died on the way: try again").reply)
            else:
                self._send(waiting)

    def _tick(self) -> None:
        """Look at deadlines, and after clients who have been waiting for some time."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        try:
            for waiting in list(self.asks.values()):
                if now >= waiting.deadline and not waiting.answered:
                    waiting.fail(_late(waiting))
                elif waiting.receive and not waiting.watcher and now - waiting.since > _PATIENCE:
                    waiting.watcher = loop.create_task(waiting.watch(waiting.receive))
        finally:
            self._ticking = bool(self.asks)
            if self._ticking:
                loop.call_later(_TICK, self._tick)


def _late(waiting: Waiting) -> RefusedError:
    if waiting.link is None:
        return RefusedError(503, "no worker is there: try again in a second")
    return RefusedError(504, "no answer within the time allowed")


class _Link(Wire):
    """The socket to one worker."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend
        self.load = 0  # asks that this worker has
        self.gone = asyncio.Event()

    def got(self, number: int, head: bytes, content: bytes) -> None:
        """Pass a reply on to who waits for it, if anybody does still."""
        waiting = self._backend.asks.get(number)
        if waiting is not None:
            waiting.put(Reply.unpack(head, content))

    def lost(self) -> None:
        """Let the backend know."""
        self.gone.set()
