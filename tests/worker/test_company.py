"""Asks of one moment are evaluated together; none suffers from the company."""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import mcdrop
from mcdrop.predictions import Predictions
from mcdrop_service import answers, coalescing, worker
from mcdrop_service.ask import Reply
from mcdrop_service.backend import Backend
from mcdrop_service.job import Job
from mcdrop_service.worker import Worker
from tests.models import random_pixels
from tests.service.asking import same
from tests.worker.working import PIXELS, StubbornError, ask, rows_of, run


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
        assert same(orjson.loads(one.body), orjson.loads(other.body))


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
