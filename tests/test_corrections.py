"""Corrections are recovered or refused."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from mcdrop import corrections
from mcdrop.corrections import fit_classes, fit_noise, fit_temperature, narrow
from tests.calibrated import C, T, classify


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_of_the_mean_is_recovered(temperature: float) -> None:
    passes, y = classify(0, 4000, temperature)
    fitted = fit_temperature(passes, y, passes.mean(0))
    assert fitted.temperature == pytest.approx(1 / temperature, rel=0.1)
    assert "held-out NLL" in fitted.note


def test_temperature_is_left_alone_where_it_does_not_help() -> None:
    left = 0
    for seed in range(20):
        passes, y = classify(seed, 200)
        fitted = fit_temperature(passes, y, passes.mean(0))
        left += fitted.temperature == 1.0
        assert (fitted.temperature == 1.0) == ("no gain" in fitted.note)
    assert 5 <= left <= 20  # a calibrated model: the fit is noise, and often refused


def spread_out(seed: int, noise: float) -> tuple[Callable[[float], np.ndarray], np.ndarray]:
    """Passes by spread, of a network that is right about its probabilities without dropout."""
    rng = np.random.default_rng(seed)
    logits, blur = 3 * rng.normal(size=(1, 2000, C)), rng.normal(size=(T, 2000, C))
    y = (softmax(logits[0], 1).cumsum(1) > rng.random((2000, 1))).argmax(1)
    return lambda spread: softmax(logits + noise * np.sqrt(spread) * blur, 2), y


def test_dropout_keeps_its_variance_where_the_mean_is_no_worse_for_it() -> None:
    sample, y = spread_out(0, noise=0.3)
    assert fit_classes(sample, y, sample(0)[0]).spread == 1


def test_dropout_loses_variance_that_no_temperature_can_make_up_for() -> None:
    sample, y = spread_out(0, noise=2.0)
    fixed = sample(0)[0]
    found = fit_classes(sample, y, fixed)
    assert found.spread < 1
    assert "of its variance" in found.notes[1]
    alone = fit_temperature(sample(1), y, fixed).nll
    assert fit_temperature(sample(found.spread), y, fixed).nll < alone - 0.01


def test_a_correction_that_does_not_suffice_is_confessed() -> None:
    sample, y = spread_out(0, noise=20.0)
    found = fit_classes(sample, y, sample(0)[0])
    assert found.spread == min(corrections.SPREADS)
    assert "worse calibrated than the deterministic one" in found.notes[-1]


@pytest.mark.filterwarnings("error")
def test_a_lone_row_proves_no_temperature() -> None:
    fitted = fit_temperature(
        np.array([[[0.6, 0.4]], [[0.2, 0.8]]]), np.zeros(1, int), np.full((1, 2), 0.5)
    )
    assert fitted.temperature == 1.0
    assert fitted.nll == pytest.approx(-np.log(0.4))


def test_temperature_survives_impossible_labels() -> None:
    passes = np.zeros((T, 6, 2))
    passes[..., 0] = 1
    fitted = fit_temperature(passes, np.array([0, 0, 0, 0, 0, 1]), passes[0])
    assert np.isfinite(fitted.temperature)


def test_a_calibrated_deterministic_answer_steadies_few_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """100 labels of logits half as large as they should be, 24 times."""
    errors: dict[int, list[float]] = {0: [], corrections.PRIOR_ROWS: []}
    for seed in range(24):
        passes, y = classify(seed, 100, temperature=2.0)
        truth = passes**2 / (passes**2).sum(2, keepdims=True)
        for rows, found in errors.items():
            monkeypatch.setattr(corrections, "PRIOR_ROWS", rows)
            fitted = fit_temperature(passes, y, truth.mean(0))
            found.append(np.log(fitted.temperature / 0.5))
    alone, together = (np.sqrt(np.mean(np.square(found))) for found in errors.values())
    assert together < 0.6 * alone


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
    noise = fit_noise(mean, np.full_like(mean, 1.0), y)
    assert noise[0] < 0.1
    assert narrow(noise, mean, y) == ()
    wide = fit_noise(mean, np.full_like(mean, 2.0), y)
    assert "lower network.dropout" in narrow(wide, mean, y)[0]


def test_perfect_fit_gives_a_positive_variance() -> None:
    y = np.arange(5.0)[:, None]
    assert fit_noise(y, np.zeros_like(y), y)[0] > 0
