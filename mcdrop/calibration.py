"""Corrections fitted on held-out rows, kept in the model's card.

Knows predictions and targets as arrays; today it corrects a regression by its noise variance
1/tau. Refuses to know files and networks.
"""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mcdrop.metrics import gaussian_nll
from mcdrop.uncertainty import Classification, Regression

__all__ = ["Calibration", "calibrate", "fit_noise"]

_GRID = np.logspace(-6, 1, 281)

Variance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Calibration(BaseModel):
    """What a posterior needs to know beside its network; nothing for a plain classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: tuple[Variance, ...] = Field((), description="regression: 1/tau of each target")
    target_variance: tuple[Variance, ...] = Field(
        (), description="regression: variance of each target among the training rows"
    )

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for `mcdrop.Posterior`."""
        if not self.noise:
            return {}
        return {
            "aleatoric": np.array(self.noise),
            "target_variance": np.array(self.target_variance),
        }


def calibrate(
    answer: Classification | Regression, truth: NDArray[Any], training_targets: NDArray[Any]
) -> Calibration:
    """Fit the corrections to uncorrected answers (B rows) and their truth, held out of training."""
    if isinstance(answer, Classification):
        return Calibration()
    return Calibration(
        noise=fit_noise(answer.mean, answer.epistemic, truth),
        target_variance=tuple(training_targets.var(0)),
    )


def fit_noise(
    mean: NDArray[np.float64], epistemic: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[float, ...]:
    """Noise variance 1/tau of each output, by held-out likelihood.

    Minimizes the mean NLL of N(mean, epistemic + 1/tau) over a log grid of seven decades around
    the residual's mean square, 40 values a decade (tau as in Gal & Ghahramani 2016, eq. 7).

    Args:
        mean: predictive means (B, C).
        epistemic: variances of the pass means (B, C).
        targets: truth (B, C), in the unit of ``mean``.

    Returns:
        C variances, in the target's unit squared.
    """
    noise = []
    for m, v, y in zip(mean.T, epistemic.T, targets.T, strict=True):
        scale = max(float(np.mean((y - m) ** 2)), np.finfo(np.float64).tiny)
        losses = [gaussian_nll(m, v + scale * factor, y) for factor in _GRID]
        noise.append(scale * float(_GRID[int(np.argmin(losses))]))
    return tuple(noise)
