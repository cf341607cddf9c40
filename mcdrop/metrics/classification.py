"""Scores of class probabilities (B, C) against labels (B,), in float64.

Knows proper scores and calibration errors. Refuses to know how the probabilities came about.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["accuracy", "brier", "brier_decomposition", "classwise_ece", "ece", "nll"]

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
    return float(0.0 - np.mean(np.log(np.maximum(chosen, np.nextafter(0.0, 1.0)))))


def brier(probabilities: Floats, labels: Ints) -> float:
    """Brier score in [0, 2], mean_b sum_c (p_bc - [y_b = c])^2 (Brier 1950); (B, C) and (B,)."""
    truth = np.eye(probabilities.shape[-1])[labels]  # (B, C)
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=-1)))


def brier_decomposition(probabilities: Floats, labels: Ints) -> tuple[float, float, float]:
    """Reliability, resolution and uncertainty, with brier = reliability - resolution + uncertainty.

    Rows are grouped by their exact forecast, so that the identity holds without a remainder
    (Murphy 1973, eq. 7, summed over classes); forecasts that are all different leave one row a
    group, so round them first to say something about a continuous forecaster.
    """
    truth = np.eye(probabilities.shape[-1])[labels]  # (B, C)
    forecasts, group = np.unique(probabilities, axis=0, return_inverse=True)
    group = group.reshape(-1)
    share = np.bincount(group) / len(labels)  # (G,)
    hits = np.zeros_like(forecasts)
    np.add.at(hits, group, truth)
    hits /= share[:, None] * len(labels)  # (G, C): frequencies where this forecast was given
    base = truth.mean(0)  # (C,)
    reliability = float(share @ np.sum((forecasts - hits) ** 2, axis=1))
    resolution = float(share @ np.sum((hits - base) ** 2, axis=1))
    return reliability, resolution, float(np.sum(base * (1 - base)))


def ece(
    probabilities: Floats,
    labels: Ints,
    bins: int = 15,
    scheme: Literal["width", "mass"] = "width",
) -> float:
    """Expected calibration error of the top class, in [0, 1] (Guo 2017, eq. 3).

    sum_m |B_m| / n * |accuracy(B_m) - mean probability(B_m)| over bins of equal width, or of
    equal mass (Nixon 2019), where equal probabilities always share a bin.
    """
    top, correct = probabilities.max(-1), probabilities.argmax(-1) == labels  # (B,)
    return _binned_gap(top, correct, bins, scheme)


def classwise_ece(
    probabilities: Floats,
    labels: Ints,
    bins: int = 15,
    scheme: Literal["width", "mass"] = "width",
) -> float:
    """Mean over classes of the calibration error of each class's probability (Kull 2019)."""
    classes = range(probabilities.shape[-1])
    gaps = [_binned_gap(probabilities[:, c], labels == c, bins, scheme) for c in classes]
    return float(np.mean(gaps))


def _binned_gap(forecast: Floats, event: NDArray[np.bool_], bins: int, scheme: str) -> float:
    if scheme == "width":
        which = np.clip(np.ceil(forecast * bins).astype(np.int64) - 1, 0, bins - 1)
    else:
        inner = np.quantile(forecast, np.arange(1, bins) / bins, method="inverted_cdf")
        which = np.searchsorted(inner, forecast)
    gaps = np.bincount(which, weights=event - forecast, minlength=bins)
    return float(np.abs(gaps).sum() / len(forecast))
