"""Scores against closed forms and independent implementations."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from mcdrop import metrics


def random_case(seed: int, rows: int = 60, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), rows), rng.integers(0, classes, rows)


@given(st.integers(0, 10_000))
def test_nll_and_brier_agree_with_sklearn(seed: int) -> None:
    p, y = random_case(seed)
    assert metrics.nll(p, y) == pytest.approx(log_loss(y, p, labels=range(4)), rel=1e-12)
    binary = p[:, :2] / p[:, :2].sum(1, keepdims=True)
    truth = y % 2
    expected = 2 * brier_score_loss(truth, binary[:, 1])
    assert metrics.brier(binary, truth) == pytest.approx(expected, rel=1e-9)


def test_nll_of_an_impossible_label_is_finite() -> None:
    assert metrics.nll(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(744.44, abs=0.01)


def test_ece_of_perfect_and_of_overconfident_answers() -> None:
    assert metrics.ece(np.eye(3), np.arange(3)) == 0
    p = np.tile([0.9, 0.1], (10, 1))
    assert metrics.ece(p, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.4)


@given(st.integers(0, 10_000))
def test_ece_is_the_textbook_sum_and_ignores_row_order(seed: int) -> None:
    p, y = random_case(seed)
    top, right = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, 16)
    expected = sum(
        abs((right[inside] - top[inside]).sum()) / len(y)
        for low, high in pairwise(edges)
        if (inside := (top > low) & (top <= high)).any()
    )
    order = np.random.default_rng(seed).permutation(len(y))
    assert metrics.ece(p, y) == pytest.approx(expected, abs=1e-12)
    assert metrics.ece(p[order], y[order]) == pytest.approx(expected, abs=1e-12)


def test_gaussian_nll_is_the_density() -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    mean, y = rng.normal(size=(2, 30, 2))
    variance = rng.uniform(0.1, 2, size=(30, 2))
    expected = -norm.logpdf(y, mean, np.sqrt(variance)).mean()
    assert metrics.gaussian_nll(mean, variance, y) == pytest.approx(expected, rel=1e-12)
    assert metrics.rmse(mean, mean + 3) == pytest.approx(3)
