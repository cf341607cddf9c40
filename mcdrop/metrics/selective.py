"""How well a score tells right answers from wrong ones, or known rows from strange ones.

Any score will do, and rows of equal score are never told apart by their order: curves through a
tie are expectations over its random orders. Refuses to know where the score comes from.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_curve

__all__ = ["augrc", "aupr", "aurc", "auroc", "coverage_at_risk", "fpr95"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def auroc(score: Floats, positive: Flags) -> float:
    """Probability that a positive row scores above a negative one, ties counting half.

    Error detection: an uncertainty against ``~correct``. Out-of-distribution detection: an
    uncertainty of both sets against membership of the strange one. NaN without both kinds.
    """
    if not _both(positive):
        return float("nan")
    ranks, count = rankdata(score), int(np.sum(positive))  # ties share their mean rank
    wins = ranks[positive].sum() - count * (count + 1) / 2  # Mann & Whitney's U
    return float(wins / (count * (len(score) - count)))


def aupr(score: Floats, positive: Flags) -> float:
    """Average precision: sum_k (recall_k - recall_{k-1}) precision_k. NaN without both kinds."""
    return float(average_precision_score(positive, score)) if _both(positive) else float("nan")


def fpr95(score: Floats, positive: Flags) -> float:
    """Least share of negatives that a threshold flags while it flags 95 % of the positives."""
    if not _both(positive):
        return float("nan")
    false, true, _ = roc_curve(positive, score, drop_intermediate=False)
    return float(false[np.argmax(true >= 0.95)])


def aurc(confidence: Floats, loss: Floats) -> float:
    """Area under the risk-coverage curve: mean over k of the mean loss of the k surest rows.

    Geifman et al. 2019, eq. 5. ``loss`` is 1 for an error, or any other loss of each row.
    """
    cumulative = _cumulative(confidence, loss)
    return float(np.mean(cumulative[1:] / np.arange(1, len(cumulative))))


def augrc(confidence: Floats, loss: Floats) -> float:
    """Area under the generalized risk-coverage curve (Traub et al. 2024, eq. 5).

    Integral over coverage of the loss accepted so far per row of the whole set: for errors,
    (1 - AUROC) acc (1 - acc) + (1 - acc)^2 / 2.
    """
    cumulative = _cumulative(confidence, loss) / len(loss)
    return float(np.mean((cumulative[1:] + cumulative[:-1]) / 2))


def coverage_at_risk(confidence: Floats, loss: Floats, risk: float) -> float:
    """Largest share of rows that a threshold on ``confidence`` answers at mean loss <= ``risk``."""
    levels, group = np.unique(-confidence, return_inverse=True)
    rows = np.cumsum(np.bincount(group, minlength=len(levels)))
    losses = np.cumsum(np.bincount(group, weights=loss, minlength=len(levels)))
    fits = rows[losses <= risk * rows + 1e-12]
    return float(fits.max() / len(loss)) if len(fits) else 0.0


def _cumulative(confidence: Floats, loss: Floats) -> Floats:
    """Expected loss of the k surest rows, k = 0 to B, over random orders of ties, (B + 1,)."""
    _, group = np.unique(-confidence, return_inverse=True)
    size = np.bincount(group)
    average = np.bincount(group, weights=loss) / size
    return np.concatenate([[0.0], np.cumsum(np.repeat(average, size))])


def _both(positive: Flags) -> bool:
    return bool(np.any(positive)) and not bool(np.all(positive))
