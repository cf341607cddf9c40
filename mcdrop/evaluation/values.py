"""The numbers of a regression: how near, how wide, how often right about its own width.

Knows scores with their intervals. Refuses to know pictures and words.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop import metrics
from mcdrop.calibration import row_epistemic
from mcdrop.conformal import coverage_range
from mcdrop.evaluation.classes import novelty_numbers
from mcdrop.evaluation.evidence import Evidence
from mcdrop.evaluation.tree import Tree
from mcdrop.metrics import Estimate, estimate, share
from mcdrop.posterior import Posterior
from mcdrop.predictions import ValuePredictions
from mcdrop.predictor import Predictor

__all__ = ["value_numbers"]

Floats = NDArray[np.float64]

_ENTRIES = 20_000_000  # of passes held at a time for the likelihood of their mixture
_GAUSSIAN = 0.95


def value_numbers(evidence: Evidence) -> Tree:
    """Every number of a regression, with intervals, by name."""
    served, y = evidence.served, evidence.rows.truth
    if not isinstance(served, ValuePredictions):
        raise TypeError("value_numbers wants the evidence of a regression")
    moments = served.mean, served.total, y
    mixture = {name: estimate(score, *moments) for name, score in _SCORES.items()}
    rmse = {"rmse": estimate(metrics.rmse, served.mean, y)}
    tree: dict[str, Any] = {
        "deterministic": {"rmse": estimate(metrics.rmse, served.deterministic.mean, y)},
        "mc": {**rmse, "nll": mixture["nll"]},
        "served": {**rmse, **mixture, **_likelihood(evidence, y)},
        "difference": {"rmse": _gain(served, y)},
        "conformal": _conformal(served, y, evidence.predictor),
        "gaussian": _gaussian(served, y),
        "sharpness": estimate(metrics.sharpness, served.total),
    }
    if evidence.strange_served is not None:
        strange = row_epistemic(evidence.strange_served)
        tree["ood"] = novelty_numbers(row_epistemic(served), strange)
    return tree


_SCORES: dict[str, Any] = {
    "nll": metrics.gaussian_nll,
    "crps": metrics.crps_gaussian,
    "quantile_error": metrics.quantile_calibration_error,
}


def _gain(served: ValuePredictions, y: Floats) -> Estimate:
    """Error of the MC mean minus that of the deterministic answer: below 0 where passes help."""

    def gap(a: Floats, b: Floats, truth: Floats) -> float:
        return metrics.rmse(a, truth) - metrics.rmse(b, truth)

    return estimate(gap, served.mean, served.deterministic.mean, y)


def _likelihood(evidence: Evidence, y: Floats) -> dict[str, Any]:
    """Gal's estimator at this T, of the first target, where one noise variance serves all rows."""
    card = evidence.predictor.card
    noise, rows = card.calibration.noise, _ENTRIES // (evidence.samples * y.shape[1])
    if len(noise) != 1:
        return {}
    posterior = Posterior(
        evidence.predictor.network, evidence.samples, evidence.seed, task=card.task
    )
    few = slice(0, max(1, rows))
    passes = posterior.sample(evidence.x[few])  # (T, B, 1)
    tau = 1 / noise[0]

    def score(columns: Floats, truth: Floats) -> float:
        return metrics.mc_log_likelihood(columns.T, truth, tau)

    return {"log_likelihood": estimate(score, passes[..., 0].T, y[few, 0])}


def _conformal(served: ValuePredictions, y: Floats, predictor: Predictor) -> dict[str, Any]:
    targets, calibrated = predictor.card.targets, len(predictor.reference.scores)
    covered = (served.lower <= y) & (y <= served.upper)
    return {
        "level": served.level,
        "coverage": share(covered[:, 0]) if len(targets) == 1 else estimate(np.mean, covered),
        "chance": coverage_range(calibrated, len(y), served.level),
        "width": estimate(metrics.interval_width, served.lower, served.upper),
        "targets": {name: share(covered[:, c]) for c, name in enumerate(targets)},
    }


def _gaussian(served: ValuePredictions, y: Floats) -> dict[str, Any]:
    """Coverage of mean -+ 1.96 std, which nothing but the fitted variance vouches for."""
    lower, upper = served.interval(_GAUSSIAN)
    covered = (lower <= y) & (y <= upper)
    return {
        "level": _GAUSSIAN,
        "coverage": share(covered[:, 0]) if y.shape[1] == 1 else estimate(np.mean, covered),
        "width": estimate(metrics.interval_width, lower, upper),
    }
