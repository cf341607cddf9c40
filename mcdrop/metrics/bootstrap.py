"""How far a score may be from its value on infinitely many rows.

Knows resampling of rows. Refuses to know the score.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are first used
from numpy.typing import NDArray

__all__ = ["bootstrap_interval"]

_WORK = 1_000_000  # rows drawn in all, where that is enough for the ends of an interval


def bootstrap_interval(
    score: Callable[..., float],
    *arrays: NDArray[Any],
    level: float = 0.95,
    resamples: int | None = None,
    seed: int = 0,
    inflated: bool = False,
) -> tuple[float, float]:
    """Bias-corrected percentile interval of ``score(*arrays)`` under resampling of rows.

    Efron 1987, section 2, without acceleration; the interval holds the score itself.

    Noise in each bin makes a calibration error larger (of a calibrated model with 300 rows it is
    .05), and each resample's larger again, by about as much in its square. Such scores are
    ``inflated``: their interval is the basic one (Davison & Hinkley 1997, section 5.2.1) of the
    square, from 2 score^2 minus the squares' quantiles, which takes away what noise has added.

    Args:
        score: takes the arrays, or resamples of their rows.
        arrays: all of B rows.
        level: coverage of the interval, in (0, 1).
        resamples: bootstrap samples; None: 1,000, or fewer of many rows, 200 at least.
        seed: of the resampling.
        inflated: whether noise alone makes the score larger, and the score is 0 or more.

    Returns:
        The lower and the upper end; resamples in which the score is NaN do not count.
    """
    generator = np.random.default_rng(seed)
    rows, value = len(arrays[0]), score(*arrays)
    if resamples is None:
        resamples = int(np.clip(_WORK // max(1, rows), 200, 1000))
    draws = (generator.integers(0, rows, rows) for _ in range(resamples))
    scores = np.array([score(*(array[draw] for array in arrays)) for draw in draws])
    scores = scores[~np.isnan(scores)]
    if inflated:
        ends = np.quantile(scores, [(1 + level) / 2, (1 - level) / 2])
        low, high = np.sqrt(np.maximum(2 * value**2 - ends**2, 0.0))
        return min(float(low), value), max(float(high), value)
    below = np.mean(scores < value) + np.mean(scores == value) / 2
    bias = scipy.special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    levels = scipy.special.ndtr(2 * bias + scipy.special.ndtri([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(scores, levels)
    return min(float(low), value), max(float(high), value)
