"""An ask that has been checked against its model: rows that the network takes, and by whom.

Knows which jobs may be evaluated together, and which may be laid out together. Refuses to know
how either is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.predictions import Predictions
from mcdrop.uncertainty import Classification, Regression
from mcdrop_service.ask import Ask

if TYPE_CHECKING:  # API processes import no PyTorch
    from mcdrop.predictor import Predictor

__all__ = ["Job", "Key", "Observer", "Statistics", "as_it_is"]

Statistics = Classification | Regression
Key = tuple["Predictor", int, int]


@dataclass(frozen=True)
class Job:
    """An ask that can be answered: encoded rows (B, D), and who is to answer them how.

    ``unknown``, (B, K), says which of a table's columns hold what training never met.
    """

    ask: Ask
    predictor: "Predictor"
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


Observer = Callable[[Sequence[Job], Predictions], None]
"""Told, in the worker, of jobs that are answered: their rows' answers, one job's after the
other's. It must be quick; what it raises is logged and goes no further."""


def as_it_is(job: Job) -> Job:
    """Answer what was asked."""
    return job
