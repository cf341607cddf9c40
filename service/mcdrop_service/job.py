"""An ask that has been checked against its model: rows that the network takes, and by whom.

Knows which jobs may be evaluated together, and which may be laid out together. Refuses to know
how either is done.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.predictor import Predictor
from mcdrop.uncertainty import Classification, Regression
from mcdrop_service.ask import Ask

__all__ = ["Job", "Statistics"]

Statistics = Classification | Regression
Key = tuple[Predictor, int, int]


@dataclass(frozen=True)
class Job:
    """An ask that can be answered: encoded rows (B, D), and who is to answer them how.

    ``unknown``, (B, K), says which of a table's columns hold what training never met.
    """

    ask: Ask
    predictor: Predictor
    x: NDArray[np.float32]
    samples: int
    unknown: NDArray[np.bool_] | None = None

    @property
    def key(self) -> Key:
        """Jobs of the same key may be evaluated together."""
        return self.predictor, self.samples, self.ask.seed

    @property
    def layout(self) -> tuple[Any, ...]:
        """Jobs of the same key and layout may be laid out together."""
        ask = self.ask
        return ask.format, ask.level, ask.risk, ask.fields
