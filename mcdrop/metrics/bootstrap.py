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
) -> tuple[float, float]:
    """Bias-corrected percentile interval of ``score(*arrays)`` under resampling of rows.

    Efron 1987, section 2, without acceleration. The correction matters for calibration errors,
    which noise in each bin makes larger on every resample; the interval holds the score itself.

    Args:
        score: takes the arrays, or resamples of their rows.
        arrays: all of B rows.
        level: coverage of the interval, in (0, 1).
        resamples: bootstrap samples; None: 1,000, or fewer of many rows, 200 at least.
        seed: of the resampling.

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
    below = np.mean(scores < value) + np.mean(scores == value) / 2
    bias = scipy.special.ndtri(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    levels = scipy.special.ndtr(2 * bias + scipy.special.ndtri([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(scores, levels)
    return min(float(low), value), max(float(high), value)
