"""How right a version is on rows whose labels have come, as one report.

Knows scores (`mcdrop.metrics`) and what calibration promised. Refuses to know where answers and
labels are kept.
"""

from collections.abc import Sequence

import numpy as np

from mcdrop.abstention import clopper_pearson
from mcdrop.adaptive import AdaptiveLevel
from mcdrop.metrics import (
    accuracy,
    brier,
    crps_gaussian,
    ece,
    gaussian_nll,
    interval_width,
    nll,
    quantile_calibration_error,
    rmse,
)
from mcdrop_service.kept import Kept

__all__ = ["assess", "assess_targets", "tell_level"]


def assess(kept: Kept) -> dict[str, float]:
    """Scores of the answers, and how often sets and intervals held the truth.

    ``coverage`` stands beside ``level``, the mean of the levels asked for, and ``coverage_bound``,
    a one-sided 90 % Clopper-Pearson lower bound on it. Of several targets, scores are averages over
    them, whatever their units. ``width``, of intervals, is left out where one has no end.
    """
    missed = kept.missed
    least = 1 - clopper_pearson(int(np.ceil(missed.sum())), len(missed))
    covered = {
        "coverage": float(1 - missed.mean()),
        "coverage_bound": least,
        "level": float(kept.levels.mean()),
    }
    if kept.task == "classification":
        probabilities, labels = kept.answers[:, 0], kept.labels.argmax(axis=1)
        return {
            "accuracy": accuracy(probabilities, labels),
            "nll": nll(probabilities, labels),
            "brier": brier(probabilities, labels),
            "ece": ece(probabilities, labels),
            "set_size": float(kept.answers[:, 1].sum(axis=1).mean()),
            **covered,
        }
    mean, variance = kept.answers[:, 0], kept.answers[:, 1]
    scores = {"rmse": rmse(mean, kept.labels)}
    width = interval_width(kept.answers[:, 2], kept.answers[:, 3])
    scores |= {"width": width} if np.isfinite(width) else {}
    if (variance > 0).all():
        scores |= {
            "nll": gaussian_nll(mean, variance, kept.labels),
            "crps": crps_gaussian(mean, variance, kept.labels),
            "calibration_error": quantile_calibration_error(mean, variance, kept.labels),
        }
    return scores | covered


def assess_targets(kept: Kept, targets: Sequence[str]) -> dict[str, dict[str, float]]:
    """What `assess` tells of each of several targets, in its own unit; empty for a single one."""
    if len(targets) < 2:
        return {}
    return {name: assess(kept.target(column)) for column, name in enumerate(targets)}


def tell_level(state: AdaptiveLevel) -> dict[str, float | None]:
    """The state of adaptive conformal inference; null for what no row has told yet."""
    return {
        "target": state.target,
        "level": state.level,
        "rows": state.rows,
        "coverage": state.coverage if state.rows else None,
        "bound": min(1.0, state.bound),
    }
