"""OpenTelemetry spans of evaluations, in the workers, below those of the requests they answer.

A request's context travels with its ask as W3C ``traceparent``. Knows what a span says of an
evaluation: model, rows, passes, and how many rows were laid out together. Refuses to know HTTP.
None of this is in the way of a request where nothing is traced.
"""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcdrop.predictions import Predictions
from mcdrop_service.ask import Ask, Reply
from mcdrop_service.backend import Backend, Receive
from mcdrop_service.job import Job

__all__ = ["Spans", "Stamp", "TracedBackend"]

_PARENT, _BEGAN = "traceparent", "began"  # keys of an ask's `extra`


class TracedBackend(Backend):
    """A backend that tells workers what request an ask belongs to."""

    async def submit(self, ask: Ask, receive: Receive | None = None) -> Reply:
        """Answer an ask; as `Backend.submit`."""
        return await super().submit(_traced(ask), receive)

    async def stream(self, ask: Ask, receive: Receive | None = None) -> AsyncGenerator[Reply]:
        """Answer an ask bit by bit; as `Backend.stream`."""
        replies = super().stream(_traced(ask), receive)
        try:
            async for reply in replies:
                yield reply
        finally:
            await replies.aclose()


def _traced(ask: Ask) -> Ask:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)  # of the span that is the current one
    return ask.with_(extra={**ask.extra, **carrier})


@dataclass(frozen=True)
class Stamp:
    """Prepares jobs as ``prepare`` does, and notes when that was: their evaluation is next."""

    prepare: Callable[[Job], Job]

    def __call__(self, job: Job) -> Job:
        """The job to answer."""
        job = self.prepare(job)
        return replace(job, ask=job.ask.with_(extra={**job.ask.extra, _BEGAN: time.time_ns()}))


class Spans:
    """A worker's observer: a span for each job that was answered.

    Args:
        make: gives this process's tracer provider.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._tracer: Any = None

    def __call__(self, jobs: Sequence[Job], found: Predictions) -> None:
        """Take the answers of jobs of one model, evaluated just now."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = self._tracer or self._make().get_tracer("mcdrop")
        counts = np.full(len(found), found.samples) if found.passes is None else found.passes
        end = 0
        for job in jobs:
            start, end = end, end + len(job.x)
            span = self._tracer.start_span(
                "evaluate",
                TraceContextTextMapPropagator().extract(job.ask.extra),
                attributes={
                    "mcdrop.request_id": job.ask.id,
                    "mcdrop.model": job.predictor.card.name,
                    "mcdrop.version": job.predictor.card.version,
                    "mcdrop.rows": len(job.x),
                    "mcdrop.passes": int(counts[start:end].sum()),
                    "mcdrop.batch_rows": len(found),
                },
                start_time=job.ask.extra[_BEGAN],
            )
            span.end()
