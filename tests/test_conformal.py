"""Conformal sets and intervals: coverage at small n, ties, too few rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdrop.conformal import SetScore, class_scores, coverage_range, prediction_set, quantile
from mcdrop.errors import InputError


@pytest.mark.parametrize("n", [10, 20, 50])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_quantile_covers_at_small_n(n: int, level: float) -> None:
    """20,000 draws: the exact coverage is ceil((n+1) L) / (n+1); 5 standard errors, 6e-7."""
    rng = np.random.default_rng(n)
    scores, new = rng.normal(size=(20_000, n)), rng.normal(size=20_000)
    covered = np.mean([x <= quantile(s, level) for s, x in zip(scores, new, strict=True)])
    exact = np.ceil(round((n + 1) * level, 9)) / (n + 1)
    assert exact >= level
    assert abs(covered - exact) < 5 * np.sqrt(exact * (1 - exact) / 20_000)


def test_whole_ranks_are_not_rounded_up_by_floating_point() -> None:
    scores = np.arange(1.0, 10.0)
    assert quantile(scores, 0.9) == 9  # rank 10 * .9 = 9, the largest of nine
    assert quantile(np.arange(1.0, 100.0), 0.07) == 7
    assert quantile(np.arange(1.0, 100.0), 0.29) == 29


def test_too_few_rows_give_the_trivial_set() -> None:
    assert quantile(np.arange(8.0), 0.9) == np.inf
    assert quantile(np.empty(0), 0.5) == np.inf
    p = np.array([[0.7, 0.2, 0.1]])
    assert prediction_set(p, "lac", np.inf).all()


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, float("nan")])
def test_levels_are_probabilities(level: float) -> None:
    with pytest.raises(InputError, match="no probability"):
        quantile(np.arange(8.0), level)


def test_scores_of_a_known_row() -> None:
    p = np.array([[0.1, 0.6, 0.3]])
    np.testing.assert_allclose(class_scores(p, "lac"), [[0.9, 0.4, 0.7]])
    np.testing.assert_allclose(class_scores(p, "aps"), [[1.0, 0.6, 0.9]])
    many = np.full((1, 8), 0.125)
    extra = class_scores(many, "raps") - class_scores(many, "aps")
    np.testing.assert_allclose(np.sort(extra), [[0, 0, 0, 0, 0, 0.01, 0.02, 0.03]], atol=1e-12)


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
@pytest.mark.parametrize("n", [20, 50])
def test_sets_cover(score: str, n: int) -> None:
    """A model that is wrong about its probabilities still covers; 3,000 splits, 5 errors."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(3000):
        truth = rng.dirichlet(np.ones(4), n + 1)
        y = np.array([rng.choice(4, p=p) for p in truth])
        claimed = truth**3 / np.sum(truth**3, 1, keepdims=True)  # overconfident
        scores = class_scores(claimed, score)[np.arange(n + 1), y]
        limit = quantile(scores[:n], 0.9)
        hits += prediction_set(claimed[n:], score, limit)[0, y[n]]
    assert hits / 3000 > 0.9 - 5 * np.sqrt(0.09 / 3000)


@given(st.integers(0, 10_000), st.sampled_from(["lac", "aps", "raps"]))
def test_sets_grow_with_the_limit_and_hold_the_top_class(seed: int, score: str) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(5), 7)
    small, large = (prediction_set(p, score, limit) for limit in (0.3, 0.8))
    assert (small <= large).all()
    assert small[np.arange(7), p.argmax(1)].all()


def test_class_conditional_limits() -> None:
    p = np.array([[0.5, 0.3, 0.2]])
    assert prediction_set(p, "lac", np.array([0.0, 0.7, 0.7])).tolist() == [[True, True, False]]


def test_coverage_range_holds_as_often_as_it_says() -> None:
    """2,000 draws of 50 calibration and 80 new rows; the share inside is .95 or a little more."""
    rng = np.random.default_rng(0)
    low, high = coverage_range(50, 80, 0.9)
    inside = 0
    for _ in range(2000):
        limit = quantile(rng.normal(size=50), 0.9)
        inside += low <= np.mean(rng.normal(size=80) <= limit) <= high
    assert 0.94 < inside / 2000 < 0.99
    assert coverage_range(8, 100, 0.9) == (1, 1)


def test_levels_near_zero_take_the_smallest_score() -> None:
    assert quantile(np.arange(1.0, 6.0), 1e-12) == 1
    low, high = coverage_range(5, 100, 1e-12)
    assert 0 <= low <= high < 1


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_a_row_like_a_calibration_row_has_its_set_up_to_rounding(score: SetScore) -> None:
    p = np.array([[0.5, 0.3, 0.2]])
    rounded = p + np.array([[2e-9, -1e-9, -1e-9]])
    limit = class_scores(p, score)[0, 1]
    assert prediction_set(rounded, score, limit).tolist() == [[True, True, False]]
