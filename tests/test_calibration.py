"""Promises hold on rows to come."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcdrop.calibration import Calibration, Reference
from mcdrop.errors import InputError
from mcdrop.recipe import CalibrationRecipe
from mcdrop.uncertainty import (
    Classification,
    Regression,
    summarize_classes,
    summarize_outputs,
)
from tests.calibrated import C, classify


def answered(seed: int, rows: int) -> tuple[Classification, np.ndarray]:
    passes, y = classify(seed, rows)
    return summarize_classes(passes, passes.mean(0)), y


def measured(rows: int = 1000, **recipe: object) -> Reference:
    settings = CalibrationRecipe.model_validate(recipe)
    return Reference.measure(settings, *answered(1, rows), *answered(2, 1000))


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
    known = answered(1, 1000)[0].epistemic
    expected = [(known < e).mean() for e in new.epistemic[:50]]
    np.testing.assert_allclose(novelty[:50], expected, atol=0.005)
    assert 0.45 < novelty.mean() < 0.55


@pytest.mark.parametrize("off", [1 - 1e-7, 1 + 1e-7])
def test_a_row_that_comes_again_ties_with_itself_up_to_rounding(off: float) -> None:
    known, y = answered(1, 300)
    reference = Reference.measure(CalibrationRecipe(), known, y, known, y)
    again = reference.apply(replace(known, epistemic=known.epistemic * off)).novelty
    assert np.mean(again == reference.apply(known).novelty) > 0.99


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


@pytest.mark.parametrize("interval", ["normalized", "absolute"])
def test_intervals_cover_rows_that_repeat(interval: str) -> None:
    """Every row is one of 200 calibration rows, up to float32's rounding, and so is its truth."""
    settings = CalibrationRecipe.model_validate({"interval": interval})
    rng = np.random.default_rng(0)
    one, y = regress(1, 1)
    known = one.rows(np.zeros(200, np.int64))
    reference = Reference.measure(settings, known, y.repeat(200, 0), one, y)
    off = known.mean * (1 + 2.0**-24 * rng.uniform(-1, 1, size=known.mean.shape))
    found = reference.apply(replace(known, mean=off), 0.9)
    assert np.all((found.lower <= y) & (y <= found.upper))  # type: ignore[union-attr]


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
