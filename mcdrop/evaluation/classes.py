"""The numbers of a classification: how right, how calibrated, how well it knows its errors.

Knows scores with their intervals. Refuses to know pictures and words.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop import metrics
from mcdrop.conformal import coverage_range
from mcdrop.evaluation.evidence import Evidence
from mcdrop.evaluation.tree import Tree
from mcdrop.metrics import estimate, share
from mcdrop.predictions import ClassPredictions
from mcdrop.predictor import Predictor

__all__ = ["answers", "class_numbers", "novelty_numbers"]

Floats = NDArray[np.float64]

_SCORES: dict[str, Any] = {
    "nll": metrics.nll,
    "brier": metrics.brier,
    "ece": metrics.ece,
    "ece_mass": partial(metrics.ece, scheme="mass"),
    "classwise_ece": metrics.classwise_ece,
}
_RISKS = (0.01, 0.02, 0.05)


def answers(evidence: Evidence) -> dict[str, Floats]:
    """The class probabilities (B, C) of the three answers by name."""
    return {
        "deterministic": evidence.served.deterministic.probabilities,  # type: ignore[union-attr]
        "mc": evidence.plain.mean,
        "served": evidence.served.mean,
    }


def class_numbers(evidence: Evidence) -> Tree:
    """Every number of a classification, with intervals, by name."""
    served, y = evidence.served, evidence.rows.truth
    if not isinstance(served, ClassPredictions):
        raise TypeError("class_numbers wants the evidence of a classification")
    found = answers(evidence)
    tree: dict[str, Any] = {name: _scores(p, y) for name, p in found.items()}
    tree["difference"] = _difference(found["served"], found["deterministic"], y)
    tree["conformal"] = _conformal(served, y, evidence.predictor)
    tree["selective"] = _selective(served, y)
    tree["abstention"] = _abstention(served, y)
    if evidence.strange_served is not None:
        strange = evidence.strange_served
        tree["ood"] = {
            **novelty_numbers(served.epistemic, strange.epistemic),
            "auroc_total": novelty_numbers(served.total, strange.total)["auroc"],
            "abstained": share(strange.abstain),  # type: ignore[union-attr]
        }
    return tree


def novelty_numbers(known: Floats, strange: Floats) -> dict[str, Any]:
    """How well an uncertainty (B,) of known rows and of strange ones tells them apart."""
    flags = np.repeat([False, True], [len(known), len(strange)])
    score = np.concatenate([known, strange])
    found = (metrics.auroc, metrics.aupr, metrics.fpr95)
    return {"n": len(strange), **{f.__name__: estimate(f, score, flags) for f in found}}


def _scores(probabilities: Floats, y: NDArray[np.int64]) -> dict[str, Any]:
    scores = {name: estimate(score, probabilities, y) for name, score in _SCORES.items()}
    return {"accuracy": share(probabilities.argmax(1) == y), **scores}


def _difference(served: Floats, fixed: Floats, y: NDArray[np.int64]) -> dict[str, Any]:
    """Served minus deterministic, row by row the same rows: below 0 where passes help."""

    def gap(score: Any) -> Any:
        return estimate(lambda a, b, truth: score(a, truth) - score(b, truth), served, fixed, y)

    return {name: gap(_SCORES[name]) for name in ("nll", "brier", "ece")}


def _conformal(
    served: ClassPredictions, y: NDArray[np.int64], predictor: Predictor
) -> dict[str, Any]:
    classes, calibrated = predictor.card.classes, len(predictor.reference.scores)
    covered = served.prediction_set[np.arange(len(y)), y]
    return {
        "level": served.level,
        "coverage": share(covered),
        "chance": coverage_range(calibrated, len(y), served.level),
        "set_size": estimate(np.mean, served.prediction_set.sum(1).astype(float)),
        "classes": {name: share(covered[y == c]) for c, name in enumerate(classes)},
    }


def _selective(served: ClassPredictions, y: NDArray[np.int64]) -> dict[str, Any]:
    wrong = served.prediction != y
    loss, sure = wrong.astype(float), served.confidence
    at_risk = {
        f"coverage_at_{risk:g}": estimate(partial(metrics.coverage_at_risk, risk=risk), sure, loss)
        for risk in _RISKS
    }
    return {
        "error_auroc": estimate(metrics.auroc, served.total, wrong),
        "aurc": estimate(metrics.aurc, sure, loss),
        "augrc": estimate(metrics.augrc, sure, loss),
        **at_risk,
    }


def _abstention(served: ClassPredictions, y: NDArray[np.int64]) -> dict[str, Any]:
    answered = ~served.abstain
    return {
        "risk": served.risk,
        "answered": share(answered),
        "error_rate": share((served.prediction != y)[answered]),
    }
