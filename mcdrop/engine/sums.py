"""Sums over passes, and the statistics they amount to.

Knows arithmetic in float64. Refuses to know tensors and where passes come from.

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

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcdrop.masks import BLOCK
from mcdrop.uncertainty import (
    TINY,
    Array,
    Classification,
    DeterministicClasses,
    DeterministicOutputs,
    Regression,
)

__all__ = ["PRIOR", "Sums", "group_size"]

PRIOR = 4.0  # blocks' worth of belief that balance does not help


def group_size(samples: int) -> int:
    """Passes summed together for Monte Carlo errors: a power of two leaving 8 groups or more."""
    size = BLOCK
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

    def rows(self, places: NDArray[np.int64]) -> "Sums":
        """The same sums for some rows only."""
        parts = (self.deviation, self.square, self.divergence)
        return Sums(self.size, self.samples, *(part[..., places] for part in parts))

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
        log_mean = np.log(np.maximum(mean, TINY))
        ratio = log_mean - log_reference
        information = self.divergence.sum(axis=0) / self.samples - (mean * ratio).sum(axis=0)
        # All passes agree: exactly zero then.
        agree = (self.square.sum(axis=0) == 0.0) | (self.samples == 1)
        information = np.where(agree, 0.0, np.maximum(information, 0.0))
        influence = np.empty((2, *self.divergence.shape))  # of total and of epistemic (2, G, B)
        influence[0] = (self.deviation * log_mean).sum(axis=1)
        influence[1] = self.divergence - (self.deviation * ratio).sum(axis=1)
        errors = self._influence_error(influence)
        return Classification(
            _rows(mean),
            _rows(np.sqrt(variance)),
            information,
            _rows(self._mean_error(shift, variance)),
            errors[0],
            errors[1],
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

    def heteroscedastic(self, reference: Array, target: Array) -> Regression:
        """Finish sums of means and variances of the noise, which follow the means.

        Args:
            reference: (2 C, B), the outputs that deviations were taken from.
            target: variance of the training target, () or (C,).
        """
        means = len(reference) // 2
        noise = reference[means:] + self.deviation[:, means:].sum(axis=0) / self.samples
        part = replace(self, deviation=self.deviation[:, :means], square=self.square[:means])
        answer = part.regression(reference[:means], np.zeros(()), target)
        return replace(answer, aleatoric=_rows(np.maximum(noise, 0.0)))

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
        free = self.samples // BLOCK - 1
        if free < 1:
            return np.sqrt(independent)
        # between blocks, summed over classes, as a share of what independent passes would give
        whole = self.deviation[: (free + 1) * BLOCK // self.size]
        whole = whole.reshape(free + 1, BLOCK // self.size, *shift.shape)
        blocks = whole.sum(axis=1)  # (blocks, C, B)
        blocks -= blocks.sum(axis=0) / (free + 1)
        between = np.square(blocks).sum(axis=(0, 1)) / (free * BLOCK)  # (B,)
        ratio = between / np.maximum(independent.sum(axis=0) * self.samples, TINY)
        error: Array = np.sqrt(independent * ((free * ratio + PRIOR) / (free + PRIOR)))
        return error

    def _influence_error(self, influence: Array) -> Array:
        """Standard errors of means over passes, (K, B), from their sums by group (K, G, B)."""
        groups = influence.shape[1]
        if groups == 1:
            return np.abs(influence[:, 0]) / self.samples
        sizes = np.full((groups, 1), float(self.size))
        sizes[-1] = self.samples - self.size * (groups - 1)
        mean = influence.sum(axis=1, keepdims=True) / self.samples
        squares = np.square(influence - sizes * mean).sum(axis=1)
        error: Array = np.sqrt(squares * (groups / (groups - 1))) / self.samples
        return error


def _rows(array: Array) -> Array:
    """(C, B) to (B, C)."""
    return np.ascontiguousarray(array.T)
