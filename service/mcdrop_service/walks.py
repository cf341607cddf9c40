"""Evaluations that go step by step: many rows, streams, adaptive sampling, every single pass.

A walk is a generator; the worker takes one step of it a turn, and may leave it at any. Refuses to
know sockets and turns.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mcdrop.masks import BLOCK
from mcdrop.predictions import Predictions
from mcdrop.predictor import TOLERANCE
from mcdrop_service import answers
from mcdrop_service.ask import Reply
from mcdrop_service.coalescing import budget
from mcdrop_service.job import Job, Statistics

__all__ = ["Step", "walk"]


@dataclass(frozen=True)
class Step:
    """What a step has brought: perhaps a reply, and at the end what was found."""

    reply: Reply | None = None
    found: Predictions | None = None


def walk(job: Job) -> Iterator[Step]:
    """Answer a job in steps; the last one, and only that one, has ``found``."""
    return _passes(job) if job.ask.stream else _rows(job)


def _rows(job: Job) -> Iterator[Step]:
    """Some rows at a time."""
    auto = job.ask.samples == "auto"  # where rows leave as they settle, all of them at once
    size = len(job.x) if auto else budget(job.samples, job.predictor.weights)
    parts, passes = [], []
    for start in range(0, len(job.x), size):
        x = job.x[start : start + size]
        parts.append(answers.evaluate(job, x))
        if job.ask.passes:
            passes.append(job.predictor.sample(x, job.samples, job.ask.seed))
        if start + size < len(job.x):
            yield Step()
    statistics = type(parts[0]).concatenate(parts)  # type: ignore[arg-type]
    found = answers.conclude([job], statistics)
    every = np.concatenate(passes, axis=1) if passes else None  # (T, B, C)
    yield Step(answers.encode([job], found, every)[0], found)


def _passes(job: Job) -> Iterator[Step]:
    """The first 8, 16, 32, ... passes, until all of them or until enough have been seen.

    Where each row takes as many as it needs, the end is the library's answer to that question:
    what the passes so far look like only says when to ask it.
    """
    settling = job.ask.samples == "auto" or job.ask.tolerance is not None
    for statistics in job.predictor.stream(job.x, job.samples, job.ask.seed):
        if statistics.samples == job.samples or (settling and _enough(statistics, job)):
            last = answers.settle(job, job.x) if settling else statistics
            found = answers.conclude([job], last)
            yield Step(answers.encode([job], found)[0], found)
            return
        found = answers.conclude([job], statistics)
        yield Step(answers.encode([job], found)[0]._replace(more=True))


def _enough(statistics: Statistics, job: Job) -> bool:
    """Whether rows have settled; errors of fewer passes than a block of masks say too little."""
    tolerance = TOLERANCE if job.ask.tolerance is None else job.ask.tolerance
    return statistics.samples >= BLOCK and bool(statistics.settled(tolerance).all())
