"""Scores of predicted means, variances and intervals against targets, in float64.

Arrays are (B,) or (B, C), all of one shape; scores are averages over every entry. Refuses to know
how the predictions came about.
"""

import numpy as np
import scipy  # its parts are imported when they are first used
from numpy.typing import NDArray

__all__ = [
    "crps_gaussian",
    "gaussian_nll",
    "interval_coverage",
    "interval_width",
    "mc_log_likelihood",
    "quantile_calibration_error",
    "rmse",
    "sharpness",
]

Floats = NDArray[np.float64]


def rmse(mean: Floats, targets: Floats) -> float:
    """Root mean squared error in the target's unit."""
    return float(np.sqrt(np.mean((mean - targets) ** 2)))


def gaussian_nll(mean: Floats, variance: Floats, targets: Floats) -> float:
    """Mean negative log-likelihood of N(mean, variance), in nats."""
    squared = (targets - mean) ** 2 / variance
    return float(np.mean(0.5 * (np.log(2 * np.pi * variance) + squared)))


def mc_log_likelihood(samples: Floats, targets: Floats, precision: float) -> float:
    """Mean log-likelihood of T passes' Gaussian mixture, in nats; larger is better.

    log mean_t N(y; f_t, 1/tau) (Gal & Ghahramani 2016, eq. 8). Biased low at small T: state T.

    Args:
        samples: outputs (T, ...) of the passes; any T >= 1.
        targets: truth (...), in the unit of ``samples``.
        precision: tau, one over the variance of the noise, above 0.
    """
    logs = scipy.special.logsumexp(-0.5 * precision * (samples - targets) ** 2, axis=0)
    return float(np.mean(logs - np.log(len(samples)) + 0.5 * np.log(precision / (2 * np.pi))))


def crps_gaussian(mean: Floats, variance: Floats, targets: Floats) -> float:
    """Mean continuous ranked probability score of N(mean, variance), in the target's unit.

    sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (y - mean) / sigma (Gneiting & Raftery
    2007, eq. 21, as a loss).
    """
    sigma = np.sqrt(variance)
    z = (targets - mean) / sigma
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    both = 2 * scipy.special.ndtr(z) - 1
    return float(np.mean(sigma * (z * both + 2 * density - 1 / np.sqrt(np.pi))))


def interval_coverage(lower: Floats, upper: Floats, targets: Floats) -> float:
    """Share of targets within [lower, upper]."""
    return float(np.mean((lower <= targets) & (targets <= upper)))


def interval_width(lower: Floats, upper: Floats) -> float:
    """Mean width of intervals, in the target's unit; infinite if one of them is."""
    return float(np.mean(upper - lower))


def sharpness(variance: Floats) -> float:
    """Root mean predicted variance, in the target's unit: smaller says more, if calibrated.

    Of forecasts that are calibrated the sharpest is the best (Gneiting, Balabdaoui & Raftery 2007).
    """
    return float(np.sqrt(np.mean(variance)))


def quantile_calibration_error(mean: Floats, variance: Floats, targets: Floats) -> float:
    """Mean over the quantile levels .01 to .99 of |share of targets below - level|.

    Each target's level under N(mean, variance) is uniform for a calibrated model (Kuleshov 2018,
    section 3.2; absolute instead of squared differences).
    """
    below = scipy.special.ndtr((targets - mean) / np.sqrt(variance)).ravel()
    levels = np.arange(1, 100) / 100
    shares = np.searchsorted(np.sort(below), levels, side="right") / below.size
    return float(np.mean(np.abs(shares - levels)))
