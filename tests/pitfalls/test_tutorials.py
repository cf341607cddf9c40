"""Mistakes of tutorials and papers' code, which many share."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop import Posterior, metrics
from mcdrop.corrections import fit_classes
from mcdrop.recipe import RegularizationRecipe
from mcdrop.regularization import Regularizer, parameter_groups
from mcdrop.repository import read_card
from mcdrop.uncertainty import summarize_classes
from tests.oracle import mlp, rows, softmax
from tests.pitfalls import B, C, T


def test_gal_standard_rmse_is_one_stochastic_pass() -> None:
    """The released code's "standard dropout" RMSE was that of a single pass with dropout on."""
    network, x = mlp((6, 32, 1), (0.0, 0.5)), rows(B, 6)
    answer = Posterior(network, T, aleatoric=1.0).predict(x)
    expected = network.eval()(x).detach().double().numpy()
    np.testing.assert_allclose(answer.deterministic.mean, expected, atol=1e-5)
    y = expected + 1
    assert metrics.rmse(answer.deterministic.mean, y) == pytest.approx(1, abs=1e-4)


def test_mutual_information_as_a_difference_of_entropies_is_lost_near_zero() -> None:
    """In float32 the median error was 28 % near 2.5e-7 nats; as a mean KL in float64 it is none."""
    rng = np.random.default_rng(0)
    base = rng.dirichlet(np.ones(C), size=(1, 200))
    tilt = base * (1 + 7e-4 * rng.normal(size=(T, 200, C)))
    passes = tilt / tilt.sum(2, keepdims=True)
    exact = passes.astype(np.longdouble)
    mean = exact.mean(0)
    information = (exact * (np.log(exact) - np.log(mean))).sum(2).mean(0)
    found = summarize_classes(passes, base[0]).epistemic
    assert np.median(information) < 1e-6
    np.testing.assert_allclose(found, information.astype(float), rtol=1e-6)


def penalty(network: nn.Module) -> float:
    term = Regularizer(network, RegularizationRecipe(form="penalty", weight_decay=3.0)).penalty()
    assert term is not None
    return term.item()


def test_a_tutorials_l2_regularization_penalizes_activations() -> None:
    """It summed squares of a layer's outputs: the penalty depended on the rows."""
    network = mlp((6, 8, C), (0.0, 0.5))
    layers = [m for m in network if isinstance(m, nn.Linear)]
    weights = sum(m.weight.detach().square().sum().item() for m in layers)
    before = penalty(network)
    assert before == pytest.approx(1.5 * weights, rel=1e-5)
    network(100 * rows(B, 6))
    assert penalty(network) == before


def test_others_decay_biases_too() -> None:
    """A bias has nothing to do with how much a function wiggles; they shrank it all the same."""
    network = mlp((6, 8, C), (0.0, 0.5))
    before = penalty(network)
    with torch.no_grad():
        for module in network:
            if isinstance(module, nn.Linear):
                module.bias += 10
    assert penalty(network) == before
    decays = {
        g["weight_decay"]: {p.dim() for p in g["params"]} for g in parameter_groups(network, 0.1)
    }
    assert decays == {0.1: {2}, 0.0: {1}}


def test_gals_log_likelihood_is_biased_low_at_small_t() -> None:
    """-3.064 at T = 50 and -3.035 at 10,000 on one set: a figure without its T says nothing."""
    rng = np.random.default_rng(0)
    samples, y = rng.normal(size=(4000, 300, 1)), rng.normal(size=(300, 1))
    found = [metrics.mc_log_likelihood(samples[:t], y, 4.0) for t in (10, 100, 4000)]
    assert found[0] < found[1] < found[2]
    assert metrics.mc_log_likelihood.__doc__ is not None
    assert "state T" in metrics.mc_log_likelihood.__doc__


def test_plain_mc_dropout_can_worsen_calibration(digits_model: Any) -> None:
    """UCI Letter: NLL .104 -> .139, ECE .012 -> .048; so temperature and spread are fitted."""
    rng = np.random.default_rng(0)
    logits, blur = 3 * rng.normal(size=(1, 3000, C)), rng.normal(size=(T, 3000, C))
    fixed = softmax(logits[0])
    y = (fixed.cumsum(1) > rng.random((3000, 1))).argmax(1)

    def sample(spread: float) -> np.ndarray:
        return softmax(logits + 1.5 * np.sqrt(spread) * blur)

    plain = sample(1.0).mean(0)
    assert metrics.nll(plain, y) > metrics.nll(fixed, y) + 0.01
    found = fit_classes(sample, y, fixed)
    served = softmax(np.log(sample(found.spread)) / found.temperature).mean(0)
    assert metrics.nll(served, y) < metrics.nll(fixed, y) + 0.004
    assert metrics.ece(served, y) < metrics.ece(plain, y)
    card = read_card(digits_model)
    assert any("temperature" in note for note in card.calibration.notes)
