"""Scores of predictions against truth, in float64.

Knows arrays of predictions and labels. Refuses to know networks and how the predictions were
made.
"""

from typing import Any

from numpy.typing import NDArray

from mcdrop.metrics.bootstrap import bootstrap_interval
from mcdrop.metrics.classification import (
    accuracy,
    brier,
    brier_decomposition,
    classwise_ece,
    ece,
    nll,
)
from mcdrop.metrics.estimate import Estimate, binomial_interval, estimate, share
from mcdrop.metrics.regression import (
    crps_gaussian,
    gaussian_nll,
    interval_coverage,
    mc_log_likelihood,
    quantile_calibration_error,
    rmse,
)
from mcdrop.metrics.selective import augrc, aupr, aurc, auroc, coverage_at_risk, fpr95
from mcdrop.uncertainty import Classification, Regression

__all__ = [
    "Estimate",
    "accuracy",
    "augrc",
    "aupr",
    "aurc",
    "auroc",
    "binomial_interval",
    "bootstrap_interval",
    "brier",
    "brier_decomposition",
    "classwise_ece",
    "coverage_at_risk",
    "crps_gaussian",
    "ece",
    "estimate",
    "fpr95",
    "gaussian_nll",
    "interval_coverage",
    "mc_log_likelihood",
    "nll",
    "quantile_calibration_error",
    "rmse",
    "share",
    "summarize",
]


def summarize(
    answer: Classification | Regression, truth: NDArray[Any]
) -> dict[str, dict[str, float]]:
    """Scores of both answers, ``deterministic`` and ``mc``, by name.

    Classification (truth: B labels): accuracy, nll, brier, ece. Regression (truth: (B, C)): rmse
    of both, and the Gaussian nll of the MC answer, averaged over rows and targets.
    """
    if isinstance(answer, Regression):
        return {
            "deterministic": {"rmse": rmse(answer.deterministic.mean, truth)},
            "mc": {
                "rmse": rmse(answer.mean, truth),
                "nll": gaussian_nll(answer.mean, answer.total, truth),
            },
        }
    scores = (accuracy, nll, brier, ece)
    return {
        "deterministic": {f.__name__: f(answer.deterministic.probabilities, truth) for f in scores},
        "mc": {f.__name__: f(answer.mean, truth) for f in scores},
    }
