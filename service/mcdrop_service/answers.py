"""From a request to its answer, in three pure steps: ``validate``, ``evaluate``, ``encode``.

Knows the request's fields, the predictor and the answer's fields. Refuses to know processes,
queues and HTTP: what cannot be answered is an ``InputError`` with a message fit for the caller.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.data.preprocessing import TablePreprocessing
from mcdrop.errors import InputError
from mcdrop.predictions import ClassPredictions, Predictions, ValuePredictions
from mcdrop.predictor import Predictor
from mcdrop.repository import Card
from mcdrop_service.limits import EVALUATIONS, WORK
from mcdrop_service.request import PredictRequest
from mcdrop_service.schemas import Classification, Regression

__all__ = ["Answer", "Job", "encode", "evaluate", "validate"]


@dataclass(frozen=True)
class Job:
    """A request that can be answered: encoded rows (B, D), and who is to answer them how."""

    predictor: Predictor
    x: NDArray[np.float32]
    samples: int
    seed: int
    level: float | None
    risk: float | None


@dataclass(frozen=True)
class Answer:
    """What was computed, and for which job."""

    job: Job
    predictions: Predictions


def validate(request: PredictRequest, predictor: Predictor) -> Job:
    """Check a request against the model it asks, and encode its rows.

    Raises:
        InputError: the rows do not fit the model, or are too many for so many samples.
    """
    card, rows = predictor.card, request.rows
    samples = request.samples or card.samples
    weights = sum(parameter.numel() for parameter in predictor.network.parameters())
    most = min(EVALUATIONS, WORK // weights)
    if len(rows) * samples > most:
        raise InputError(
            f"got {len(rows)} rows of {samples} samples each, {len(rows) * samples:,} evaluations, "
            f"wanted {most:,} at most of a network of {weights:,} weights: send fewer rows at a "
            "time, or ask for fewer samples"
        )
    if request.records and not isinstance(card.preprocessing, TablePreprocessing):
        raise InputError(
            f"got `records`, wanted `inputs`: model {card.name!r} takes rows of "
            f"{card.preprocessing.features} numbers"
        )
    if request.risk is not None and card.task == "regression":
        raise InputError("got `risk`, wanted `level`: a regression has no error rate")
    x = card.preprocessing.encode(rows)
    return Job(predictor, x, samples, request.seed, request.level, request.risk)


def evaluate(job: Job) -> Answer:
    """Ask the T thinned networks."""
    statistics = job.predictor.evaluate(job.x, job.samples, job.seed)
    return Answer(job, job.predictor.reference.apply(statistics, job.level, job.risk))


def encode(answer: Answer) -> Classification | Regression:
    """Lay the numbers out as the answer's body: the same float64 that the library gives."""
    job, card, found = answer.job, answer.job.predictor.card, answer.predictions
    head = {
        "model": card.name,
        "version": card.version,
        "samples": job.samples,
        "seed": job.seed,
        "level": found.level,
    }
    if isinstance(found, ClassPredictions):
        head |= {"risk": found.risk, "classes": card.classes}
        rows = _classification_rows(found, card)
        return Classification.model_validate({**head, "predictions": rows})
    head["targets"] = card.targets
    return Regression.model_validate({**head, "predictions": _regression_rows(found, card)})


def _classification_rows(found: ClassPredictions, card: Card) -> list[dict[str, Any]]:
    """One dictionary a row, as `ClassificationRow`."""

    def label(indices: NDArray[np.int64]) -> list[str]:
        return [card.classes[i] for i in indices.tolist()]

    fixed, names = found.deterministic, np.array(card.classes)
    return _rows(
        prediction=label(found.prediction),
        confidence=found.confidence.tolist(),
        agrees=found.agrees.tolist(),
        abstain=found.abstain.tolist(),
        novelty=found.novelty.tolist(),
        prediction_set=[names[row].tolist() for row in found.prediction_set],
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


def _regression_rows(found: ValuePredictions, card: Card) -> list[dict[str, Any]]:
    """One dictionary a row, as `RegressionRow`."""
    # Without enough calibration rows an interval is infinite, which JSON has no number for.
    ends = [
        [
            {"lower": low, "upper": up} if isfinite(up) else None
            for low, up in zip(*row, strict=True)
        ]
        for row in zip(found.lower.tolist(), found.upper.tolist(), strict=True)
    ]
    return _rows(
        novelty=found.novelty.tolist(),
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
