"""The numbers of a regression: how near, how wide, how often right about its own width.

Knows scores with their intervals. Refuses to know pictures and words.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop import metrics
from mcdrop.calibration import row_epistemic
from mcdrop.conformal import coverage_range
from mcdrop.evaluation.classes import novelty_numbers
from mcdrop.evaluation.evidence import Evidence
from mcdrop.evaluation.tree import Tree
from mcdrop.metrics import Estimate, by_target, estimate, share
from mcdrop.posterior import Posterior
from mcdrop.predictions import ValuePredictions
from mcdrop.predictor import Predictor

__all__ = ["value_numbers"]

Floats = NDArray[np.float64]

_ENTRIES = 20_000_000  # of passes held at a time for the likelihood of their mixture
_GAUSSIAN = 0.95


def value_numbers(evidence: Evidence) -> Tree:
    """Every number of a regression, with intervals, by name.

    Of several targets, a score is the average over them, whatever their units, and beside it
    stands that of each, ``<score>_<target>``.
    """
    served, y = evidence.served, evidence.rows.truth
    if not isinstance(served, ValuePredictions):
        raise TypeError("value_numbers wants the evidence of a regression")
    score = partial(_each, evidence.predictor.card.targets)
    fixed, moments = served.deterministic.mean, (served.mean, served.total, y)
    rmse = score("rmse", metrics.rmse, served.mean, y)
    nll = score("nll", metrics.gaussian_nll, *moments)
    mixture = {
        **score("crps", metrics.crps_gaussian, *moments),
        **score("quantile_error", metrics.quantile_calibration_error, *moments),
    }
    tree: dict[str, Any] = {
        "deterministic": score("rmse", metrics.rmse, fixed, y),
        "mc": {**rmse, **nll},
        "served": {**rmse, **nll, **mixture, **_likelihood(evidence, y)},
        "difference": score("rmse", _gain, served.mean, fixed, y),
        "conformal": _conformal(served, y, evidence.predictor),
        "gaussian": _gaussian(served, y, evidence.predictor),
        **score("sharpness", metrics.sharpness, served.total),
    }
    if evidence.strange_served is not None:
        strange = row_epistemic(evidence.strange_served)
        tree["ood"] = novelty_numbers(row_epistemic(served), strange)
    return tree


def _each(
    targets: Sequence[str], name: str, score: Callable[..., float], *values: Floats
) -> dict[str, Estimate]:
    """A score over all targets, and of each where they are several."""
    estimated = partial(estimate, score)
    return {name: estimated(*values), **by_target(name, estimated, targets, *values)}


def _gain(mean: Floats, fixed: Floats, truth: Floats) -> float:
    """Error of the MC mean minus that of the deterministic answer: below 0 where passes help."""
    return metrics.rmse(mean, truth) - metrics.rmse(fixed, truth)


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
    return {
        "level": served.level,
        "chance": coverage_range(len(predictor.reference.scores), len(y), served.level),
        **_intervals(served.lower, served.upper, y, predictor.card.targets),
    }


def _gaussian(served: ValuePredictions, y: Floats, predictor: Predictor) -> dict[str, Any]:
    """Coverage of mean -+ 1.96 std, which nothing but the fitted variance vouches for."""
    intervals = _intervals(*served.interval(_GAUSSIAN), y, predictor.card.targets)
    return {"level": _GAUSSIAN, **intervals}


def _intervals(lower: Floats, upper: Floats, y: Floats, targets: Sequence[str]) -> dict[str, Any]:
    """How often intervals hold the truth and how wide they are: of all targets, and of each."""
    covered = (lower <= y) & (y <= upper)
    each = list(enumerate(targets))
    return {
        "coverage": share(covered[:, 0]) if len(targets) == 1 else estimate(np.mean, covered),
        "width": estimate(metrics.interval_width, lower, upper),
        "targets": {name: share(covered[:, c]) for c, name in each},
        "widths": {
            name: estimate(metrics.interval_width, lower[:, c], upper[:, c]) for c, name in each
        },
    }
