"""The rows that stand highest: of a chunk, and of all chunks so far.

Knows that rows are ranked by columns of their answers, so that a rank is the same wherever it is
told. Refuses to know how answers are made.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mcdrop.card import Card

__all__ = ["highest", "ranking"]


def ranking(by: str | None, card: Card) -> dict[str, float]:
    """What rows are ranked by: the weights of columns of their answers.

    Args:
        by: a column. None: the epistemic uncertainty; of several targets its mean, in units of
            each target's variance among the training rows, as `mcdrop select` has it.
        card: of the model.
    """
    if by is not None or len(card.targets) < 2:
        return {by or "epistemic": 1.0}
    variances = card.calibration.target_variance or (1.0,) * len(card.targets)
    pairs = zip(card.targets, variances, strict=True)
    return {f"epistemic_{name}": 1 / (variance or 1.0) for name, variance in pairs}


def highest(table: pa.Table, count: int, by: Mapping[str, float]) -> pa.Table:
    """The ``count`` rows with the greatest weighted sum, greatest first; of equals, the earlier."""
    rank = sum(weight * table[name].to_numpy() for name, weight in by.items())
    order = np.argsort(-np.asarray(rank), kind="stable")[:count]
    return table.take(pa.array(order))
