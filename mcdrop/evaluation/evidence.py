"""Everything the model says of the rows it is evaluated on, asked once.

Knows the three answers that a report compares: without dropout, from plain passes, and as served.
Refuses to know scores, pictures and files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcdrop.evaluation.rows import Rows
from mcdrop.network import with_spread
from mcdrop.posterior import Posterior
from mcdrop.predictions import Predictions
from mcdrop.predictor import Predictor
from mcdrop.uncertainty import Classification, Regression

__all__ = ["Evidence", "gather"]


@dataclass(frozen=True)
class Evidence:
    """A model's answers to labeled rows, and perhaps to strange ones.

    Attributes:
        predictor: the model.
        rows: with truth.
        x: the same rows encoded, (B, D).
        plain: the passes' statistics without any correction.
        served: the calibrated answer; ``served.deterministic`` is the one without dropout.
        strange: rows out of distribution, or None.
        strange_x: encoded, or None.
        strange_served: the calibrated answer to them, or None.
        seed: of the passes.
    """

    predictor: Predictor
    rows: Rows
    x: NDArray[np.float32]
    plain: Classification | Regression
    served: Predictions
    strange: Rows | None
    strange_x: NDArray[np.float32] | None
    strange_served: Predictions | None
    seed: int

    @property
    def samples(self) -> int:
        """T of all answers."""
        return self.served.samples

    def __len__(self) -> int:
        return len(self.rows)


def gather(
    predictor: Predictor, rows: Rows, strange: Rows | None, samples: int | None, seed: int
) -> Evidence:
    """Ask the model about all rows.

    Raises:
        InputError: rows do not fit the model, or samples or seed is out of bounds.
    """
    inspect, apply = predictor.card.preprocessing.inspect, predictor.reference.apply
    known = inspect(rows.raw)
    served = apply(predictor.evaluate(known.x, samples, seed), unknown=known.unknown)
    strange_x = strange_served = None
    if strange is not None:
        other = inspect(strange.raw)
        strange_x = other.x
        statistics = predictor.evaluate(strange_x, samples, seed)
        strange_served = apply(statistics, unknown=other.unknown)
    return Evidence(
        predictor,
        rows,
        known.x,
        _uncorrected(predictor, served.samples, seed).predict(known.x),
        served,
        strange,
        strange_x,
        strange_served,
        seed,
    )


def _uncorrected(predictor: Predictor, samples: int, seed: int) -> Posterior:
    """The posterior of the recipe's own dropout rates, without temperature."""
    card = predictor.card
    network = with_spread(predictor.network, 1 / card.calibration.spread)
    options = {**card.calibration.options, **({"temperature": 1.0} if card.classes else {})}
    return Posterior(network, samples, seed, task=card.task, **options)
