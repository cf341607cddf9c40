"""A number, how many rows it was measured on, and how far it may be from its true value.

Knows scores and the interval that suits each. Refuses to know what is scored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are first used
from numpy.typing import NDArray

from mcdrop.metrics.bootstrap import bootstrap_interval
from mcdrop.metrics.classification import classwise_ece, ece
from mcdrop.metrics.regression import quantile_calibration_error

__all__ = ["Estimate", "binomial_interval", "estimate", "share"]

_CALIBRATION_ERRORS = {ece, classwise_ece, quantile_calibration_error}


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % interval.

    Attributes:
        value: on the rows at hand.
        low: lower end.
        high: upper end.
        n: rows.
    """

    value: float
    low: float
    high: float
    n: int


def estimate(score: Callable[..., float], *arrays: NDArray[Any]) -> Estimate:
    """``score(*arrays)`` with its bootstrap interval; see `bootstrap_interval`."""
    value = float(score(*arrays))
    if not np.isfinite(value):  # as an AUROC without errors: there is nothing to resample
        return Estimate(value, float("nan"), float("nan"), len(arrays[0]))
    inflated = getattr(score, "func", score) in _CALIBRATION_ERRORS
    interval = bootstrap_interval(score, *arrays, inflated=inflated)
    return Estimate(value, *interval, len(arrays[0]))


def share(flags: NDArray[np.bool_]) -> Estimate:
    """The share of rows (B,) that are True, with its exact binomial interval; NaN of no rows."""
    count, rows = int(np.sum(flags)), len(flags)
    if not rows:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    return Estimate(count / rows, *binomial_interval(count, rows), rows)


def binomial_interval(count: int, rows: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval of a share of ``count`` in ``rows`` (Clopper & Pearson 1934)."""
    found = scipy.stats.binomtest(count, rows).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)
