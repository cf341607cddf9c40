"""Whether rows of late are like the calibration rows, by what the model does not know of them.

Knows two samples of numbers and the test of whether one distribution gave both. Refuses to know
where rows come from and how their uncertainty was computed.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when they are first used
from numpy.typing import NDArray

from mcdrop.errors import InputError

__all__ = ["Drift", "compare"]


@dataclass(frozen=True)
class Drift:
    """How far rows of late differ from calibration rows.

    Attributes:
        statistic: Kolmogorov-Smirnov distance, sup_u |F_live(u) - F_reference(u)|, in [0, 1].
        p_value: probability of this distance or a greater one, if nothing has drifted.
        higher: probability that a row of late is more uncertain than a calibration row, ties
            counting half: .5 without drift, more where rows have become strange to the model.
        rows: rows of late.
        reference_rows: calibration rows.
    """

    statistic: float
    p_value: float
    higher: float
    rows: int
    reference_rows: int


def compare(live: NDArray[np.float64], reference: NDArray[np.float64]) -> Drift:
    """Compare the epistemic uncertainty of rows of late with that of calibration rows.

    The two-sided two-sample Kolmogorov-Smirnov test (Hodges 1958), exact up to 10,000 rows and
    asymptotic beyond (`scipy.stats.ks_2samp`). Its p-value holds for rows that are independent of
    each other, and conservatively where values tie. Both samples have to be of the same T and
    seed: the estimate of the epistemic uncertainty depends on the passes it is made of.

    Args:
        live: (n,), of the rows of late.
        reference: (m,), of the calibration rows; in any order.

    Raises:
        InputError: a sample is empty, or holds what is not a finite number.
    """
    for name, sample in (("live", live), ("reference", reference)):
        if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
            raise InputError(
                f"got {name} values of shape {sample.shape}, wanted one finite number or more, (n,)"
            )
    found = scipy.stats.ks_2samp(live, reference, method="auto")
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, live, "left") + np.searchsorted(ordered, live, "right")
    return Drift(
        float(found.statistic),
        float(found.pvalue),
        float(below.mean() / (2 * len(ordered))),
        len(live),
        len(ordered),
    )
