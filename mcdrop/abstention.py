"""When not to answer: a threshold on confidence that keeps the errors of what is answered rare.

Knows confidences and errors of calibration rows. Refuses to know networks.
"""

import numpy as np
import scipy  # its parts are imported when they are first used
from numpy.typing import NDArray

__all__ = ["clopper_pearson", "threshold"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DELTA = 0.1
"""Probability, over the draw of the calibration rows, that a promised risk does not hold."""

_CANDIDATES = 100
_ROUNDING = 1e-6  # of the doubt: thresholds lie below the pilot rows', not on them


def threshold(
    confidence: Floats,
    errors: Flags,
    pilot: tuple[Floats, Flags],
    risk: float,
    delta: float = DELTA,
) -> float:
    """The least threshold whose answered rows err at a rate of ``risk`` or less.

    Fixed-sequence testing (Angelopoulos et al. 2021, "Learn then Test", section 2.3): thresholds
    are tried by the exact binomial test of "the error rate is above ``risk``", the most promising
    on the pilot rows first, until one is not rejected at ``delta``. With probability 1 - ``delta``
    over the calibration rows, the threshold returned holds its promise.

    Args:
        confidence: of the calibration rows, (n,).
        errors: whether each was answered wrongly, (n,).
        pilot: confidences and errors of other rows; they order the tests and prove nothing, but
            without any there is nothing to try.
        risk: error rate to stay within, in (0, 1).
        delta: allowed probability of a broken promise.

    Returns:
        Answer where the confidence is at least this; infinity if no threshold keeps the promise.
    """
    if not len(pilot[0]):
        return float("inf")
    candidates = np.quantile(pilot[0], np.linspace(0, 1, _CANDIDATES + 1)[:-1])
    # Where rows repeat, one must not be tested on the one side, and answered on the other.
    candidates = np.maximum(candidates - _ROUNDING * (1 - candidates), 0.0)
    order = np.argsort(_p_values(*pilot, candidates, risk), kind="stable")
    accepted = np.cumprod(_p_values(confidence, errors, candidates[order], risk) <= delta) > 0
    return float(candidates[order][accepted].min(initial=np.inf))


def _p_values(confidence: Floats, errors: Flags, thresholds: Floats, risk: float) -> Floats:
    """P(Binomial(answered, risk) <= wrong) for each threshold."""
    answered = confidence >= thresholds[:, None]  # (thresholds, n)
    wrong, right = (answered & errors).sum(1), (answered & ~errors).sum(1)
    # The binomial distribution as a beta integral: `scipy.stats` takes seconds to import.
    values = scipy.special.betaincc(wrong + 1, np.maximum(right, 1), risk)
    return np.where(right > 0, values, 1.0)


def clopper_pearson(errors: int, rows: int, delta: float = DELTA) -> float:
    """Upper bound of an error rate that holds with probability 1 - ``delta``; 1 without rows."""
    if errors >= rows:
        return 1.0
    return float(scipy.special.betaincinv(errors + 1, rows - errors, 1 - delta))
