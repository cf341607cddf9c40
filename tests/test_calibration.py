"""Corrections are recovered or refused, and promises hold on rows to come."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import softmax

from mcdrop import calibration
from mcdrop.calibration import Calibration, Reference, fit_classes, fit_noise, fit_temperature
from mcdrop.errors import InputError
from mcdrop.recipe import CalibrationRecipe
from mcdrop.uncertainty import (
    Classification,
    Regression,
    summarize_classes,
    summarize_outputs,
)

T, C = 20, 4


def classify(seed: int, rows: int, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Passes (T, B, C) of a model whose logits are ``1 / temperature`` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(1, rows, C)) * 2 + rng.normal(size=(T, rows, C))
    truth = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    y = (truth.mean(0).cumsum(1) > rng.random((rows, 1))).argmax(1)
    claimed = np.exp(logits / temperature)
    return claimed / claimed.sum(2, keepdims=True), y


def answered(seed: int, rows: int) -> tuple[Classification, np.ndarray]:
    passes, y = classify(seed, rows)
    return summarize_classes(passes, passes.mean(0)), y


def measured(rows: int = 1000, **recipe: object) -> Reference:
    settings = CalibrationRecipe.model_validate(recipe)
    return Reference.measure(settings, *answered(1, rows), *answered(2, 1000))


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
    assert found.spread == min(calibration.SPREADS)
    assert "worse calibrated than the deterministic one" in found.notes[-1]


def test_temperature_survives_impossible_labels() -> None:
    passes = np.zeros((T, 6, 2))
    passes[..., 0] = 1
    fitted = fit_temperature(passes, np.array([0, 0, 0, 0, 0, 1]), passes[0])
    assert np.isfinite(fitted.temperature)


def test_a_calibrated_deterministic_answer_steadies_few_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """100 labels of logits half as large as they should be, 24 times."""
    errors: dict[int, list[float]] = {0: [], calibration.PRIOR_ROWS: []}
    for seed in range(24):
        passes, y = classify(seed, 100, temperature=2.0)
        truth = passes**2 / (passes**2).sum(2, keepdims=True)
        for rows, found in errors.items():
            monkeypatch.setattr(calibration, "PRIOR_ROWS", rows)
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
    assert fit_noise(mean, np.full_like(mean, 1.0), y)[0] < 0.1


def test_perfect_fit_gives_a_positive_variance() -> None:
    y = np.arange(5.0)[:, None]
    assert fit_noise(y, np.zeros_like(y), y)[0] > 0


def test_options_are_what_a_posterior_takes() -> None:
    assert Calibration(temperature=2).options == {"temperature": 2}
    options = Calibration(noise=(1.0,), target_variance=(4.0,)).options
    assert {k: v.tolist() for k, v in options.items()} == {
        "aleatoric": [1.0],
        "target_variance": [4.0],
    }


@pytest.mark.parametrize("sets", ["lac", "aps", "raps"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_sets_cover_rows_to_come(sets: str, level: float) -> None:
    new, y = answered(3, 5000)
    answer = measured(sets=sets).apply(new, level)
    covered = answer.prediction_set[np.arange(5000), y].mean()
    # 1,000 calibration and 5,000 new rows: standard error of the coverage below 1.4 % + 0.6 %.
    assert covered > level - 0.05
    assert answer.level == level
    if sets == "lac":
        assert covered < level + 0.05


def test_class_conditional_sets_cover_each_class() -> None:
    new, y = answered(3, 8000)
    inside = measured(4000, conditional=True).apply(new, 0.9).prediction_set
    for c in range(C):
        assert inside[y == c, c].mean() > 0.87


def test_novelty_is_the_share_of_calibration_rows_below() -> None:
    reference = measured()
    new, _ = answered(4, 3000)
    novelty = reference.apply(new).novelty
    expected = [(reference.epistemic < e).mean() for e in new.epistemic[:50]]
    np.testing.assert_allclose(novelty[:50], expected)
    assert 0.45 < novelty.mean() < 0.55


def test_answered_rows_stay_within_the_risk() -> None:
    reference = measured(2000)
    new, y = answered(5, 20_000)
    for risk in (0.1, 0.2):
        answer = reference.apply(new, risk=risk)
        given = ~answer.abstain
        assert given.any()
        assert (answer.prediction != y)[given].mean() < risk
        promise = reference.promise(risk)
        assert promise.answered == pytest.approx(given.mean(), abs=0.05)
        assert promise.bound is not None
        assert promise.bound <= risk


def test_without_proof_everything_abstains_and_the_promise_says_so() -> None:
    reference = measured(30)
    assert reference.apply(answered(6, 50)[0], risk=0.001).abstain.all()
    promise = reference.promise(0.001)
    assert (promise.threshold, promise.answered, promise.bound) == (None, 0.0, None)


def test_too_few_calibration_rows_warn_and_give_the_trivial_set() -> None:
    reference = measured(8)
    with pytest.warns(UserWarning, match="8 calibration rows are too few for level 0.95"):
        answer = reference.apply(answered(6, 5)[0], level=0.95)
    assert answer.prediction_set.all()


def regress(seed: int, rows: int) -> tuple[Regression, np.ndarray]:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.2, 2, size=(rows, 2))
    samples = rng.normal(size=(1, rows, 2)) + spread * rng.normal(size=(50, rows, 2))
    answer = summarize_outputs(samples, samples.mean(0), 0.01, 4.0)
    return answer, answer.mean + spread * rng.normal(size=(rows, 2))


@pytest.mark.parametrize("interval", ["normalized", "absolute"])
def test_intervals_cover_each_target(interval: str) -> None:
    settings = CalibrationRecipe.model_validate({"interval": interval})
    reference = Reference.measure(settings, *regress(1, 2000), *regress(2, 10))
    new, y = regress(3, 5000)
    answer = reference.apply(new, 0.9)
    covered = ((answer.lower <= y) & (y <= answer.upper)).mean(0)
    np.testing.assert_allclose(covered, 0.9, atol=0.03)
    width = (answer.upper - answer.lower)[:, 0]
    assert (np.ptp(width) > 0.1) == (interval == "normalized")
    assert answer.novelty.shape == (5000,)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r, a: r.apply(a, level=1.0), "level 1.0 is no probability"),
        (lambda r, a: r.apply(a, risk=0.0), "risk 0.0 is no probability"),
    ],
)
def test_levels_and_risks_are_probabilities(
    ask: Callable[[Reference, Classification], object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        ask(measured(50), answered(0, 3)[0])


def test_a_regression_has_no_risk() -> None:
    reference = Reference.measure(CalibrationRecipe(), *regress(1, 50), *regress(2, 10))
    with pytest.raises(InputError, match="no error rate"):
        reference.apply(regress(3, 4)[0], risk=0.1)


def test_calibrated_answers_can_be_cut_and_joined() -> None:
    answer = measured().apply(answered(3, 10)[0])
    parts = [answer.rows(slice(0, 4)), answer.rows(slice(4, 10))]
    joined = type(answer).concatenate(parts)
    assert np.array_equal(joined.prediction_set, answer.prediction_set)
    assert (len(joined), joined.level) == (10, answer.level)


def test_intervals_of_a_learned_variance_cover_though_it_is_wrong() -> None:
    """Noise of .2 to 2 that the network takes for half as much: widths follow it, scaled."""
    rng = np.random.default_rng(0)

    def case(rows: int) -> tuple[Regression, np.ndarray]:
        noise, mean = rng.uniform(0.2, 2, size=(rows, 1)), rng.normal(size=(rows, 1))
        answer = summarize_outputs(mean[None].repeat(3, 0), mean, (noise / 2) ** 2, 4.0)
        return answer, mean + noise * rng.normal(size=(rows, 1))

    reference = Reference.measure(CalibrationRecipe(), *case(2000), *case(10))
    new, y = case(8000)
    found = reference.apply(new, 0.9)
    inside = (found.lower <= y) & (y <= found.upper)  # type: ignore[union-attr]
    for part in (new.std < 0.3, new.std > 0.8):
        assert inside[part].mean() == pytest.approx(0.9, abs=0.03)
