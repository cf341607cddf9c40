"""What a scoring adds up to: counts, the confidences, and whether the rows are like those before.

Knows counts that add up over chunks, in memory that does not depend on the rows. Refuses to know
files.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mcdrop.predictions import ClassPredictions, Predictions

__all__ = ["BINS", "PERCENTILES", "Tally"]

BINS = 20
"""Bins of the confidence, from 0 to 1."""

PERCENTILES = 1000
"""Bins of the novelty: resolution of the drift's statistic."""

Counts = NDArray[np.int64]


@dataclass
class Tally:
    """Running sums over rows.

    Attributes:
        rows: rows answered.
        confidence: sum of confidences, of a regression averaged over targets.
        agreeing: rows whose class is the same with and without dropout.
        abstaining: rows abstained from.
        unknown: rows with a cell that training never met.
        confidences: (BINS,), rows by confidence.
        novelties: (PERCENTILES + 1,), rows by novelty, rounded down to a thousandth.
    """

    rows: int = 0
    confidence: float = 0.0
    agreeing: int = 0
    abstaining: int = 0
    unknown: int = 0
    confidences: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    novelties: Counts = field(default_factory=lambda: np.zeros(PERCENTILES + 1, np.int64))

    def add(self, answers: Predictions) -> None:
        """Count some answers."""
        confidence = answers.confidence.reshape(len(answers), -1).mean(axis=1)
        self.rows += len(answers)
        self.confidence += float(confidence.sum())
        places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        self.confidences += np.bincount(places, minlength=BINS)
        # A novelty is k / n; the little more keeps k / n from falling below itself.
        ranks = np.floor(answers.novelty * PERCENTILES + 1e-9).astype(np.int64)
        self.novelties += np.bincount(ranks, minlength=PERCENTILES + 1)
        self.unknown += int(answers.unknown.any(axis=1).sum())
        if isinstance(answers, ClassPredictions):
            self.agreeing += int(answers.agrees.sum())
            self.abstaining += int(answers.abstain.sum())

    def merge(self, other: Self) -> None:
        """Count what another has counted."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def to_json(self) -> str:
        """As text."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(
            {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """From what `to_json` gave."""
        values: dict[str, Any] = json.loads(text)
        arrays = {k: np.array(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**(values | arrays))
