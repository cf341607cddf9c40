"""The posterior's statistics against the plain loop, closed forms and all masks."""

import numpy as np
import pytest

from mcdrop.posterior import Posterior
from mcdrop.uncertainty import summarize_classes, summarize_outputs
from tests.oracle import every_mask, mlp, plain_loop, rows, softmax
from tests.posterior.comparing import CLASSIFIER, DEEP, INPUT_DROPOUT, largest_z, threshold


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_classes_agree_with_the_plain_loop(masks):
    network, x, samples = mlp(*CLASSIFIER), rows(12, 20), 6000
    got = Posterior(network, samples, seed=5, masks=masks).predict(x)
    want = summarize_classes(softmax(plain_loop(network, x, samples)), got.mean)
    # balanced passes scatter less than independent ones, so the plain error serves for both
    for name, error in (
        ("mean", want.mc_error),
        ("total", want.mc_error_total),
        ("epistemic", want.mc_error_epistemic),
    ):
        values, expected = getattr(got, name), getattr(want, name)
        assert largest_z(values, expected, error * np.sqrt(2)) < threshold(values.size), name
    loop = softmax(plain_loop(network, x, samples))
    fourth = ((loop - want.mean) ** 4).mean(axis=0)
    error = np.sqrt((fourth - want.std**4) / samples * 2)
    assert largest_z(got.std**2, want.std**2, error) < threshold(error.size)


@pytest.mark.parametrize("masks", ["shared", "independent"])
@pytest.mark.parametrize("shape", [INPUT_DROPOUT, DEEP])
def test_outputs_agree_with_the_plain_loop(masks, shape):
    network, x, samples = mlp(*shape), rows(10, shape[0][0]), 6000
    got = Posterior(network, samples, seed=3, masks=masks).predict(x)
    loop = plain_loop(network, x, samples)
    want = summarize_outputs(loop, got.mean)
    assert largest_z(got.mean, want.mean, want.mc_error * np.sqrt(2)) < threshold(10)
    fourth = ((loop - want.mean) ** 4).mean(axis=0)
    error = np.sqrt((fourth - want.epistemic**2) / samples * 2)
    assert largest_z(got.epistemic, want.epistemic, error) < threshold(10)


def test_linear_network_has_its_exact_moments():
    """y = w (m x) / (1 - p) + b: mean w x + b, variance sum (w x)^2 p / (1 - p)."""
    network, x, rate, samples = mlp((30, 1), (0.4,)), rows(20, 30), 0.4, 20_000
    got = Posterior(network, samples).predict(x)
    parts = (x * network[1].weight[0]).double().detach().numpy()
    mean = parts.sum(axis=1) + network[1].bias.item()
    variance = np.square(parts).sum(axis=1) * rate / (1 - rate)
    error = np.sqrt(variance / samples)  # balanced masks do better
    assert largest_z(got.mean[:, 0], mean, error) < threshold(20)
    assert largest_z(got.epistemic[:, 0], variance, variance * np.sqrt(2 / samples)) < threshold(20)
    assert largest_z(got.mean[:, 0], mean, got.mc_error[:, 0] * 1.2) < threshold(20)


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_tiny_network_matches_all_its_masks(masks):
    network, x, samples = mlp((3, 4, 3), (0.25, 0.5)), rows(6, 3), 30_000
    weights, outputs = every_mask(network, x)
    p = softmax(outputs)
    mean = np.einsum("m,mbc->bc", weights, p)
    variance = np.einsum("m,mbc->bc", weights, np.square(p - mean))
    kl = (p * np.log(p / mean)).sum(axis=2)
    information = weights @ kl
    got = Posterior(network, samples, masks=masks).predict(x)
    assert weights.sum() == pytest.approx(1.0)
    assert largest_z(got.mean, mean, np.sqrt(variance / samples)) < threshold(mean.size)
    error = np.sqrt((weights @ np.square(kl) - information**2) / samples)
    assert largest_z(got.epistemic, information, error) < threshold(6)
    fourth = np.einsum("m,mbc->bc", weights, (p - mean) ** 4)
    error = np.sqrt((fourth - variance**2) / samples)
    assert largest_z(got.std**2, variance, error) < threshold(mean.size)


def test_monte_carlo_errors_are_honest_over_seeds():
    """Claimed errors are not below the scatter between seeds, nor far above it."""
    network, x = mlp(*CLASSIFIER), rows(10, 20)
    answers = [Posterior(network, 320, seed=seed).predict(x) for seed in range(60)]
    scatter = np.std([a.mean for a in answers], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([a.mc_error**2 for a in answers], axis=0))
    ratio = np.sqrt((claimed**2).mean() / (scatter**2).mean())
    assert 0.9 < ratio < 1.5
    independent = np.sqrt(np.mean([a.std**2 for a in answers], axis=0) / 320)
    assert (independent**2).mean() > 1.3 * (scatter**2).mean()  # what balance is for
    scatter = np.std([a.epistemic for a in answers], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([a.mc_error_epistemic**2 for a in answers], axis=0))
    assert 0.8 < np.sqrt((claimed**2).mean() / (scatter**2).mean()) < 1.5


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_bfloat16_errs_far_less_than_the_passes_do(masks):
    """Systematic error of the mean, in Monte Carlo standard errors at T = 100."""
    network, x = mlp((64, 128, 96, 10), (0.0, 0.3, 0.5)), rows(200, 64)
    pairs = [
        [
            Posterior(network, 100, seed=seed, precision=precision, masks=masks).predict(x).mean
            for precision in ("auto", "float32")
        ]
        for seed in range(12)
    ]
    difference = np.mean([coarse - fine for coarse, fine in pairs], axis=0)
    scatter = np.std([fine for _, fine in pairs], axis=0, ddof=1)
    assert np.sqrt((difference**2).mean() / (scatter**2).mean()) < 0.15
