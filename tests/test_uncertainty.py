"""Statistics: streamed sums against the definitions, identities, extremes, Monte Carlo errors."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcdrop.engine import Sums, group_size
from mcdrop.errors import InputError
from mcdrop.uncertainty import (
    Classification,
    Regression,
    entropy,
    summarize_classes,
    summarize_outputs,
)


def log_softmax(outputs):
    top = outputs.max(axis=-1, keepdims=True)
    return outputs - top - np.log(np.exp(outputs - top).sum(axis=-1, keepdims=True))


def class_sums(outputs, center, size):
    """Sums of a classification, straight from their definition, in float64."""
    log, log_center = log_softmax(outputs), np.maximum(log_softmax(center), -30.0)
    p = np.exp(log)
    starts = np.arange(0, len(outputs), size)
    deviation = p - np.exp(log_softmax(center))
    return (
        Sums(
            size,
            len(outputs),
            np.add.reduceat(deviation, starts).swapaxes(1, 2),
            np.square(deviation).sum(axis=0).T,
            np.add.reduceat((p * (log - log_center)).sum(axis=2), starts),
        ),
        np.exp(log_softmax(center)).T,
        log_center.T,
    )


def output_sums(outputs, center, size):
    starts = np.arange(0, len(outputs), size)
    deviation = outputs - center
    return Sums(
        size,
        len(outputs),
        np.add.reduceat(deviation, starts).swapaxes(1, 2),
        np.square(deviation).sum(axis=0).T,
        np.zeros((len(starts), len(center))),
    )


@settings(max_examples=60)
@given(
    samples=st.integers(1, 70),
    batch=st.integers(0, 4),
    classes=st.integers(2, 5),
    scale=st.sampled_from([1e-4, 1.0, 5.0, 100.0]),
    seed=st.integers(0, 1000),
)
def test_streamed_classes_match_the_definition(samples, batch, classes, scale, seed):
    rng = np.random.default_rng(seed)
    center = rng.normal(size=(batch, classes)) * 3
    outputs = center + rng.normal(size=(samples, batch, classes)) * scale
    sums, reference, log_reference = class_sums(outputs, center, group_size(samples))
    got = sums.classification(reference, log_reference)
    want = summarize_classes(np.exp(log_softmax(outputs)), reference.T)
    for name in ("mean", "epistemic", "total", "aleatoric", "total_variance", "confidence"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-7, atol=1e-12)
    # squares around q lose sqrt(eps) of its distance from passes that agree with each other
    np.testing.assert_allclose(got.std, want.std, rtol=1e-5, atol=1e-7)
    assert got.samples == want.samples == samples
    assert len(got) == batch


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 1000))
def test_sums_add_up(first, second, seed):
    rng = np.random.default_rng(seed)
    first = first * 8  # parts join between groups
    outputs, center = rng.normal(size=(first + second, 3, 2)), rng.normal(size=(3, 2))
    size = group_size(first + second)
    if first % size:
        first = first // size * size or size
        outputs = outputs[: first + second]
    parts = output_sums(outputs[:first], center, 1), output_sums(outputs[first:], center, 1)
    whole, joined = output_sums(outputs, center, size), parts[0].then(parts[1], size)
    assert joined.samples == whole.samples
    np.testing.assert_allclose(joined.deviation, whole.deviation, atol=1e-12)
    np.testing.assert_allclose(joined.square, whole.square, rtol=1e-12)


def test_large_outputs_keep_their_variance():
    rng = np.random.default_rng(0)
    outputs = 1e4 + rng.normal(size=(100, 50, 1)).astype(np.float32)
    sums = output_sums(outputs.astype(np.float64), np.full((50, 1), 1e4), 8)
    got = sums.regression(np.full((1, 50), 1e4), np.array(0.25), np.array(4.0))
    want = summarize_outputs(outputs.astype(np.float64), got.deterministic.mean, 0.25, 4.0)
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-12)
    np.testing.assert_allclose(got.epistemic, want.epistemic, rtol=1e-9)
    np.testing.assert_allclose(got.std, np.sqrt(want.epistemic + 0.25), rtol=1e-9)
    np.testing.assert_allclose(got.confidence, 1 - (want.epistemic + 0.25) / 4, rtol=1e-9)


@pytest.mark.parametrize("top", [200.0, 1e4])
def test_extreme_logits_stay_finite_and_right(top):
    outputs = np.array([[[top, 0.0]], [[0.0, top]]] * 8)  # passes that contradict each other
    sums, reference, log_reference = class_sums(outputs, np.array([[top, 0.0]]), 2)
    got = sums.classification(reference, log_reference)
    for field in dataclasses.fields(got):
        value = getattr(got, field.name)
        if isinstance(value, np.ndarray):
            assert np.isfinite(value).all(), field.name
    np.testing.assert_allclose(got.mean, [[0.5, 0.5]])
    np.testing.assert_allclose(got.epistemic, [np.log(2)], rtol=1e-9)
    np.testing.assert_allclose(got.aleatoric, [0.0], atol=1e-9)
    certain, q, log_q = class_sums(outputs[::2], np.array([[top, 0.0]]), 1)
    same = certain.classification(q, log_q)
    assert same.confidence == 1.0
    assert same.epistemic == 0.0
    np.testing.assert_allclose(same.total, 0.0, atol=1e-80)


def test_mutual_information_is_accurate_near_zero():
    rng = np.random.default_rng(1)
    center = np.array([[1.0, 0.0, -2.0]])
    delta = rng.normal(size=(100, 1, 3)) * 1e-5
    sums, q, log_q = class_sums(center + delta, center, 8)
    p = q[:, 0]
    fisher = np.diag(p) - np.outer(p, p)
    exact = 0.5 * np.trace(np.cov(delta[:, 0].T, ddof=0) @ fisher)  # second order, exact here
    np.testing.assert_allclose(sums.classification(q, log_q).epistemic, [exact], rtol=1e-3)


def test_known_values():
    sure = summarize_classes(np.tile([[1.0, 0.0]], (5, 1, 1)), np.array([[1.0, 0.0]]))
    unsure = summarize_classes(np.full((5, 1, 4), 0.25), np.full((1, 4), 0.25))
    assert sure.confidence == 1.0
    assert sure.total == 0.0
    assert unsure.confidence == 0.0
    np.testing.assert_allclose(unsure.total, np.log(4))
    np.testing.assert_allclose(unsure.aleatoric_variance, 0.75)
    np.testing.assert_allclose(entropy(np.array([0.5, 0.5, 0.0])), np.log(2))
    assert sure.prediction.tolist() == [0]
    assert sure.agrees.tolist() == [True]


def test_interval_covers_its_level():
    stats = summarize_outputs(np.zeros((3, 1, 1)), np.zeros((1, 1)), aleatoric=4.0)
    lower, upper = stats.interval(0.95)
    np.testing.assert_allclose([lower.item(), upper.item()], [-3.919928, 3.919928], rtol=1e-6)
    assert stats.interval(np.nextafter(1.0, 0.0))[1].item() == pytest.approx(2 * 8.2923611)
    with pytest.raises(InputError, match="level"):
        stats.interval(95)
    assert stats.confidence == 0.0  # the target's variance is not known


def test_rows_and_concatenate_are_inverse():
    rng = np.random.default_rng(0)
    samples = np.exp(log_softmax(rng.normal(size=(10, 7, 3))))
    whole = summarize_classes(samples, samples[0])
    joined = Classification.concatenate([whole.rows(slice(0, 3)), whole.rows(slice(3, 7))])
    for name in ("mean", "epistemic", "mc_error_total"):
        assert np.array_equal(getattr(joined, name), getattr(whole, name))
    assert np.array_equal(joined.deterministic.probabilities, samples[0])
    assert joined.samples == 10
    outputs = summarize_outputs(samples, samples[0])
    assert len(Regression.concatenate([outputs, outputs])) == 14


@pytest.mark.parametrize("samples", [30, 100, 600])
def test_errors_predict_the_scatter_of_independent_passes(samples):
    """Root mean square of error / claimed error: 1, or 1.1 as Student's t where groups are few."""
    rng = np.random.default_rng(samples)
    repeats, center = 4000, np.array([[0.5, 0.0, -1.0]])
    noise = rng.normal(size=(samples, repeats, 3)) * 0.8
    sums, q, log_q = class_sums(center + noise, np.tile(center, (repeats, 1)), group_size(samples))
    got = sums.classification(q, log_q)
    many = np.exp(log_softmax(center + rng.normal(size=(400_000, 3)) * 0.8))
    truth = summarize_classes(many[:, None], q[:, :1].T)
    z_mean = (got.mean - truth.mean) / got.mc_error
    z_total = (got.total - got.total.mean()) / got.mc_error_total
    z_epistemic = (got.epistemic - got.epistemic.mean()) / got.mc_error_epistemic
    for z in (z_mean, z_total, z_epistemic):
        assert np.sqrt(np.mean(z**2)) == pytest.approx(1.06, abs=0.12)


def test_one_pass_claims_its_distance_from_the_deterministic_answer():
    outputs = np.array([[[2.0, 0.0]]])
    sums, q, log_q = class_sums(outputs, np.array([[0.0, 0.0]]), 1)
    got = sums.classification(q, log_q)
    np.testing.assert_allclose(got.mc_error, np.abs(got.mean - 0.5))
    np.testing.assert_allclose(got.epistemic, 0.0, atol=1e-15)
    assert (got.std == 0).all()
