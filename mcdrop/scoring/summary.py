"""What a scoring came to, once it is complete.

Knows counts and the calibration rows they are compared with. Refuses to know terminals.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcdrop.calibration import Reference
from mcdrop.drift import Drift, compare
from mcdrop.scoring.tally import PERCENTILES, Tally

__all__ = ["Summary", "drift", "summarize"]

_LIVE = 10_000
"""Rows that stand for all in the test of drift: so many quantiles are as good as the rows."""


@dataclass(frozen=True)
class Summary:
    """What a scoring did.

    Attributes:
        output: where the answers are.
        rows: rows answered; of these, `written` are in the output.
        rejected: rows set aside; with ``rows`` they are the rows of the input.
        side: where those are, with their reasons; None if there are none.
        written: rows of the output: all that were answered, or the highest.
        resumed: rows that were done before this call.
        seconds: wall time of this call.
        mean_confidence: mean of the confidence over rows (and targets); NaN without rows.
        confidences: (20,), rows by confidence, in equal bins from 0 to 1.
        agreeing: share of rows whose class is the same with and without dropout; None for a
            regression.
        abstaining: share of rows abstained from; None for a regression.
        unknown: rows with a value that training never met.
        drift: whether the rows are as uncertain as the calibration rows; None without either, or
            where the passes were not those of the calibration: the model's T, its recipe's seed.
    """

    output: str
    rows: int
    rejected: int
    side: str | None
    written: int
    resumed: int
    seconds: float
    mean_confidence: float
    confidences: NDArray[np.int64]
    agreeing: float | None
    abstaining: float | None
    unknown: int
    drift: Drift | None


def drift(tally: Tally, reference: Reference) -> Drift | None:
    """Compare the rows' epistemic uncertainty with that of the calibration rows, by novelty.

    Novelty is the rank among calibration rows, on which alone the test depends; here it is rounded
    down to a thousandth, and of many rows 10,000 quantiles stand for all.
    """
    known = reference.epistemic
    if not tally.rows or not len(known):
        return None
    ends = np.cumsum(tally.novelties)
    count = min(tally.rows, _LIVE)
    ranks = (np.arange(count) + 0.5) * (tally.rows / count)
    live = np.searchsorted(ends, ranks, "right").astype(np.float64)
    below = np.searchsorted(known, known)
    own = np.floor(below / len(known) * PERCENTILES + 1e-9)
    # A row that k calibration rows are below of is below the next, or like it where several tie.
    alone = np.searchsorted(known, known, "right") == below + 1
    return compare(live, own + 0.5 * alone)


def summarize(
    tally: Tally,
    reference: Reference,
    *,
    classes: bool,
    alike: bool,
    **counts: object,
) -> Summary:
    """The summary of a tally.

    Args:
        tally: of all chunks.
        reference: what the model made of its calibration rows.
        classes: whether it is a classification.
        alike: whether the passes were those of the calibration.
        counts: the fields that a tally does not know.
    """
    rows = tally.rows or 1
    return Summary(
        rows=tally.rows,
        mean_confidence=tally.confidence / tally.rows if tally.rows else float("nan"),
        confidences=tally.confidences,
        agreeing=tally.agreeing / rows if classes else None,
        abstaining=tally.abstaining / rows if classes else None,
        unknown=tally.unknown,
        drift=drift(tally, reference) if alike else None,
        **counts,  # type: ignore[arg-type]
    )
