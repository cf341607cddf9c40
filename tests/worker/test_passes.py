"""Streams, as many passes as needed, and every pass: all as the library has them."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import mcdrop
from mcdrop_service.ask import Reply
from mcdrop_service.backend import Backend
from mcdrop_service.limits import PASSES
from mcdrop_service.worker import Worker
from tests.models import random_pixels
from tests.worker.working import PIXELS, ask, rows_of, run


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
