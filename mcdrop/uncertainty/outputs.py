"""What passes say about the numbers of each row."""

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import InputError
from mcdrop.uncertainty.rows import Array, Rows

__all__ = ["DeterministicOutputs", "Regression"]


@dataclass(frozen=True)
class DeterministicOutputs(Rows):
    """The network's answer without dropout: ``mean`` (B, C)."""

    mean: Array

    @property
    def prediction(self) -> Array:
        """The same outputs, (B, C)."""
        return self.mean


@dataclass(frozen=True)
class Regression(Rows):
    """What T passes say about the outputs of B rows, in the target's own units.

    Attributes:
        mean: (B, C), mean over passes.
        epistemic: (B, C), variance over passes (correction 0).
        aleatoric: (B, C), variance of the noise: 1/tau, or the mean of a learned variance.
        target_variance: (B, C), variance of the training target; 0 where it is not known.
        mc_error: (B, C), Monte Carlo standard error of ``mean``.
        deterministic: the answer without dropout.
        samples: T; where rows took different numbers of passes, the largest.
        passes: (B,), passes that each row took; None where all took ``samples``.
    """

    task: ClassVar[str] = "regression"

    mean: Array
    epistemic: Array
    aleatoric: Array
    target_variance: Array
    mc_error: Array
    deterministic: DeterministicOutputs
    samples: int
    passes: NDArray[np.int64] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def prediction(self) -> Array:
        """The mean over passes, (B, C)."""
        return self.mean

    @property
    def total(self) -> Array:
        """Variance of the prediction, epistemic + aleatoric, (B, C)."""
        return self.epistemic + self.aleatoric

    @property
    def std(self) -> Array:
        """Standard deviation of the prediction, sqrt(total), (B, C)."""
        return np.sqrt(self.total)

    @property
    def confidence(self) -> Array:
        """max(0, 1 - total / target_variance), (B, C); 0 where the latter is not known."""
        known = self.target_variance > 0
        ratio = self.total / np.where(known, self.target_variance, 1.0)
        return np.where(known, np.maximum(1.0 - ratio, 0.0), 0.0)

    def settled(self, tolerance: float) -> NDArray[np.bool_]:
        """Whether every mean's Monte Carlo error is within ``tolerance`` times its std, (B,)."""
        return np.asarray((self.mc_error <= tolerance * self.std).all(axis=1))

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Gaussian interval of the prediction, mean -+ z std.

        Args:
            level: probability inside, 0 < level < 1.

        Returns:
            Lower and upper ends, each (B, C).

        Raises:
            InputError: ``level`` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise InputError(f"level {level} is no probability: give one between 0 and 1, as 0.95")
        half = -NormalDist().inv_cdf((1.0 - level) / 2.0) * self.std
        return self.mean - half, self.mean + half
