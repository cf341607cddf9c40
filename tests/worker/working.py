"""A backend with one worker, asks for it, and what is in its replies."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from mcdrop_service.ask import Ask, Reply
from mcdrop_service.backend import Backend
from mcdrop_service.job import as_it_is
from mcdrop_service.shelf import Shelf
from mcdrop_service.worker import Worker
from tests.models import random_pixels

T = TypeVar("T")
PIXELS = random_pixels(6)


def run(
    root: Path, do: Callable[[Backend, Worker], Awaitable[T]], folder: Path, **options: Any
) -> T:
    """Do something with a backend that has one worker, in a thread of its own."""
    shelf = Shelf(root)
    shelf.start()
    desk = Worker(shelf, options.pop("observers", ()), options.pop("prepare", as_it_is))
    kind = options.pop("backend", Backend)
    loop = asyncio.new_event_loop()
    serving = loop.create_task(desk.serve(folder / "0.sock"))

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)
        loop.close()

    async def go() -> T:
        backend = kind(folder, 1, **options)
        backend.start()
        while not backend.links:
            await asyncio.sleep(0.01)
        return await do(backend, desk)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        return asyncio.run(go())
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(10)


def ask(rows: Any = PIXELS[:1], **fields: Any) -> Ask:
    fields.setdefault("deadline", time.monotonic() + 30)
    return Ask(np.asarray(rows), **{"model": "tiny", **fields})


def rows_of(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply.body
    return list(orjson.loads(reply.body)["predictions"])


class StubbornError(Exception):
    """It cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("never")
