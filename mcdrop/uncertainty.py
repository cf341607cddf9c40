"""From passes to numbers: mean, spread, entropies, confidence, Monte Carlo error.

Knows arrays of samples and the definition of every number the library gives. Refuses to know
networks, tensors and files. `summarize_classes` and `summarize_outputs` are the definitions, on
all samples at once; `Sums` is the same thing in a form that can be streamed.

Streaming keeps *deviations from the deterministic answer* q instead of raw moments: with
d_t = p_t - q, k_t = KL(p_t || q) and T passes,

    mean = q + sum d / T                      variance = sum d^2 / T - (sum d / T)^2
    mutual information = sum k / T - KL(mean || q)

which stays accurate where passes hardly differ, and where outputs are large.

Monte Carlo errors come from sums over groups of consecutive passes. Entropies and mutual
information use the linear influence of each group. The mean's error starts from the formula for
independent passes, and is corrected by how much whole blocks of 32 passes (within which masks
are balanced) vary less than that, shrunk toward no correction while blocks are few: with one or
two blocks it is conservative. With one pass, its distance from the deterministic answer stands
in for the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import InputError

__all__ = [
    "Classification",
    "DeterministicClasses",
    "DeterministicOutputs",
    "Regression",
    "Sums",
    "entropy",
    "group_size",
    "summarize_classes",
    "summarize_outputs",
]

Array = NDArray[np.float64]

_BLOCK = 32  # passes over which masks are balanced
_PRIOR = 4.0  # blocks' worth of belief that balance does not help
_TINY = 1e-300


class _Rows:
    """Rows of arrays that can be cut and joined."""

    def rows(self, rows: slice) -> Self:
        """The same statistics for some rows only (views, not copies)."""
        return _map([self], lambda arrays: arrays[0][rows])

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join statistics of consecutive rows; ``parts`` holds at least one."""
        return _map(parts, np.concatenate)


def _map(parts: Sequence[Any], function: Any) -> Any:
    """Apply ``function`` to each array field of all ``parts``, nested fields included."""
    values = {}
    for field in fields(parts[0]):
        columns = [getattr(part, field.name) for part in parts]
        if isinstance(columns[0], np.ndarray):
            values[field.name] = function(columns)
        else:
            nested = isinstance(columns[0], _Rows)
            values[field.name] = _map(columns, function) if nested else columns[0]
    return type(parts[0])(**values)


@dataclass(frozen=True)
class DeterministicClasses(_Rows):
    """The network's answer without dropout: ``probabilities`` (B, C)."""

    probabilities: Array

    @property
    def prediction(self) -> NDArray[np.int64]:
        """The most probable class, (B,)."""
        return np.argmax(self.probabilities, axis=1)


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
        samples: T.
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

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def probabilities(self) -> Array:
        """The mean class probabilities, (B, C): the same array as ``mean``."""
        return self.mean

    @property
    def prediction(self) -> NDArray[np.int64]:
        """The class most probable on average, (B,)."""
        return np.argmax(self.mean, axis=1)

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Whether the answers with and without dropout coincide, (B,)."""
        return self.prediction == self.deterministic.prediction

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
        return np.maximum(1.0 - np.square(self.mean).sum(axis=1), 0.0)

    @property
    def epistemic_variance(self) -> Array:
        """Variance of the probabilities over passes, summed over classes, (B,)."""
        return np.square(self.std).sum(axis=1)

    @property
    def aleatoric_variance(self) -> Array:
        """Mean over passes of 1 - sum p_t^2, (B,)."""
        return np.maximum(self.total_variance - self.epistemic_variance, 0.0)

    @property
    def confidence(self) -> Array:
        """1 - total_variance / (1 - 1/C), (B,): 1 for a certain answer, 0 for the uniform one."""
        return np.clip(1.0 - self.total_variance / (1.0 - 1.0 / self.mean.shape[1]), 0.0, 1.0)


@dataclass(frozen=True)
class Regression(_Rows):
    """What T passes say about the outputs of B rows, in the target's own units.

    Attributes:
        mean: (B, C), mean over passes.
        epistemic: (B, C), variance over passes (correction 0).
        aleatoric: (B, C), variance of the noise, 1/tau.
        target_variance: (B, C), variance of the training target; 0 where it is not known.
        mc_error: (B, C), Monte Carlo standard error of ``mean``.
        deterministic: the answer without dropout.
        samples: T.
    """

    task: ClassVar[str] = "regression"

    mean: Array
    epistemic: Array
    aleatoric: Array
    target_variance: Array
    mc_error: Array
    deterministic: DeterministicOutputs
    samples: int

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
    return -(probabilities * np.log(np.maximum(probabilities, _TINY))).sum(axis=-1)


def group_size(samples: int) -> int:
    """Passes summed together for Monte Carlo errors: a power of two leaving 8 groups or more."""
    size = _BLOCK
    while size > 1 and samples < 8 * size:
        size //= 2
    return size


@dataclass(frozen=True)
class Sums:
    """Sums over some consecutive passes, relative to the deterministic answer q.

    Rows come last here, as the engine computes.

    Attributes:
        size: passes a group; group g holds the passes size * g to size * g + size - 1, counted
            from the first pass of these sums.
        samples: passes summed.
        deviation: (G, C, B), sums of d_t = p_t - q by group.
        square: (C, B), sum of d_t^2.
        divergence: (G, B), sums of KL(p_t || q) by group; zeros for a regression.
    """

    size: int
    samples: int
    deviation: Array
    square: Array
    divergence: Array

    @classmethod
    def zeros(cls, size: int, samples: int, shape: tuple[int, int]) -> "Sums":
        """Sums of passes that do not differ from the deterministic answer, (C, B)."""
        groups = -(-samples // size)
        square = np.zeros(shape)
        return cls(size, samples, np.zeros((groups, *shape)), square, np.zeros((groups, shape[1])))

    def then(self, later: "Sums", size: int) -> "Sums":
        """Add the passes that follow, in groups of ``size`` (a multiple of both)."""
        parts = [part.coarsened(size) for part in (self, later)]
        return Sums(
            size,
            self.samples + later.samples,
            np.concatenate([part.deviation for part in parts]),
            self.square + later.square,
            np.concatenate([part.divergence for part in parts]),
        )

    def coarsened(self, size: int) -> "Sums":
        """The same sums in groups of ``size`` passes, a multiple of the present one."""
        if size == self.size:
            return self
        starts = np.arange(0, len(self.deviation), size // self.size)
        deviation = np.add.reduceat(self.deviation, starts)
        divergence = np.add.reduceat(self.divergence, starts)
        return Sums(size, self.samples, deviation, self.square, divergence)

    def classification(self, reference: Array, log_reference: Array) -> Classification:
        """Finish sums of class probabilities around the deterministic ones.

        Args:
            reference: (C, B), the probabilities q that deviations were taken from.
            log_reference: (C, B), the logarithms that divergences were taken from: log q, or any
                other fixed numbers (of q floored, say), which cancel in the mutual information.
        """
        shift, variance = self._moments()
        mean = np.maximum(reference + shift, 0.0)
        mean /= mean.sum(axis=0)
        log_mean = np.log(np.maximum(mean, _TINY))
        ratio = log_mean - log_reference
        divergence = self.divergence.sum(axis=0) / self.samples
        information = np.maximum(divergence - (mean * ratio).sum(axis=0), 0.0)
        information[~self.square.any(axis=0)] = 0.0  # passes that all agree: exactly zero
        surprise = (self.deviation * log_mean).sum(axis=1)  # (G, B)
        by_group = self.divergence - (self.deviation * ratio).sum(axis=1)  # (G, B)
        return Classification(
            _rows(mean),
            _rows(np.sqrt(variance)),
            information,
            _rows(self._mean_error(shift, variance)),
            self._influence_error(surprise),
            self._influence_error(by_group),
            DeterministicClasses(_rows(reference / reference.sum(axis=0))),
            self.samples,
        )

    def regression(self, reference: Array, aleatoric: Array, target: Array) -> Regression:
        """Finish sums of outputs.

        Args:
            reference: (C, B), the outputs that deviations were taken from.
            aleatoric: variance of the noise, () or (C,).
            target: variance of the training target, likewise.
        """
        shift, variance = self._moments()
        mean = _rows(reference + shift)
        return Regression(
            mean,
            _rows(variance),
            np.broadcast_to(aleatoric, mean.shape).copy(),
            np.broadcast_to(target, mean.shape).copy(),
            _rows(self._mean_error(shift, variance)),
            DeterministicOutputs(_rows(reference)),
            self.samples,
        )

    def _moments(self) -> tuple[Array, Array]:
        shift = self.deviation.sum(axis=0) / self.samples  # (C, B)
        if self.samples == 1:
            return shift, np.zeros_like(shift)
        return shift, np.maximum(self.square / self.samples - shift * shift, 0.0)

    def _mean_error(self, shift: Array, variance: Array) -> Array:
        """Standard error of the mean, (C, B)."""
        if self.samples == 1:
            return np.abs(shift)
        independent = variance / (self.samples - 1)
        free = self.samples // _BLOCK - 1
        if free < 1:
            return np.sqrt(independent)
        # between blocks, summed over classes, as a share of what independent passes would give
        blocks = self.coarsened(_BLOCK).deviation[: free + 1] / _BLOCK
        between = np.square(blocks - blocks.mean(axis=0)).sum(axis=(0, 1)) / free  # (B,)
        ratio = between * _BLOCK / np.maximum(independent.sum(axis=0) * self.samples, _TINY)
        return np.sqrt(independent * ((free * ratio + _PRIOR) / (free + _PRIOR)))

    def _influence_error(self, influence: Array) -> Array:
        """Standard error of a mean over passes, from its sums by group (G, B)."""
        groups = len(influence)
        if groups == 1:
            return np.abs(influence[0]) / self.samples
        sizes = np.full((groups, 1), float(self.size))
        sizes[-1] = self.samples - self.size * (groups - 1)
        centered = influence - sizes * (influence.sum(axis=0) / self.samples)
        return np.sqrt(np.square(centered).sum(axis=0) * (groups / (groups - 1))) / self.samples


def _rows(array: Array) -> Array:
    """(C, B) to (B, C)."""
    return np.ascontiguousarray(array.T)


def summarize_classes(samples: Array, deterministic: Array) -> Classification:
    """Summarize class probabilities of all passes: the definition, without streaming.

    Args:
        samples: (T, B, C), probabilities of each pass.
        deterministic: (B, C), probabilities without dropout.
    """
    mean = samples.mean(axis=0)
    log = np.log(np.maximum(samples, _TINY))
    divergence = (samples * (log - np.log(np.maximum(mean, _TINY)))).sum(axis=2)  # (T, B)
    surprise = -(samples * np.log(np.maximum(mean, _TINY))).sum(axis=2)  # (T, B)
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
    if len(samples) == 1:
        return np.abs(samples[0] - reference)
    error: Array = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return error
