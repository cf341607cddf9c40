"""What a calibrated model says of B rows: the statistics of its passes, and what they are worth.

Knows the fields. Refuses to know how they are computed: see `mcdrop.calibration`.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mcdrop.uncertainty import Classification, Regression

__all__ = ["ClassPredictions", "Predictions", "Samples", "ValuePredictions", "extend"]

Floats = NDArray[np.float64]

Samples = int | Literal["auto"] | None
"""Passes T: a number, as many as needed, or None for the model's own number."""


@dataclass(frozen=True)
class ClassPredictions(Classification):
    """A classification with its guarantees.

    Attributes:
        prediction_set: (B, C) bool, the classes in each row's conformal set.
        novelty: (B,), share of calibration rows whose epistemic uncertainty is below this row's; a
            row with an unknown cell ranks above every row without.
        abstain: (B,) bool, whether the confidence is too low for the risk asked, or a cell unknown.
        unknown: (B, K) bool, which of a table's K columns hold what training never met, in the
            order of ``card.preprocessing.columns``; (B, 0) for arrays.
        level: probability with which a set holds the true class.
        risk: error rate that answered rows stay within.
    """

    prediction_set: NDArray[np.bool_]
    novelty: Floats
    abstain: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    level: float
    risk: float


@dataclass(frozen=True)
class ValuePredictions(Regression):
    """A regression with its guarantees.

    Attributes:
        lower: (B, C), lower ends of the conformal intervals, in the target's unit.
        upper: (B, C), upper ends.
        novelty: (B,), as of `ClassPredictions`.
        unknown: (B, K) bool, likewise.
        level: probability with which an interval holds the true value, for each target.
    """

    lower: Floats
    upper: Floats
    novelty: Floats
    unknown: NDArray[np.bool_]
    level: float


Predictions = ClassPredictions | ValuePredictions


def extend(answer: Classification | Regression, **further: Any) -> Any:
    """``answer`` with the ``further`` fields of its calibrated form."""
    own = {field.name: getattr(answer, field.name) for field in fields(answer)}
    kind = ClassPredictions if isinstance(answer, Classification) else ValuePredictions
    return kind(**own, **further)
