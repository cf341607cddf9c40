"""Mistakes of torch-uncertainty."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop import Posterior, metrics
from mcdrop.calibration import Reference
from mcdrop.conformal import quantile
from mcdrop.corrections import fit_temperature
from mcdrop.errors import NetworkError
from mcdrop.recipe import CalibrationRecipe
from mcdrop.uncertainty import summarize_classes
from tests.oracle import rows, softmax
from tests.pitfalls import C, T


def test_torch_uncertainty_variation_ratio_swaps_passes_and_rows() -> None:
    """torch-uncertainty 0.13 reduced over rows where it meant passes."""
    passes = np.full((3, 4, 2), 0.5)
    passes[:, 1] = [[1, 0], [0, 1], [1, 0]]  # row 1 alone is disagreed about
    answer = summarize_classes(passes, passes.mean(0))
    for name in ("epistemic", "total", "aleatoric", "confidence", "epistemic_variance"):
        assert getattr(answer, name).shape == (4,)
    assert np.flatnonzero(answer.epistemic > 1e-12).tolist() == [1]
    assert np.flatnonzero(answer.epistemic_variance > 1e-12).tolist() == [1]


def answered(network: nn.Sequential, count: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """An MC answer, all its passes, and labels drawn from its mean."""
    posterior, x = Posterior(network, T), rows(count, 6)
    answer, passes = posterior.predict(x), posterior.sample(x)
    draws = np.random.default_rng(0).random((count, 1))
    return answer, passes, np.minimum((answer.mean.cumsum(1) < draws).sum(1), C - 1)


def test_torch_uncertainty_scaling_and_conformal_crash_on_mc_dropout(
    network: nn.Sequential,
) -> None:
    """Its temperature, vector, Dirichlet and isotonic scaling and its conformal classes raised."""
    answer, passes, y = answered(network, 300)
    assert fit_temperature(passes, y, answer.deterministic.probabilities).temperature > 0
    for sets in ("lac", "aps", "raps"):
        recipe = CalibrationRecipe(sets=sets)
        served = Reference.measure(recipe, answer, y, answer, y).apply(answer)
        assert served.prediction_set.shape == (300, C)  # type: ignore[union-attr]


@pytest.mark.parametrize("n", [10, 20, 50])
def test_torch_uncertainty_conformal_undercovers_at_small_n(n: int) -> None:
    """The plain quantile covered .833, .858 and .887 where .90 was asked for.

    20,000 draws: 5 standard errors of the coverage are .011.
    """
    rng = np.random.default_rng(n)
    scores, new = rng.normal(size=(20_000, n)), rng.normal(size=20_000)
    covered = np.mean([s <= quantile(own, 0.9) for own, s in zip(scores, new, strict=True)])
    assert covered > 0.9 - 0.011


def test_torch_uncertainty_aurc_takes_max_softmax_only_and_depends_on_ties() -> None:
    """Its AURC-like metrics took no other score, and rows of equal score by their order."""
    uncertainty = np.array([0.1, 0.2, 0.2, 0.2, 0.9])
    loss = np.array([0.0, 1.0, 0.0, 0.0, 1.0])
    for order in (np.arange(5), np.array([0, 3, 2, 1, 4])):
        for score, expected in ((metrics.aurc, 0.24), (metrics.augrc, None)):
            found = score(-uncertainty[order], loss[order])
            assert found == pytest.approx(score(-uncertainty, loss))
            # means of the first k: 0, 1/6, 2/9, 1/4, 2/5 with ties averaged
            if expected:
                assert found == pytest.approx(np.mean([0, 1 / 6, 2 / 9, 1 / 4, 2 / 5]))


def test_torch_uncertainty_nll_of_sure_answers_is_infinite() -> None:
    """NLL of softmax([200, 0]) at label 1 was inf; the log-softmax is -200."""
    network = nn.Sequential(nn.Dropout(0.0), nn.Linear(1, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[200.0], [0.0]]))
        network[1].bias.zero_()
    passes = Posterior(network, 4, temperature=4.0).sample(torch.ones(1, 1))
    assert metrics.nll(passes.mean(0), np.array([1])) == pytest.approx(50, rel=1e-5)
    p = softmax(np.array([[200.0, 0.0]]))
    assert metrics.nll(p, np.array([1])) == pytest.approx(200, rel=1e-12)


def test_torch_uncertainty_stays_stochastic_after_eval(
    network: nn.Sequential, x: torch.Tensor
) -> None:
    """The inner model went on dropping units after ``eval()``."""
    network.eval()
    before = network(x)
    answer = Posterior(network, T).predict(x)
    assert torch.equal(network(x), before)
    expected = softmax(before.detach().double().numpy())
    np.testing.assert_allclose(answer.deterministic.probabilities, expected, atol=1e-6)


def test_torch_uncertainty_is_silently_certain_after_core_eval(
    network: nn.Sequential, x: torch.Tensor
) -> None:
    """``core.eval()`` switched dropout off: T equal passes, uncertainty 0, no word."""
    sure, training = Posterior(network.eval(), T).predict(x), Posterior(network.train(), T)
    assert (sure.epistemic > 1e-4).all()
    assert np.array_equal(sure.mean, training.predict(x).mean)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(6, 2, dropout=0.5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x, x)[0]


@pytest.mark.parametrize("module", [Attention(), nn.LSTM(6, 6, num_layers=2, dropout=0.5)])
def test_torch_uncertainty_ignores_dropout_in_attention_and_lstm(module: nn.Module) -> None:
    """It looked for nn.Dropout modules, and took models that drop units otherwise for certain."""
    with pytest.raises(NetworkError, match="cannot be seen"):
        Posterior(nn.Sequential(nn.Dropout(0.5), module, nn.Linear(6, 2)), T)
