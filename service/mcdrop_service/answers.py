"""From an ask to its answer, in pure steps: ``validate``, ``evaluate``, ``conclude``, ``encode``.

Knows the ask's fields and the predictor; that jobs of one key can be evaluated together, and that
laying out many rows at once costs little more than laying out one. Refuses to know processes,
queues and HTTP: what cannot be answered is an ``InputError`` with a message fit for the caller.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.card import Card
from mcdrop.data.preprocessing import TablePreprocessing
from mcdrop.errors import InputError
from mcdrop.predictions import Predictions
from mcdrop.predictor import AUTO_LIMIT, Predictor
from mcdrop_service import columns
from mcdrop_service.ask import Ask, Body, Images, Reply
from mcdrop_service.formats import FORMATS
from mcdrop_service.images import decode
from mcdrop_service.job import Job, Statistics
from mcdrop_service.limits import EVALUATIONS, PASSES, WORK

__all__ = ["conclude", "encode", "evaluate", "settle", "validate"]


def validate(asks: Sequence[Ask], predictor: Predictor) -> list[Job]:
    """Check asks against the model they ask, and encode their rows.

    Args:
        asks: one of any kind; or several of arrays, with rows of one type and shape.
        predictor: the model.

    Raises:
        InputError: rows do not fit the model, or are too many for so many samples.
    """
    samples = [_check(ask, predictor) for ask in asks]
    rows = [_rows(ask, predictor.card) for ask in asks]
    step, jobs, start = predictor.card.preprocessing, [], 0
    found = step.inspect(rows[0] if len(rows) == 1 else np.concatenate(rows))
    unknown = found.unknown if found.unknown.size else None  # of arrays, nothing can be
    for ask, part, count in zip(asks, rows, samples, strict=True):
        end = start + len(part)
        own = None if unknown is None else unknown[start:end]
        jobs.append(Job(ask, predictor, found.x[start:end], count, own))
        start = end
    return jobs


def _check(ask: Ask, predictor: Predictor) -> int:
    """How many samples the ask means, if it may be asked of the model."""
    card, rows = predictor.card, ask.rows
    if ask.risk is not None and card.task == "regression":
        raise InputError("got `risk`, wanted `level`: a regression has no error rate")
    if ask.tolerance is not None and ask.samples != "auto" and not ask.stream:
        raise InputError("got `tolerance`, which needs `samples` `auto`, or a stream")
    _check_fields(ask, card)
    count = len(rows.files) if isinstance(rows, Images) else len(rows)
    samples = _samples(ask, predictor, count)
    if ask.passes and count * samples * card.out_features > PASSES:
        raise InputError(
            f"got {count} rows of {samples} samples of {card.out_features} outputs, wanted "
            f"{PASSES:,} numbers of single passes at most: ask for fewer rows or samples"
        )
    return samples


def evaluate(job: Job, x: NDArray[np.float32]) -> Statistics:
    """Ask the T thinned networks about rows of ``job``, and of others of its key."""
    if job.ask.samples == "auto":
        return settle(job, x)
    return job.predictor.evaluate(x, job.samples, job.ask.seed)


def settle(job: Job, x: NDArray[np.float32]) -> Statistics:
    """Ask about rows of ``job`` as many thinned networks as each row needs, at most its samples."""
    ask, limit = job.ask, job.samples
    return job.predictor.evaluate(x, "auto", ask.seed, tolerance=ask.tolerance, limit=limit)


def conclude(jobs: Sequence[Job], statistics: Statistics) -> Predictions:
    """What statistics of the rows of jobs of one key and layout are worth, by calibration."""
    ask, parts = jobs[0].ask, [job.unknown for job in jobs if job.unknown is not None]
    unknown = np.concatenate(parts) if parts else None
    return jobs[0].predictor.reference.apply(statistics, ask.level, ask.risk, unknown=unknown)


def encode(
    jobs: Sequence[Job], found: Predictions, passes: NDArray[np.float64] | None = None
) -> list[Reply]:
    """Lay out the answers of jobs of one key and layout, one reply a job.

    Args:
        jobs: whose rows, one after the other, were answered.
        found: the answers of all their rows.
        passes: every pass, (T, B, C), where the one job asks for them.
    """
    return FORMATS[jobs[0].ask.format](jobs, found, passes)


def _check_fields(ask: Ask, card: Card) -> None:
    known = columns.names(card)
    if ask.fields is not None and not known >= set(ask.fields):
        unknown = next(name for name in ask.fields if name not in known)
        raise InputError(
            f"fields: got {unknown[:80]!r}, wanted some of {', '.join(known)} of a {card.task}"
        )


def _samples(ask: Ask, predictor: Predictor, count: int) -> int:
    weights = predictor.weights
    most = min(EVALUATIONS, WORK // weights)
    if ask.samples == "auto":
        return int(max(1, min(AUTO_LIMIT, most // max(1, count))))
    samples = ask.samples or predictor.card.samples
    if count * samples > most:
        raise InputError(
            f"got {count} rows of {samples} samples each, {count * samples:,} evaluations, "
            f"wanted {most:,} at most of a network of {weights:,} weights: send fewer rows at a "
            "time, or ask for fewer samples"
        )
    return samples


def _rows(ask: Ask, card: Card) -> Any:
    """The rows as the model's preprocessing takes them."""
    table = isinstance(card.preprocessing, TablePreprocessing)
    if isinstance(ask.rows, Body):
        raise TypeError("a body has to be read first")
    if isinstance(ask.rows, Images):
        return decode(ask.rows.files, card.preprocessing)
    if isinstance(ask.rows, list | pa.Table) and not table:
        raise InputError(
            f"got named columns, as of `records`, wanted `inputs`: model {card.name!r} takes rows "
            f"of {card.in_features} numbers"
        )
    return ask.rows
