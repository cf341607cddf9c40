"""From an ask to its answer, in pure steps: ``validate``, ``evaluate``, ``conclude``, ``encode``.

Knows the ask's fields and the predictor; that jobs of one key can be evaluated together, and that
laying out many rows at once costs little more than laying out one. Refuses to know processes,
queues and HTTP: what cannot be answered is an ``InputError`` with a message fit for the caller.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.data.preprocessing import TablePreprocessing
from mcdrop.errors import InputError
from mcdrop.predictions import Predictions
from mcdrop.predictor import Predictor
from mcdrop.repository import Card
from mcdrop_service import columns
from mcdrop_service.ask import Ask, Body, Images, Reply
from mcdrop_service.formats import FORMATS
from mcdrop_service.images import decode
from mcdrop_service.job import Job, Statistics
from mcdrop_service.limits import AUTO_SAMPLES, EVALUATIONS, PASSES, WORK

__all__ = ["conclude", "encode", "evaluate", "validate"]


def validate(ask: Ask, predictor: Predictor) -> Job:
    """Check an ask against the model it asks, and encode its rows.

    Raises:
        InputError: the rows do not fit the model, or are too many for so many samples.
    """
    card = predictor.card
    if ask.risk is not None and card.task == "regression":
        raise InputError("got `risk`, wanted `level`: a regression has no error rate")
    _check_fields(ask, card)
    samples = _samples(ask, predictor)
    x = card.preprocessing.encode(_rows(ask, card))
    if ask.passes and len(x) * samples * card.out_features > PASSES:
        raise InputError(
            f"got {len(x)} rows of {samples} samples of {card.out_features} outputs, wanted "
            f"{PASSES:,} numbers of single passes at most: ask for fewer rows or samples"
        )
    return Job(ask, predictor, x, samples)


def evaluate(job: Job, x: NDArray[np.float32]) -> Statistics:
    """Ask the T thinned networks about rows of ``job``, and of others of its key."""
    return job.predictor.evaluate(x, job.samples, job.ask.seed)


def conclude(jobs: Sequence[Job], statistics: Statistics) -> Predictions:
    """What statistics of the rows of jobs of one key and layout are worth, by calibration."""
    ask = jobs[0].ask
    return jobs[0].predictor.reference.apply(statistics, ask.level, ask.risk)


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
    unknown = next((name for name in ask.fields or () if name not in known), None)
    if unknown is not None:
        raise InputError(
            f"fields: got {unknown[:80]!r}, wanted some of {', '.join(known)} of a {card.task}"
        )


def _samples(ask: Ask, predictor: Predictor) -> int:
    rows = ask.rows
    count = len(rows.files) if isinstance(rows, Images) else len(rows)  # type: ignore[arg-type]
    weights = predictor.weights
    most = min(EVALUATIONS, WORK // weights)
    if ask.samples == "auto":
        return int(max(1, min(AUTO_SAMPLES, most // max(1, count))))
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
    if isinstance(ask.rows, list) and not table:
        raise InputError(
            f"got `records`, wanted `inputs`: model {card.name!r} takes rows of "
            f"{card.in_features} numbers"
        )
    return ask.rows
