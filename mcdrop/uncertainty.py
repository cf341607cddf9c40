"""From passes to numbers: mean, spread, entropies, confidence, Monte Carlo error.

Knows arrays of samples and the definition of every number the library gives. Refuses to know
networks, tensors and files. `summarize_classes` and `summarize_outputs` are the definitions, on
all samples at once; the engine arrives at the same numbers by streaming.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import InputError

__all__ = [
    "TINY",
    "Array",
    "Classification",
    "DeterministicClasses",
    "DeterministicOutputs",
    "Regression",
    "entropy",
    "summarize_classes",
    "summarize_outputs",
]

Array = NDArray[np.float64]

TINY = 1e-300  # what a probability of zero is replaced by inside a logarithm


class _Rows:
    """Rows of arrays that can be cut and joined."""

    def rows(self, rows: slice | NDArray[np.int64]) -> Self:
        """The same statistics for some rows only, by a slice (views) or by places (copies)."""
        cut: Self = _map([self], lambda arrays: arrays[0][rows])
        return cut

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join statistics of consecutive rows; ``parts`` holds at least one."""
        joined: Self = _map(parts, np.concatenate)
        return joined


def _map(parts: Sequence[Any], function: Any) -> Any:
    """Apply ``function`` to each array field of all ``parts``, nested fields included."""
    values = {}
    for name in (each.name for each in fields(parts[0])):
        columns = [getattr(part, name) for part in parts]
        if isinstance(columns[0], np.ndarray):
            values[name] = function(columns)
        else:
            nested = isinstance(columns[0], _Rows)
            values[name] = _map(columns, function) if nested else columns[0]
    return type(parts[0])(**values)


@dataclass(frozen=True)
class DeterministicClasses(_Rows):
    """The network's answer without dropout: ``probabilities`` (B, C)."""

    probabilities: Array

    @property
    def prediction(self) -> NDArray[np.int64]:
        """The most probable class, (B,)."""
        best: NDArray[np.int64] = np.argmax(self.probabilities, axis=1)
        return best


@dataclass(frozen=True)
class DeterministicOutputs(_Rows):
    """The network's answer without dropout: ``mean`` (B, C)."""

    mean: Array

    @property
    def prediction(self) -> Array:
        """The same outputs, (B, C)."""
        return self.mean


@dataclass(frozen=True)
class Classification(_Rows):
    """What T passes say about the class of B rows; entropies in nats.

    Attributes:
        mean: (B, C), mean over passes of the class probabilities.
        std: (B, C), their standard deviation over passes (correction 0).
        epistemic: (B,), mutual information of prediction and weights: the mean over passes of
            KL(p_t || mean) (BALD; Houlsby et al. 2011, Depeweg et al. 2018).
        mc_error: (B, C), Monte Carlo standard error of ``mean``.
        mc_error_total: (B,), of ``total``.
        mc_error_epistemic: (B,), of ``epistemic``.
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


@dataclass(frozen=True)
class Regression(_Rows):
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
        half = NormalDist().inv_cdf(0.5 + level / 2.0) * self.std
        return self.mean - half, self.mean + half


def entropy(probabilities: Array) -> Array:
    """Entropy over the last axis in nats, with 0 log 0 = 0."""
    information = probabilities * np.log(np.maximum(probabilities, TINY))
    total: Array = 0.0 - information.sum(axis=-1)  # no negative zero, which JSON would show
    return total


def summarize_classes(samples: Array, deterministic: Array) -> Classification:
    """Summarize class probabilities of all passes: the definition, without streaming.

    Args:
        samples: (T, B, C), probabilities of each pass.
        deterministic: (B, C), probabilities without dropout.
    """
    mean = samples.mean(axis=0)
    log = np.log(np.maximum(samples, TINY))
    divergence = (samples * (log - np.log(np.maximum(mean, TINY)))).sum(axis=2)  # (T, B)
    surprise = -(samples * np.log(np.maximum(mean, TINY))).sum(axis=2)  # (T, B)
    return Classification(
        mean,
        samples.std(axis=0),
        divergence.mean(axis=0),
        _spread(samples, deterministic),
        _spread(surprise, entropy(deterministic)),
        _spread(divergence, 0.0),
        DeterministicClasses(deterministic),
        len(samples),
    )


def summarize_outputs(
    samples: Array, deterministic: Array, aleatoric: float = 0.0, target_variance: float = 0.0
) -> Regression:
    """Summarize outputs of all passes: the definition, without streaming.

    Args:
        samples: (T, B, C), outputs of each pass.
        deterministic: (B, C), outputs without dropout.
        aleatoric: variance of the noise.
        target_variance: variance of the training target, 0 if it is not known.
    """
    mean = samples.mean(axis=0)
    return Regression(
        mean,
        samples.var(axis=0),
        np.full_like(mean, aleatoric),
        np.full_like(mean, target_variance),
        _spread(samples, deterministic),
        DeterministicOutputs(deterministic),
        len(samples),
    )


def _spread(samples: Array, reference: Array | float) -> Array:
    """Standard error of the mean over independent passes, as documented for one pass."""
    error: Array
    if len(samples) == 1:
        error = np.abs(samples[0] - reference)
    else:
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return error
