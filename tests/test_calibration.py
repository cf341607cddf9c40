"""The noise variance of a regression is recovered from held-out residuals."""

import numpy as np

from mcdrop.calibration import Calibration, fit_noise


def test_noise_is_recovered_within_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    n, noise = 20_000, np.array([0.25, 9.0])
    mean = rng.normal(size=(n, 2))
    epistemic = rng.uniform(0, 0.2, size=(n, 2)) * noise
    y = mean + rng.normal(size=(n, 2)) * np.sqrt(noise + epistemic)
    fitted = np.array(fit_noise(mean, epistemic, y))
    # Standard error of a fitted variance: sqrt(2 / n) = 1 %, plus a grid of 6 % steps.
    np.testing.assert_allclose(fitted, noise, rtol=0.05 + 0.03)


def test_noise_does_not_count_the_epistemic_part_twice() -> None:
    rng = np.random.default_rng(1)
    mean = np.zeros((5000, 1))
    y = rng.normal(size=(5000, 1))
    assert fit_noise(mean, np.full_like(mean, 1.0), y)[0] < 0.1


def test_perfect_fit_gives_a_positive_variance() -> None:
    y = np.arange(5.0)[:, None]
    assert fit_noise(y, np.zeros_like(y), y)[0] > 0


def test_options_are_empty_for_a_classifier() -> None:
    assert Calibration().options == {}
