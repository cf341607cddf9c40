"""Abstention: the promised risk holds as often as promised, and is not paid for with silence."""

import numpy as np
import pytest

from mcdrop.abstention import clopper_pearson, threshold


def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and errors whose true rate at confidence c is (1 - c) / 2."""
    confidence = rng.random(rows)
    return confidence, rng.random(rows) < (1 - confidence) / 2


def true_risk(limit: float) -> float:
    return (1 - limit) / 4  # mean of (1 - c) / 2 over c >= limit


def test_the_promise_is_broken_at_most_as_often_as_said() -> None:
    """delta = .1 over 1,000 draws of 2,000 rows: at most .1 plus 4.5 standard errors (3e-6)."""
    rng = np.random.default_rng(0)
    broken, answered = 0, []
    for _ in range(1000):
        limit = threshold(*draw(rng, 2000), pilot=draw(rng, 2000), risk=0.1, delta=0.1)
        broken += np.isfinite(limit) and true_risk(limit) > 0.1
        answered.append(max(0.0, 1 - limit))
    assert broken / 1000 < 0.1 + 4.5 * np.sqrt(0.09 / 1000)
    # The best threshold, .6, answers .40; the bound costs about a fifth of that.
    assert 0.25 < np.mean(answered) < 0.40


def test_no_row_slips_past_a_threshold_by_rounding() -> None:
    """Rows of two kinds, of which the second errs too often, as the pilot did not show."""
    confidence = np.repeat([0.9, 0.6], 300)
    errors = np.concatenate([np.zeros(300, bool), np.arange(300) % 3 == 0])
    for off in (-1e-9, 1e-9):
        limit = threshold(confidence + off, errors, (confidence, np.zeros(600, bool)), 0.05)
        assert limit > 0.6 + 1e-9


def test_no_threshold_means_everything_abstains() -> None:
    rng = np.random.default_rng(1)
    confidence, pilot = rng.random(300), draw(rng, 300)
    assert threshold(confidence, np.ones(300, bool), pilot, 0.05) == np.inf
    few = threshold(confidence[:20], np.zeros(20, bool), pilot, 0.02)
    assert few == np.inf  # 20 rows without an error prove no rate below 11 %


def test_without_errors_everything_is_answered() -> None:
    rows = np.linspace(0, 1, 400), np.zeros(400, bool)
    assert threshold(*rows, rows, 0.02) == 0


@pytest.mark.parametrize(("errors", "rows"), [(0, 100), (3, 50), (10, 10), (0, 0)])
def test_clopper_pearson_is_the_exact_bound(errors: int, rows: int) -> None:
    from scipy.stats import binom

    bound = clopper_pearson(errors, rows, 0.05)
    if errors < rows:
        assert binom.cdf(errors, rows, bound) == pytest.approx(0.05)
    else:
        assert bound == 1
