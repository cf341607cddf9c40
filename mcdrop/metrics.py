"""Scores of predictions against truth.

Knows arrays of predictions and labels, in float64. Refuses to know networks and how the
predictions were made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.uncertainty import Classification, Regression

__all__ = ["accuracy", "brier", "ece", "gaussian_nll", "nll", "rmse", "summarize"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def accuracy(probabilities: Floats, labels: Ints) -> float:
    """Share of rows whose most probable class is the label; (B, C) and (B,)."""
    return float(np.mean(probabilities.argmax(-1) == labels))


def nll(probabilities: Floats, labels: Ints) -> float:
    """Mean negative log-likelihood in nats, -mean_b log p_b[y_b]; (B, C) and (B,).

    A label of probability zero counts as the smallest positive float64, 744 nats.
    """
    chosen = np.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0]  # (B,)
    return float(-np.mean(np.log(np.maximum(chosen, np.nextafter(0.0, 1.0)))))


def brier(probabilities: Floats, labels: Ints) -> float:
    """Brier score in [0, 2], mean_b sum_c (p_bc - [y_b = c])^2 (Brier 1950); (B, C) and (B,)."""
    truth = np.eye(probabilities.shape[-1])[labels]  # (B, C)
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=-1)))


def ece(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Expected calibration error of the top class over equal-width bins (Guo 2017, eq. 3).

    sum_m |B_m| / n * |accuracy(B_m) - mean confidence(B_m)|; (B, C) and (B,).
    """
    confidence = probabilities.max(-1)  # (B,)
    correct = probabilities.argmax(-1) == labels  # (B,)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def rmse(mean: Floats, targets: Floats) -> float:
    """Root mean squared error in the target's unit; arrays of one shape."""
    return float(np.sqrt(np.mean((mean - targets) ** 2)))


def gaussian_nll(mean: Floats, variance: Floats, targets: Floats) -> float:
    """Mean negative log-likelihood of N(mean, variance) in nats; arrays of one shape."""
    squared = (targets - mean) ** 2 / variance
    return float(np.mean(0.5 * (np.log(2 * np.pi * variance) + squared)))


def summarize(
    answer: Classification | Regression, truth: NDArray[Any]
) -> dict[str, dict[str, float]]:
    """Scores of both answers, ``deterministic`` and ``mc``, by name.

    Classification (truth: B labels): accuracy, nll, brier, ece. Regression (truth: (B, C)): rmse
    of both, and the Gaussian nll of the MC answer, averaged over rows and targets.
    """
    if isinstance(answer, Regression):
        return {
            "deterministic": {"rmse": rmse(answer.deterministic.mean, truth)},
            "mc": {
                "rmse": rmse(answer.mean, truth),
                "nll": gaussian_nll(answer.mean, answer.total, truth),
            },
        }
    scores = (accuracy, nll, brier, ece)
    return {
        "deterministic": {f.__name__: f(answer.deterministic.probabilities, truth) for f in scores},
        "mc": {f.__name__: f(answer.mean, truth) for f in scores},
    }
