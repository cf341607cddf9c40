"""Asks that are late, taken back, refused or left alone by a dying worker."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mcdrop_service import answers
from mcdrop_service.ask import Reply
from mcdrop_service.backend import Backend
from mcdrop_service.job import Job
from mcdrop_service.waiting import Waiting
from mcdrop_service.worker import Worker
from tests.worker.working import PIXELS, StubbornError, ask, run


def test_nobody_waits_for_an_ask_that_was_taken_back_or_is_late(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[int] = []
    honest = answers.evaluate

    def evaluate(job: Job, x: Any) -> Any:
        evaluated.append(len(x))
        time.sleep(0.3)
        return honest(job, x)

    monkeypatch.setattr(answers, "evaluate", evaluate)

    async def do(backend: Backend, _: Worker) -> list[Any]:
        first = asyncio.create_task(backend.submit(ask(PIXELS[:1])))
        await asyncio.sleep(0.05)  # it is being evaluated, and what comes now waits
        gone = asyncio.create_task(backend.submit(ask(PIXELS[:2])))
        late = asyncio.create_task(
            backend.submit(ask(PIXELS[:3], deadline=time.monotonic() + 0.05))
        )
        await asyncio.sleep(0.05)
        gone.cancel()
        replies = [await first, await late, await backend.submit(ask(PIXELS[:4]))]
        assert (backend.asks, backend.held) == ({}, 0)
        return replies

    first, late, last = run(root, do, tmp_path)
    assert (first.status, late.status, last.status) == (200, 504, 200)
    assert evaluated == [1, 4]


def test_a_client_that_leaves_is_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def do(backend: Backend, desk: Worker) -> Reply:
        monkeypatch.setattr(desk, "_find", lambda task: False)  # a worker that never answers
        return await asyncio.wait_for(backend.submit(ask(), leave), 5)

    assert run(root, do, tmp_path).status == 499


def test_beyond_its_bounds_a_backend_refuses_at_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def do(backend: Backend, desk: Worker) -> list[Reply]:
        monkeypatch.setattr(desk, "_find", lambda task: False)
        deadline = time.monotonic() + 0.3
        return await asyncio.gather(*(backend.submit(ask(deadline=deadline)) for _ in range(5)))

    replies = run(root, do, tmp_path, pending=3)
    assert sorted(reply.status for reply in replies) == [503, 503, 504, 504, 504]
    refused = next(reply for reply in replies if reply.status == 503)
    assert dict(refused.headers) == {"retry-after": "1"}


def test_an_ask_whose_worker_dies_is_asked_once_more(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first worker, or of the first two, nothing but the end of the line is heard."""

    async def do(backend: Backend, desk: Worker) -> list[Reply]:
        honest, left = desk._find, 0

        def die(task: Any) -> bool:
            nonlocal left
            if not left:
                return honest(task)
            left -= 1
            task._peer.close()
            return False

        monkeypatch.setattr(desk, "_find", die)
        replies = []
        for deaths in (1, 2):
            left = deaths
            replies.append(await backend.submit(ask()))
        return replies

    once, twice = run(root, do, tmp_path)
    assert once.status == 200
    assert twice.status == 503
    assert b"try again" in twice.body


def test_deadlines_are_kept_after_somebody_could_not_be_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(reply: Reply) -> None:
        raise StubbornError

    async def do(backend: Backend, desk: Worker) -> Reply:
        monkeypatch.setattr(desk, "_find", lambda task: False)  # a worker that never answers
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        late = ask(deadline=time.monotonic() + 0.05)
        waiting = Waiting(late.pack(), late.deadline, broken)
        backend.give(waiting)
        try:
            return await asyncio.wait_for(backend.submit(late), 5)
        finally:
            backend.release(waiting)

    assert run(root, do, tmp_path).status == 504
