"""Split conformal prediction: sets and intervals that cover with a stated probability.

Knows scores of calibration rows and their exact finite-sample quantile. If calibration rows and
the row to come are exchangeable, a set at level L holds the truth with probability L or more, for
any number of calibration rows (Vovk 2005; Lei 2018, theorem 2.2). Refuses to know networks.
"""

import math
from typing import Literal

import numpy as np
import scipy  # its parts are imported when they are first used
from numpy.typing import NDArray

from mcdrop.errors import InputError

__all__ = ["ROUNDING", "SetScore", "class_scores", "coverage_range", "prediction_set", "quantile"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SetScore = Literal["lac", "aps", "raps"]

ROUNDING = 1e-6
"""Share by which sets and intervals reach farther than calibration rows did.

A row like a calibration row has its score up to rounding only: where rows and truths repeat, a
promise must not hang on the last bit.
"""

_RAPS_WEIGHT, _RAPS_FREE = 0.01, 5  # lambda and k_reg of Angelopoulos 2021, section 3


def quantile(scores: Floats, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n scores; infinity where there are too few.

    The plain ``level`` quantile would cover less than ``level`` at small n: .83 for .90 at n = 10.

    Raises:
        InputError: ``level`` is not a probability between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level {level} is no probability: give one between 0 and 1, as 0.9")
    # Rounded first: (n + 1) level is often a whole number that floating point lands just above.
    rank = max(1, math.ceil(round((len(scores) + 1) * level, 9)))
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= len(scores) else math.inf


def coverage_range(
    calibration_rows: int, rows: int, level: float, chance: float = 0.95
) -> tuple[float, float]:
    """Where the coverage of ``rows`` new rows lies with probability ``chance``.

    Sets promise their level on average over draws of the calibration rows; for one draw of n, with
    the rank r that `quantile` takes, the share covered is Beta(r, n + 1 - r) (Vovk 2012), and the
    count among new rows beta-binomial. (1, 1) where the sets are trivial.
    """
    rank = max(1, math.ceil(round((calibration_rows + 1) * level, 9)))
    if rank > calibration_rows:
        return 1.0, 1.0
    counts = scipy.stats.betabinom(rows, rank, calibration_rows + 1 - rank)
    low, high = counts.ppf([(1 - chance) / 2, (1 + chance) / 2]) / rows
    return float(low), float(high)


def class_scores(probabilities: Floats, score: SetScore) -> Floats:
    """How badly each class would fit each row, (B, C): smaller fits better.

    - lac: 1 - p_c (Sadinle 2019): the smallest sets on average.
    - aps: the probability of all classes at least as probable as c (Romano 2020, without its
      randomization, which only makes sets larger): sets that adapt to a row's difficulty.
    - raps: aps plus .01 for every rank beyond the fifth (Angelopoulos 2021), against long tails.
    """
    if score == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    cumulative = np.cumsum(np.take_along_axis(probabilities, order, 1), axis=1)  # (B, C)
    if score == "raps":
        ranks = np.arange(1, probabilities.shape[1] + 1)
        cumulative += _RAPS_WEIGHT * np.maximum(ranks - _RAPS_FREE, 0)
    scores = np.empty_like(cumulative)
    np.put_along_axis(scores, order, cumulative, axis=1)
    return scores


def prediction_set(probabilities: Floats, score: SetScore, limit: float | Floats) -> Flags:
    """The classes whose score is within ``limit``, (B, C); one limit, or one a class (C,).

    The most probable class is always in: that can only add to the coverage, and an empty set
    helps nobody.
    """
    inside: Flags = class_scores(probabilities, score) <= limit + ROUNDING * np.abs(1 - limit)
    inside[np.arange(len(inside)), probabilities.argmax(1)] = True
    return inside
