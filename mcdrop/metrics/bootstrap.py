"""How far a score may be from its value on infinitely many rows.

Knows resampling of rows. Refuses to know the score.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bootstrap_interval"]

_WORK = 4_000_000  # rows drawn in all, where that is enough for the ends of an interval


def bootstrap_interval(
    score: Callable[..., float],
    *arrays: NDArray[Any],
    level: float = 0.95,
    resamples: int | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of ``score(*arrays)`` under resampling of rows (Efron 1979).

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
    rows = len(arrays[0])
    if resamples is None:
        resamples = int(np.clip(_WORK // max(1, rows), 200, 1000))
    draws = (generator.integers(0, rows, rows) for _ in range(resamples))
    scores = np.array([score(*(array[draw] for array in arrays)) for draw in draws])
    low, high = np.nanquantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
