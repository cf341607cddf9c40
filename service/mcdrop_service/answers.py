"""From a request to its answer, in three pure steps: ``validate``, ``evaluate``, ``encode``.

Knows the request's fields, the predictor and the answer's fields. Refuses to know processes,
queues and HTTP: what cannot be answered is an ``InputError`` with a message fit for the caller.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop import uncertainty
from mcdrop.data.preprocessing import TablePreprocessing
from mcdrop.errors import InputError
from mcdrop.predictor import Predictor
from mcdrop.repository import Card
from mcdrop_service.limits import EVALUATIONS
from mcdrop_service.request import PredictRequest
from mcdrop_service.schemas import Classification, Regression

__all__ = ["Answer", "Job", "encode", "evaluate", "validate"]

Statistics = uncertainty.Classification | uncertainty.Regression


@dataclass(frozen=True)
class Job:
    """A request that can be answered: encoded rows (B, D), and who is to answer them how."""

    predictor: Predictor
    x: NDArray[np.float32]
    samples: int
    seed: int


@dataclass(frozen=True)
class Answer:
    """What was computed, and for which job."""

    job: Job
    statistics: Statistics


def validate(request: PredictRequest, predictor: Predictor) -> Job:
    """Check a request against the model it asks, and encode its rows.

    Raises:
        InputError: the rows do not fit the model, or are too many for so many samples.
    """
    card, rows = predictor.card, request.rows
    samples = request.samples or card.samples
    if len(rows) * samples > EVALUATIONS:
        raise InputError(
            f"got {len(rows)} rows of {samples} samples each, {len(rows) * samples:,} evaluations, "
            f"wanted {EVALUATIONS:,} at most: send fewer rows at a time, or ask for fewer samples"
        )
    if request.records and not isinstance(card.preprocessing, TablePreprocessing):
        raise InputError(
            f"got `records`, wanted `inputs`: model {card.name!r} takes rows of "
            f"{card.preprocessing.features} numbers"
        )
    return Job(predictor, card.preprocessing.encode(rows), samples, request.seed)


def evaluate(job: Job) -> Answer:
    """Ask the T thinned networks."""
    return Answer(job, job.predictor.evaluate(job.x, job.samples, job.seed))


def encode(answer: Answer) -> Classification | Regression:
    """Lay the numbers out as the answer's body: the same float64 that the library gives."""
    job, card = answer.job, answer.job.predictor.card
    head = {
        "model": card.name,
        "version": card.version,
        "samples": job.samples,
        "seed": job.seed,
    }
    if isinstance(answer.statistics, uncertainty.Classification):
        rows = _classification_rows(answer.statistics, card)
        return Classification.model_validate({**head, "classes": card.classes, "predictions": rows})
    rows = _regression_rows(answer.statistics, card)
    return Regression.model_validate({**head, "targets": card.targets, "predictions": rows})


def _classification_rows(found: uncertainty.Classification, card: Card) -> list[dict[str, Any]]:
    """One dictionary a row, as `ClassificationRow`."""

    def label(indices: NDArray[np.int64]) -> list[str]:
        return [card.classes[i] for i in indices.tolist()]

    fixed = found.deterministic
    return _rows(
        prediction=label(found.prediction),
        confidence=found.confidence.tolist(),
        agrees=found.agrees.tolist(),
        total=found.total.tolist(),
        aleatoric=found.aleatoric.tolist(),
        epistemic=found.epistemic.tolist(),
        variance=_rows(
            total=found.total_variance.tolist(),
            aleatoric=found.aleatoric_variance.tolist(),
            epistemic=found.epistemic_variance.tolist(),
        ),
        probabilities=_named(card.classes, found.probabilities),
        std=_named(card.classes, found.std),
        mc_error=_named(card.classes, found.mc_error),
        deterministic=_rows(
            prediction=label(fixed.prediction),
            probabilities=_named(card.classes, fixed.probabilities),
        ),
    )


def _regression_rows(found: uncertainty.Regression, card: Card) -> list[dict[str, Any]]:
    """One dictionary a row, as `RegressionRow`."""
    lower, upper = found.interval()
    ends = [
        _rows(lower=low, upper=up) for low, up in zip(lower.tolist(), upper.tolist(), strict=True)
    ]
    return _rows(
        mean=_named(card.targets, found.mean),
        std=_named(card.targets, found.std),
        interval=[dict(zip(card.targets, row, strict=True)) for row in ends],
        confidence=_named(card.targets, found.confidence),
        total=_named(card.targets, found.total),
        aleatoric=_named(card.targets, found.aleatoric),
        epistemic=_named(card.targets, found.epistemic),
        mc_error=_named(card.targets, found.mc_error),
        deterministic=_rows(mean=_named(card.targets, found.deterministic.mean)),
    )


def _rows(**columns: list[Any]) -> list[dict[str, Any]]:
    """From lists of B values by name to B dictionaries."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _named(names: tuple[str, ...], values: NDArray[np.float64]) -> list[dict[str, float]]:
    """From (B, C) to B dictionaries by class or target."""
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]
