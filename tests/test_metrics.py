"""Scores against closed forms and independent implementations."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from mcdrop import metrics
from mcdrop.uncertainty import summarize_outputs


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
    assert str(metrics.nll(np.array([[1.0, 0.0]]), np.array([0]))) == "0.0"  # not -0.0


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


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.integers(1, 40))
def test_mc_log_likelihood_is_the_log_of_the_mean_density(
    seed: int, precision: float, passes: int
) -> None:
    rng = np.random.default_rng(seed)
    samples, y = rng.normal(size=(passes, 7, 1)), rng.normal(size=(7, 1))
    densities = stats.norm.pdf(y.astype(np.longdouble), samples, precision**-0.5)
    logs = stats.norm.logpdf(y, samples, precision**-0.5)
    # Where every density underflows, the largest term stands for the sum, within log T.
    found = metrics.mc_log_likelihood(samples, y, precision)
    if densities.max(0).min() > 1e-250:
        assert found == pytest.approx(float(np.log(densities.mean(0)).mean()), rel=1e-9, abs=1e-9)
    top = logs.max(0).mean()
    assert top - np.log(passes) - 1e-9 <= found <= top + 1e-9


def test_mc_log_likelihood_of_one_sure_pass_is_the_gaussian_one() -> None:
    mean, y = np.array([1.0, -2.0]), np.array([1.5, 90.0])
    expected = -metrics.gaussian_nll(mean, np.full(2, 0.25), y)
    assert metrics.mc_log_likelihood(mean[None], y, 4.0) == pytest.approx(expected, rel=1e-12)


def test_gaussian_nll_is_the_density() -> None:
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    mean, y = rng.normal(size=(2, 30, 2))
    variance = rng.uniform(0.1, 2, size=(30, 2))
    expected = -norm.logpdf(y, mean, np.sqrt(variance)).mean()
    assert metrics.gaussian_nll(mean, variance, y) == pytest.approx(expected, rel=1e-12)
    assert metrics.rmse(mean, mean + 3) == pytest.approx(3)


@given(st.integers(0, 10_000))
def test_equal_mass_bins_hold_equal_shares_and_ties_stay_together(seed: int) -> None:
    p, y = random_case(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    tied = np.round(p, 1)
    tied /= tied.sum(1, keepdims=True)
    for forecast in (p, tied):
        value = metrics.ece(forecast, y, scheme="mass")
        assert 0 <= value <= 1
        assert metrics.ece(forecast[order], y[order], scheme="mass") == pytest.approx(value)
    one_bin = metrics.ece(p, y, bins=1, scheme="mass")
    assert one_bin == pytest.approx(abs(np.mean(p.max(1) - (p.argmax(1) == y))))


def test_classwise_ece_sees_what_the_top_class_hides() -> None:
    p = np.tile([0.6, 0.3, 0.1], (100, 1))
    y = np.array([0] * 60 + [1] * 10 + [2] * 30)
    assert metrics.ece(p, y) == pytest.approx(0, abs=1e-12)
    assert metrics.classwise_ece(p, y) == pytest.approx((0.0 + 0.2 + 0.2) / 3)


@given(st.integers(0, 10_000))
def test_brier_decomposition_adds_up(seed: int) -> None:
    p, y = random_case(seed, classes=3)
    p = np.round(p * 4) + 1
    p /= p.sum(1, keepdims=True)
    reliability, resolution, uncertainty = metrics.brier_decomposition(p, y)
    assert reliability - resolution + uncertainty == pytest.approx(metrics.brier(p, y))
    assert min(reliability, resolution, uncertainty) >= 0


def selective_case(seed: int, rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Confidences with many ties, and errors."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 8, rows) / 8, (rng.random(rows) < 0.3).astype(float)


@given(st.integers(0, 10_000))
def test_selective_scores_do_not_depend_on_row_order(seed: int) -> None:
    confidence, loss = selective_case(seed)
    order = np.random.default_rng(seed).permutation(len(loss))
    for score in (metrics.aurc, metrics.augrc):
        assert score(confidence, loss) == pytest.approx(score(confidence[order], loss[order]))
    for score in (metrics.auroc, metrics.aupr, metrics.fpr95):
        both = [score(-confidence[o], loss[o] > 0) for o in (np.arange(len(loss)), order)]
        np.testing.assert_allclose(*both)


@given(st.integers(0, 10_000))
def test_aurc_through_ties_is_the_mean_over_their_orders(seed: int) -> None:
    confidence, loss = selective_case(seed, rows=12)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(400):
        shuffled = rng.permutation(len(loss))
        order = shuffled[np.argsort(-confidence[shuffled], kind="stable")]
        values.append(np.mean(np.cumsum(loss[order]) / np.arange(1, len(loss) + 1)))
    error = np.std(values) / 20 + 1e-12
    assert abs(metrics.aurc(confidence, loss) - np.mean(values)) < 6 * error  # 1e-9 a case


@given(st.integers(0, 10_000))
def test_augrc_is_the_closed_form(seed: int) -> None:
    confidence, loss = selective_case(seed)
    if 0 < loss.sum() < len(loss):
        accuracy, area = 1 - loss.mean(), metrics.auroc(-confidence, loss > 0)
        expected = (1 - area) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
        assert metrics.augrc(confidence, loss) == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_auroc_is_sklearns_ties_included(seed: int) -> None:
    confidence, loss = selective_case(seed)
    if 0 < loss.sum() < len(loss):
        expected = roc_auc_score(loss > 0, confidence)
        assert metrics.auroc(confidence, loss > 0) == pytest.approx(expected, rel=1e-12)


def test_coverage_at_risk_keeps_ties_together() -> None:
    confidence = np.array([0.9, 0.9, 0.5, 0.5, 0.1])
    loss = np.array([0.0, 0.0, 0.0, 1.0, 1.0])
    assert metrics.coverage_at_risk(confidence, loss, 0.0) == 0.4
    assert metrics.coverage_at_risk(confidence, loss, 0.25) == 0.8
    assert metrics.coverage_at_risk(confidence, loss, 0.4) == 1.0
    assert metrics.coverage_at_risk(-confidence, loss, 0.3) == 0.0


def test_fpr95_of_a_known_case() -> None:
    score = np.concatenate([np.arange(100.0), np.arange(50.0, 150.0)])
    strange = np.arange(200) >= 100
    # 95 of 100 strange rows score 55 or more, as do 45 of the 100 known ones.
    assert metrics.fpr95(score, strange) == pytest.approx(0.45)
    assert np.isnan(metrics.auroc(score, np.zeros(200, bool)))


def test_crps_is_the_integral_of_its_definition() -> None:
    from scipy.stats import norm

    mean, sigma, y = 0.3, 1.7, -1.1
    grid = np.linspace(-20, 20, 400_001)
    squared = (norm.cdf(grid, mean, sigma) - (grid >= y)) ** 2
    expected = np.trapezoid(squared, grid)
    value = metrics.crps_gaussian(np.array([mean]), np.array([sigma**2]), np.array([y]))
    assert value == pytest.approx(expected, rel=1e-4)


def test_quantile_calibration_of_right_and_of_overconfident_models() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=20_000)
    zeros, ones = np.zeros_like(y), np.ones_like(y)
    assert metrics.quantile_calibration_error(zeros, ones, y) < 0.005
    assert metrics.quantile_calibration_error(zeros, 0.1 * ones, y) > 0.1
    assert metrics.interval_coverage(-1.96 * ones, 1.96 * ones, y) == pytest.approx(0.95, abs=0.008)


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        x = rng.exponential(size=80)
        low, high = metrics.bootstrap_interval(np.mean, x, level=0.9, resamples=300, seed=seed)
        covered += low <= 1 <= high
    # The percentile interval covers about .88 at n = 80 of this skewed law; .78 to .97 is four
    # binomial standard errors either way.
    assert 0.78 <= covered / 200 <= 0.97


def test_bootstrap_interval_of_a_calibration_error_is_not_shifted_by_resampling() -> None:
    """Resampled calibration errors of a calibrated model are larger than its own."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 2000)
    y = (p.cumsum(1) > rng.random((2000, 1))).argmax(1)
    value = metrics.ece(p, y)
    low, high = metrics.bootstrap_interval(metrics.ece, p, y, resamples=300)
    assert low <= value <= high
    assert high < 2.5 * value


@pytest.mark.parametrize(("sharper", "true"), [(1.0, 0.001), (3.0, 0.161)])
@pytest.mark.parametrize("score", [metrics.ece, partial(metrics.ece, scheme="mass")])
def test_intervals_of_calibration_errors_hold_the_true_one(
    score: Callable[..., float], sharper: float, true: float
) -> None:
    """Of 30 sets of 300 rows, of a calibrated model and of one three times too sure.

    The true errors are those of a million rows. The model's own error of 300 rows is .056 where
    the true one is .001. Less than 22 of 30 is five standard errors below .95, three below .88.
    """
    rng, held = np.random.default_rng(0), 0
    for _ in range(30):
        logits = 2 * rng.normal(size=(300, 3))
        p, claimed = (
            np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (logits, sharper * logits)
        )
        y = (p.cumsum(1) > rng.random((300, 1))).argmax(1)
        found = metrics.estimate(score, claimed, y)
        held += found.low <= true <= found.high
    assert held >= 22


def test_estimates_carry_interval_and_rows() -> None:
    flags = np.arange(50) < 10
    found = metrics.share(flags)
    assert (found.value, found.n) == (0.2, 50)
    assert (found.low, found.high) == metrics.binomial_interval(10, 50)
    assert stats.binom.sf(9, 50, found.low) == pytest.approx(0.025)
    assert stats.binom.cdf(10, 50, found.high) == pytest.approx(0.025)
    assert np.isnan(metrics.share(np.zeros(0, bool)).value)
    one = metrics.estimate(np.mean, np.array([1.0, 2.0, 3.0]))
    assert (one.value, one.n) == (2.0, 3)
    assert one.low < 2 < one.high
    nothing = metrics.estimate(metrics.auroc, np.arange(3.0), np.zeros(3, bool))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_width_and_sharpness_are_in_the_targets_unit() -> None:
    lower, variance = np.array([[0.0], [1.0]]), np.array([[4.0], [16.0]])
    assert metrics.interval_width(lower, lower + np.array([[1.0], [3.0]])) == 2
    assert metrics.interval_width(lower, np.array([[1.0], [np.inf]])) == np.inf
    assert metrics.sharpness(variance) == pytest.approx(np.sqrt(10), rel=1e-15)
    assert metrics.sharpness(25 * variance) == pytest.approx(5 * np.sqrt(10), rel=1e-15)


def test_several_targets_have_an_error_each_in_their_own_unit() -> None:
    truth = np.zeros((40, 2))
    samples = np.broadcast_to([3.0, 4000.0], (5, 40, 2))
    answer = summarize_outputs(samples, samples[0], aleatoric=1.0)
    for scores in metrics.summarize(answer, truth, ("mass", "price")).values():
        errors = {name: score.value for name, score in scores.items() if "rmse" in name}
        assert errors == pytest.approx({"rmse_mass": 3, "rmse_price": 4000})
    assert "rmse" in metrics.summarize(answer, truth)["mc"]
