"""Load a model once, answer many times: the one door of service, scoring and Python users.

Knows the way from raw rows to an answer: preprocessing, posterior, calibration. Refuses to know
HTTP and files of rows.
"""

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mcdrop.calibration import Reference
from mcdrop.card import Card
from mcdrop.errors import InputError
from mcdrop.held import Held
from mcdrop.posterior import Posterior
from mcdrop.predictions import Predictions, Samples
from mcdrop.recipe import SAMPLES_LIMIT
from mcdrop.repository import load_network, load_reference, locate, read_card
from mcdrop.uncertainty import Classification, Regression

__all__ = ["AUTO_LIMIT", "TOLERANCE", "Predictor", "Samples", "load"]

AUTO_LIMIT = 1000
"""Most passes of a row where samples are "auto"."""
TOLERANCE = 0.01
"""Monte Carlo error that is small enough where samples are "auto" and nothing else is said."""

_HELD = 512 << 20  # bytes of thinned networks
_LARGEST = 256 << 20  # of one posterior's; the engine keeps no more


class Predictor:
    """A trained model, ready to answer. Safe to share between threads.

    Attributes:
        card: what the model says of itself: classes, preprocessing, metrics and so on.
        network: the dropout network, in eval mode; never changed.
        reference: what it made of its calibration rows.
        folder: where it was loaded from, for other processes to load it too; None if from nowhere.

    Thinned networks are kept between calls, in ``held``, which predictors may share; one of its
    own has room for some hundred MB.
    """

    def __init__(
        self,
        card: Card,
        network: nn.Sequential,
        reference: Reference,
        folder: Path | None = None,
        held: Held[Posterior] | None = None,
    ) -> None:
        self.card = card
        self.network = network
        self.reference = reference
        self.folder = folder
        self._held = Held[Posterior](_HELD) if held is None else held

    def predict(
        self,
        rows: Any,
        samples: Samples = None,
        seed: int = 0,
        *,
        level: float | None = None,
        risk: float | None = None,
        tolerance: float | None = None,
        limit: int = AUTO_LIMIT,
    ) -> Predictions:
        """Answer for raw rows, in the unit the model was trained on.

        Args:
            rows: (B, D) or (B, *shape) numbers for a model of arrays; for a model of tables, a
                table with every column (a data frame, an Arrow table, a dictionary of columns), or
                records, of which any may lack some.
            samples: T, the stochastic passes; None takes the card's number. "auto": as many as
                each row needs, which the answer's ``passes`` tells; see `Posterior.until`.
                Sets, intervals and abstention keep their promises at the card's number; with a few
                passes they are broken more often.
            seed: draws the T thinned networks. The same seed gives the same answer.
            level: probability with which sets and intervals hold the truth; None: the recipe's.
            risk: classification: error rate among answered rows; None: the recipe's.
            tolerance: with "auto", greatest Monte Carlo error of a probability, or of a mean as a
                share of its std; None: .01.
            limit: with "auto", most passes a row takes.

        Returns:
            `mcdrop.predictions.ClassPredictions` or `ValuePredictions`: B answers, MC and
            deterministic.

        Raises:
            InputError: rows or another argument is not usable; the message says why.
        """
        inputs = self.card.preprocessing.inspect(rows)
        statistics = self.evaluate(inputs.x, samples, seed, tolerance=tolerance, limit=limit)
        return self.reference.apply(statistics, level, risk, unknown=inputs.unknown)

    def evaluate(
        self,
        x: NDArray[np.float32],
        samples: Samples = None,
        seed: int = 0,
        *,
        tolerance: float | None = None,
        limit: int = AUTO_LIMIT,
    ) -> Classification | Regression:
        """The passes' statistics for rows (B, D) that `card.preprocessing` has encoded already."""
        if samples == "auto":
            posterior = self._checked(limit, seed)
            return posterior.until(x, TOLERANCE if tolerance is None else tolerance)
        if tolerance is not None:
            raise InputError(f"tolerance {tolerance} needs samples 'auto', got {samples}")
        return self._checked(samples, seed).predict(x)

    def stream(
        self, x: NDArray[np.float32], samples: int | None = None, seed: int = 0
    ) -> Iterator[Classification | Regression]:
        """The statistics of the first 8, 16, 32, ... passes, and finally of all; as `evaluate`."""
        return self._checked(samples, seed).stream(x)

    def sample(
        self, x: NDArray[np.float32], samples: int | None = None, seed: int = 0
    ) -> NDArray[np.float64]:
        """Every pass: (T, B, C) probabilities, or outputs of a regression; as `evaluate`."""
        return self._checked(samples, seed).sample(x)

    @cached_property
    def weights(self) -> int:
        """How many weights the network has, biases included."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def _checked(self, samples: int | None, seed: int) -> Posterior:
        samples = self.card.samples if samples is None else samples
        if not 1 <= samples <= SAMPLES_LIMIT:
            raise InputError(f"samples is {samples}: give 1 to {SAMPLES_LIMIT} passes")
        if not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}: give 0 to 2**63 - 1")
        # A posterior keeps its thinned networks, of half the weights or more: up to 4 bytes each.
        size = min(4 * samples * self.weights, _LARGEST)
        make = partial(self._build_posterior, samples, seed)
        return self._held.get(self, (samples, seed), size, make)

    def _build_posterior(self, samples: int, seed: int) -> Posterior:
        card = self.card
        return Posterior(self.network, samples, seed, task=card.task, **card.calibration.options)


def load(path: Path | str, held: Held[Posterior] | None = None) -> Predictor:
    """The model at ``path``: ``models/<name>`` (latest version) or ``models/<name>/<version>``.

    Args:
        path: of the model or of the version.
        held: where thinned networks are kept; predictors may share it.

    Raises:
        RepositoryError: there is no such model, or its files are incomplete or altered.

    Example:
        >>> mcdrop.load("models/digits").predict(x, samples=100, seed=0).confidence
    """
    folder = locate(Path(path))
    card = read_card(folder)
    return Predictor(card, load_network(folder, card), load_reference(folder, card), folder, held)
