"""Scores of predictions against truth, in float64.

Knows arrays of predictions and labels. Refuses to know networks and how the predictions were
made. What `selective` has is imported when it is first used: it needs scikit-learn.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mcdrop.later import importer
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
    interval_width,
    mc_log_likelihood,
    quantile_calibration_error,
    rmse,
    sharpness,
)
from mcdrop.metrics.targets import by_target
from mcdrop.uncertainty import Classification, Regression

if TYPE_CHECKING:
    from mcdrop.metrics.selective import augrc, aupr, aurc, auroc, coverage_at_risk, fpr95

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
    "by_target",
    "classwise_ece",
    "coverage_at_risk",
    "crps_gaussian",
    "ece",
    "estimate",
    "fpr95",
    "gaussian_nll",
    "interval_coverage",
    "interval_width",
    "mc_log_likelihood",
    "nll",
    "quantile_calibration_error",
    "rmse",
    "share",
    "sharpness",
    "summarize",
]

_SELECTIVE = ("augrc", "aupr", "aurc", "auroc", "coverage_at_risk", "fpr95")
__getattr__ = importer(__name__, dict.fromkeys(_SELECTIVE, "selective"))


def summarize(
    answer: Classification | Regression, truth: NDArray[Any], targets: Sequence[str] = ()
) -> dict[str, dict[str, Estimate]]:
    """Scores of both answers, ``deterministic`` and ``mc``, by name, with 95 % intervals.

    Classification (truth: B labels): accuracy, nll, brier, ece. Regression (truth: (B, C)): rmse
    of both, of several ``targets`` one each (``rmse_<target>``), since their units may differ; and
    the Gaussian nll of the MC answer, averaged over rows and targets.
    """
    if isinstance(answer, Regression):
        return {
            "deterministic": _errors(answer.deterministic.mean, truth, targets),
            "mc": {
                **_errors(answer.mean, truth, targets),
                "nll": estimate(gaussian_nll, answer.mean, answer.total, truth),
            },
        }
    return {
        "deterministic": _classes(answer.deterministic.probabilities, truth),
        "mc": _classes(answer.mean, truth),
    }


def _errors(mean: NDArray[Any], truth: NDArray[Any], targets: Sequence[str]) -> dict[str, Estimate]:
    score = partial(estimate, rmse)
    return by_target("rmse", score, targets, mean, truth) or {"rmse": score(mean, truth)}


def _classes(probabilities: NDArray[Any], truth: NDArray[Any]) -> dict[str, Estimate]:
    scores = {f.__name__: estimate(f, probabilities, truth) for f in (nll, brier, ece)}
    return {"accuracy": share(probabilities.argmax(1) == truth), **scores}
