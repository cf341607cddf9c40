"""What passes say about the class of each row."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mcdrop.uncertainty.rows import Array, Rows

__all__ = ["TINY", "Classification", "DeterministicClasses", "entropy"]

TINY = 1e-300  # what a probability of zero is replaced by inside a logarithm


@dataclass(frozen=True)
class DeterministicClasses(Rows):
    """The network's answer without dropout: ``probabilities`` (B, C)."""

    probabilities: Array

    @property
    def prediction(self) -> NDArray[np.int64]:
        """The most probable class, (B,)."""
        best: NDArray[np.int64] = np.argmax(self.probabilities, axis=1)
        return best


@dataclass(frozen=True)
class Classification(Rows):
    """What T passes say about the class of B rows; entropies in nats.

    Attributes:
        mean: (B, C), mean over passes of the class probabilities.
        std: (B, C), their standard deviation over passes (correction 0).
        epistemic: (B,), mutual information of prediction and weights: the mean over passes of
            KL(p_t || mean) (BALD; Houlsby et al. 2011, Depeweg et al. 2018).
        mc_error: (B, C), Monte Carlo standard error of ``mean``.
        mc_error_total: (B,), of ``total``.
        mc_error_epistemic: (B,), of ``epistemic``; near 0 for two passes, which are about as far
            from their mean as each other, and then says nothing.
        deterministic: the answer without dropout.
        samples: T; where rows took different numbers of passes, the largest.
        passes: (B,), passes that each row took; None where all took ``samples``.
    """

    task: ClassVar[str] = "classification"

    mean: Array
    std: Array
    epistemic: Array
    mc_error: Array
    mc_error_total: Array
    mc_error_epistemic: Array
    deterministic: DeterministicClasses
    samples: int
    passes: NDArray[np.int64] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def probabilities(self) -> Array:
        """The mean class probabilities, (B, C): the same array as ``mean``."""
        return self.mean

    @property
    def prediction(self) -> NDArray[np.int64]:
        """The class most probable on average, (B,)."""
        best: NDArray[np.int64] = np.argmax(self.mean, axis=1)
        return best

    def settled(self, tolerance: float) -> NDArray[np.bool_]:
        """Whether every probability's Monte Carlo error is within ``tolerance``, (B,)."""
        return np.asarray((self.mc_error <= tolerance).all(axis=1))

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Whether the answers with and without dropout coincide, (B,)."""
        agrees: NDArray[np.bool_] = self.prediction == self.deterministic.prediction
        return agrees

    @property
    def total(self) -> Array:
        """Entropy of the mean probabilities, (B,)."""
        return entropy(self.mean)

    @property
    def aleatoric(self) -> Array:
        """Mean over passes of the entropy, (B,): total - epistemic."""
        return np.maximum(self.total - self.epistemic, 0.0)

    @property
    def total_variance(self) -> Array:
        """Variance of the one-hot class summed over classes, (B,): 1 - sum mean^2 (Kwon 2020)."""
        variance: Array = np.maximum(1.0 - np.square(self.mean).sum(axis=1), 0.0)
        return variance

    @property
    def epistemic_variance(self) -> Array:
        """Variance of the probabilities over passes, summed over classes, (B,)."""
        variance: Array = np.square(self.std).sum(axis=1)
        return variance

    @property
    def aleatoric_variance(self) -> Array:
        """Mean over passes of 1 - sum p_t^2, (B,)."""
        return np.maximum(self.total_variance - self.epistemic_variance, 0.0)

    @property
    def confidence(self) -> Array:
        """1 - total_variance / (1 - 1/C), (B,): 1 for a certain answer, 0 for the uniform one."""
        share = self.total_variance / (1.0 - 1.0 / self.mean.shape[1])
        confidence: Array = np.maximum(1.0 - share, 0.0)
        return confidence


def entropy(probabilities: Array) -> Array:
    """Entropy over the last axis in nats, with 0 log 0 = 0."""
    information = probabilities * np.log(np.maximum(probabilities, TINY))
    total: Array = 0.0 - information.sum(axis=-1)  # no negative zero, which JSON would show
    return total
