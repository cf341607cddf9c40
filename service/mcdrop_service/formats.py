"""Forms of an answer, by name: from the answers of some jobs to one reply each.

A format is given jobs of one model, samples, seed, level, risk and fields, and the answers of all
their rows, one job's after the other's; so whatever is laid out for all at once is laid out once.
A new form is one more entry in `FORMATS`, in the worker; an ask names it. Refuses to know how
answers are computed and how replies travel.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mcdrop.packing import CONTENT_TYPE, pack
from mcdrop.predictions import ClassPredictions, Predictions
from mcdrop_service import columns
from mcdrop_service.ask import Reply
from mcdrop_service.job import Job
from mcdrop_service.v2_tensors import lay_out

__all__ = ["FORMATS", "Format", "head"]

Format = Callable[[Sequence[Job], Predictions, NDArray[np.float64] | None], list[Reply]]
"""From jobs, the answers of all their rows (B), and perhaps every pass of the only job's (T, B, C)
to one reply a job."""


def head(job: Job, found: Predictions) -> dict[str, Any]:
    """What an answer says before its rows."""
    card = job.predictor.card
    told = {
        "model": card.name,
        "version": card.version,
        "samples": found.samples,
        "seed": job.ask.seed,
        "level": found.level,
    }
    if isinstance(found, ClassPredictions):
        return told | {"risk": found.risk, "task": "classification", "classes": card.classes}
    return told | {"task": "regression", "targets": card.targets}


def _json(
    jobs: Sequence[Job], found: Predictions, passes: NDArray[np.float64] | None
) -> list[Reply]:
    rows = columns.encode(found, jobs[0].predictor.card, jobs[0].ask.fields)
    if found.passes is not None:
        for row, count in zip(rows, found.passes.tolist(), strict=True):
            row["samples"] = count
    if passes is not None:
        for row, values in zip(rows, passes.transpose(1, 0, 2), strict=True):  # (B, T, C)
            row["passes"] = values.tolist()
    told, replies, start = orjson.dumps(head(jobs[0], found))[:-1], [], 0  # open still
    for job in jobs:
        end = start + len(job.x)
        replies.append(Reply(b'%b,"predictions":%b}' % (told, orjson.dumps(rows[start:end]))))
        start = end
    return replies


def _tensors(
    jobs: Sequence[Job], found: Predictions, _passes: NDArray[np.float64] | None
) -> list[Reply]:
    """All that the library gives, for `mcdrop.Client`; as text in the events of a stream."""
    replies, start = [], 0
    for job in jobs:
        content = pack(found.rows(slice(start, start + len(job.x))))
        start += len(job.x)
        if job.ask.stream:
            replies.append(Reply(base64.b64encode(content), kind="text/plain"))
        else:
            replies.append(Reply(content, kind=CONTENT_TYPE))
    return replies


FORMATS: dict[str, Format] = {"json": _json, "tensors": _tensors, "v2": lay_out}
