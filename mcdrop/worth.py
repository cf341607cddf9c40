"""Whether a model is worth more than an answer that never looks at the row.

Knows a card's scores and the truth they were taken on. Refuses to know how either came about.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.card import Card

__all__ = ["worse_than_constant"]


def worse_than_constant(card: Card, y: NDArray[Any]) -> str | None:
    """What is worse than a constant answer, beyond chance (95 %); None: nothing is.

    The commonest class is right for its share of the rows; a target's mean is off by its standard
    deviation.

    Args:
        card: of the model, with its scores.
        y: (B,) classes or (B, C) numbers of the rows that it was scored on.
    """
    scores, intervals = card.metrics["deterministic"], card.intervals["deterministic"]
    if card.classes:
        counts = np.bincount(y, minlength=len(card.classes))
        share = counts.max() / counts.sum()
        if intervals["accuracy"][1] >= share:
            return None
        label = card.classes[int(counts.argmax())]
        return f"accuracy {scores['accuracy']:.3g} where always {label!r:.60} has {share:.3g}"
    for target, values in zip(card.targets, y.T, strict=True):
        name = "rmse" if len(card.targets) == 1 else f"rmse_{target}"
        if intervals[name][0] > values.std():
            return f"{name} {scores[name]:.3g} where always the mean has {values.std():.3g}"
    return None
