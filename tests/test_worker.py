"""A worker and a backend: coalescing, isolation, deadlines, retries."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import orjson
import pytest

import mcdrop
from mcdrop.predictions import Predictions
from mcdrop_service import answers, coalescing, worker
from mcdrop_service.ask import Ask, Body, RefusedError, Reply
from mcdrop_service.backend import Backend
from mcdrop_service.job import Job
from mcdrop_service.limits import PASSES
from mcdrop_service.served import served
from mcdrop_service.shelf import Shelf
from mcdrop_service.tasks import Task
from mcdrop_service.waiting import Waiting
from mcdrop_service.worker import Worker, as_it_is
from tests.models import random_pixels, save_random_classifier

T = TypeVar("T")
PIXELS = random_pixels(6)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    save_random_classifier(folder, "other", seed=1)
    return folder


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


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == pytest.approx(other, abs=1e-6)) if isinstance(one, float) else one == other


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were evaluated, each time that some were."""
    sizes, evaluate = [], answers.evaluate

    def spy(job: Job, x: Any) -> Any:
        sizes.append(len(x))
        return evaluate(job, x)

    monkeypatch.setattr(answers, "evaluate", spy)
    return sizes


def test_asks_of_one_moment_are_evaluated_together_and_answered_as_alone(
    root: Path, tmp_path: Path, evaluated: list[int]
) -> None:
    asks = [
        ask(PIXELS[i : i + n], model=m, samples=t, seed=s, level=level, fields=fields)
        for i in range(3)
        for n in (1, 3)
        for m in ("tiny", "other")
        for t, s in ((20, 0), (20, 1), (30, 0))
        for level in (None, 0.5)
        for fields in (None, ("prediction_set", "mc_error"))
    ]

    async def do(backend: Backend, _: Worker) -> tuple[list[Reply], list[Reply]]:
        together = await asyncio.gather(*(backend.submit(a) for a in asks))
        alone = [await backend.submit(a.with_(deadline=time.monotonic() + 30)) for a in asks]
        return together, alone

    together, alone = run(root, do, tmp_path)
    # Six keys: two models, three pairs of samples and seed; each with twelve asks of 24 rows.
    assert evaluated == [48] * 6 + [len(a.rows) for a in asks]
    for one, other in zip(together, alone, strict=True):
        assert close(orjson.loads(one.body), orjson.loads(other.body))


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"rows": np.zeros((1, 63))}, 422),
        ({"rows": np.full((1, 64), np.nan)}, 422),
        ({"model": "none"}, 404),
        ({"fields": ("nothing",)}, 422),
        ({"risk": 0.5, "samples": 10**6}, 422),
    ],
)
def test_one_bad_ask_fails_alone(
    root: Path, tmp_path: Path, bad: dict[str, Any], status: int, evaluated: list[int]
) -> None:
    async def do(backend: Backend, _: Worker) -> list[Reply]:
        asks = [ask(PIXELS[i : i + 1]) for i in range(5)]
        return await asyncio.gather(*(backend.submit(a) for a in [*asks, asks[0].with_(**bad)]))

    *good, refused = run(root, do, tmp_path)
    assert ([reply.status for reply in good], evaluated[0]) == ([200] * 5, 5)
    assert refused.status == status
    assert "detail" in orjson.loads(refused.body)


class StubbornError(Exception):
    """It cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("never")


def test_what_fails_in_company_is_tried_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that no other process could be told of hurts only who caused it."""
    honest = answers.evaluate

    def evaluate(job: Job, x: Any) -> Any:
        if (x == x[:, :1]).all(axis=1).any():
            raise StubbornError
        return honest(job, x)

    monkeypatch.setattr(answers, "evaluate", evaluate)

    async def do(backend: Backend, _: Worker) -> list[Reply]:
        asks = [ask(PIXELS[i : i + 1]) for i in range(5)]
        replies = await asyncio.gather(*(backend.submit(a) for a in [*asks, ask(np.ones((1, 64)))]))
        return [*replies, await backend.submit(asks[0])]

    *good, bad, after = run(root, do, tmp_path)
    assert [reply.status for reply in [*good, after]] == [200] * 6
    assert bad.status == 500
    assert b"see the server's log" in bad.body


def test_an_answer_that_is_not_finite_is_not_sent(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = answers.conclude

    def conclude(jobs: Any, statistics: Any) -> Predictions:
        found = honest(jobs, statistics)
        found.mc_error[0, 0] = np.nan
        return found

    monkeypatch.setattr(answers, "conclude", conclude)

    async def do(backend: Backend, _: Worker) -> Reply:
        return await backend.submit(ask())

    assert run(root, do, tmp_path).status == 500


def test_many_rows_and_few_take_turns(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = answers.evaluate

    def evaluate(job: Job, x: Any) -> Any:
        time.sleep(0.1 * (len(x) > 1))
        return honest(job, x)

    monkeypatch.setattr(answers, "evaluate", evaluate)
    monkeypatch.setattr(coalescing, "_ROWS", 50)
    pixels = random_pixels(1000)  # two seconds

    async def do(backend: Backend, _: Worker) -> tuple[Reply, list[Reply], bool]:
        large = asyncio.create_task(backend.submit(ask(pixels)))
        await asyncio.sleep(0)
        small = [await backend.submit(ask(PIXELS[:1])) for _ in range(3)]
        overtaken = not large.done()
        return await large, small, overtaken

    large, small, overtaken = run(root, do, tmp_path)
    assert overtaken
    assert {reply.status for reply in small} == {200}
    expected = mcdrop.load(root / "tiny").predict(pixels)
    found = [list(row["probabilities"].values()) for row in rows_of(large)]
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-6)


def same_answers(reply: Reply, expected: Any) -> bool:
    """Whether a reply says of the rows what the library does, of as many passes each."""
    rows = rows_of(reply)
    found = [list(row["probabilities"].values()) for row in rows]
    passes = [row["samples"] for row in rows]
    return passes == expected.passes.tolist() and np.allclose(found, expected.mean, atol=1e-6)


def test_a_stream_settles_and_stops_when_it_is_told_enough(root: Path, tmp_path: Path) -> None:
    """With a tolerance it ends with the library's answer to rows that take what each needs."""
    questions: list[dict[str, Any]] = [
        {"samples": "auto"},
        {"samples": "auto", "tolerance": 0.03},
        {"samples": 100, "tolerance": 0.02},
        {"samples": 20, "tolerance": 0.5},
    ]

    async def do(backend: Backend, _: Worker) -> list[list[Reply]]:
        asks = [ask(PIXELS, **fields) for fields in [{"samples": 100}, *questions]]
        return [[reply async for reply in backend.stream(one)] for one in asks]

    whole, *settled = run(root, do, tmp_path)
    assert [orjson.loads(r.body)["samples"] for r in whole] == [8, 16, 32, 64, 100]
    assert [reply.more for reply in whole] == [True] * 4 + [False]
    predictor = mcdrop.load(root / "tiny")
    for fields, replies in zip(questions, settled, strict=True):
        *before, last = replies
        assert (not last.more, all(reply.more for reply in before)) == (True, True)
        limit = {} if fields["samples"] == "auto" else {"limit": fields["samples"]}
        expected = predictor.predict(PIXELS, "auto", tolerance=fields.get("tolerance"), **limit)
        assert same_answers(last, expected), fields
    assert [len(replies) for replies in settled][-1] == 3  # after 8, 16 and 20
    assert len({row["samples"] for row in rows_of(settled[1][-1])}) > 1  # each its own number


def test_as_many_passes_as_a_row_needs_are_the_library_s(root: Path, tmp_path: Path) -> None:
    pixels = random_pixels(40)  # beside rows that need other numbers

    async def do(backend: Backend, _: Worker) -> list[Reply]:
        asks = [
            ask(pixels, samples="auto"),
            ask(pixels, samples="auto", tolerance=0.005, seed=3),
            ask(pixels[3:4], samples="auto", tolerance=0.005, seed=3),
            ask(PIXELS, samples=40, tolerance=0.005),
        ]
        return await asyncio.gather(*(backend.submit(one) for one in asks))

    usual, fine, alone, ignored = run(root, do, tmp_path)
    predictor = mcdrop.load(root / "tiny")
    assert same_answers(usual, predictor.predict(pixels, "auto"))
    assert same_answers(fine, predictor.predict(pixels, "auto", 3, tolerance=0.005))
    assert same_answers(alone, predictor.predict(pixels[3:4], "auto", 3, tolerance=0.005))
    assert rows_of(alone)[0]["samples"] == rows_of(fine)[3]["samples"]
    assert (ignored.status, b"`tolerance`" in ignored.body) == (422, True)  # as in the library


def test_every_pass_is_given_where_it_is_asked_for(root: Path, tmp_path: Path) -> None:
    async def do(backend: Backend, _: Worker) -> list[Reply]:
        most = PASSES // (10 * 6) + 1
        many = [ask(PIXELS, passes=True, samples=n) for n in (12, most)]
        return await asyncio.gather(*(backend.submit(a) for a in many))

    given, refused = run(root, do, tmp_path)
    passes = np.array([row["passes"] for row in rows_of(given)])  # (B, T, C)
    assert passes.shape == (6, 12, 10)
    means = [list(row["probabilities"].values()) for row in rows_of(given)]
    # Single passes come by PyTorch's products of bfloat16, sums by the compiled kernel's.
    np.testing.assert_allclose(passes.mean(axis=1), means, atol=2e-3)
    assert refused.status == 422


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


def test_observers_see_every_answer_and_cannot_hurt(root: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def broken(jobs: Any, found: Predictions) -> None:
        raise StubbornError

    async def do(backend: Backend, _: Worker) -> list[Reply]:
        few = [ask(PIXELS[:n]) for n in (1, 2)]
        return [*await asyncio.gather(*(backend.submit(a) for a in few))]

    watchers: tuple[worker.Observer, ...] = (broken, lambda jobs, found: seen.append(len(found)))
    assert {r.status for r in run(root, do, tmp_path, observers=watchers)} == {200}
    assert sum(seen) == 3


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
