"""Signs of life: given in time, and missed where they stay away."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from mcdrop_service import answers, worker
from mcdrop_service.ask import Body, RefusedError
from mcdrop_service.backend import Backend
from mcdrop_service.served import served
from mcdrop_service.shelf import Shelf
from mcdrop_service.tasks import Task
from mcdrop_service.worker import Worker
from tests.worker.working import PIXELS, ask, run


class Replied:
    """In the place of a socket: who was replied to, in order."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.numbers: list[int] = []

    def send(self, number: int, _head: bytes, _content: bytes) -> None:
        self.numbers.append(number)


@pytest.mark.parametrize("step", ["read", "validate"])
def test_what_takes_long_to_look_at_leaves_time_for_signs_of_life(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    clock, beats, looks = 0.0, 0, list[int]()
    place: Any = worker if step == "read" else answers
    honest = getattr(place, step)

    def slow(*args: Any) -> Any:
        nonlocal clock
        clock += 0.06
        looks.append(beats)
        return honest(*args)

    monkeypatch.setattr(place, step, slow)
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: clock))
    monkeypatch.setattr(worker, "_likeness", lambda task: task)  # as records and images have it
    body = Body(orjson.dumps({"inputs": PIXELS[:1].tolist()}), "application/json")
    peer = Replied()

    async def go() -> None:
        nonlocal beats
        shelf = Shelf(root)
        shelf.start()
        desk = Worker(shelf)
        for number in range(6):
            desk.take(Task(peer, number, ask().with_(rows=body)))  # type: ignore[arg-type]
        while len(peer.numbers) < 6:
            await asyncio.sleep(0)
            beats += 1

    asyncio.run(asyncio.wait_for(go(), 30))
    assert peer.numbers == list(range(6))
    assert max(looks.count(beat) for beat in looks) == 2  # and not all six


def test_who_does_not_hear_from_every_worker_says_so(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is not taken for the absence of models."""

    async def do(backend: Backend, desk: Worker) -> dict[str, int]:
        found = await served(backend)
        monkeypatch.setattr(backend, "limit", 0)
        with pytest.raises(RefusedError) as caught:
            await served(backend)
        assert (caught.value.status, "try again" in str(caught.value)) == (503, True)
        monkeypatch.undo()
        monkeypatch.setattr(backend, "_links", [])
        with pytest.raises(RefusedError):
            await served(backend)
        monkeypatch.undo()
        return found

    assert run(root, do, tmp_path) == {"tiny": 1, "other": 1}
