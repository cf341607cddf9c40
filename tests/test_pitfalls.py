"""What other uncertainty libraries were seen to get wrong: one test for each, named after it.

Names say whose mistake it was; docstrings say what went wrong there. Each test fails if mcdrop
comes to make the same one.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop import Posterior, metrics
from mcdrop.calibration import Reference
from mcdrop.conformal import quantile
from mcdrop.corrections import fit_classes, fit_temperature
from mcdrop.errors import NetworkError
from mcdrop.recipe import CalibrationRecipe, RegularizationRecipe
from mcdrop.regularization import Regularizer, parameter_groups
from mcdrop.repository import read_card
from mcdrop.scoring import columns
from mcdrop.uncertainty import entropy, summarize_classes, summarize_outputs
from tests.oracle import mlp, rows, softmax

T, B, C = 40, 7, 5


@pytest.fixture
def network() -> nn.Sequential:
    return mlp((6, 32, C), (0.0, 0.5), gain=2.0)


@pytest.fixture
def x() -> torch.Tensor:
    return rows(B, 6)


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


def normalized() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, C)
    )


def test_lightning_uq_box_prediction_changes_batch_norm_and_fails_on_one_row(
    x: torch.Tensor,
) -> None:
    """Train mode for dropout moved the running statistics, and one row has no batch variance."""
    network = normalized().train()
    network(rows(64, 6, seed=5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    together = Posterior(network, T).predict(x)
    alone = Posterior(network, T).predict(x[:1])
    np.testing.assert_allclose(alone.mean[0], together.mean[0], atol=1e-6)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("mode", [True, False])
def test_lightning_uq_box_leaves_the_model_in_train_mode(mode: bool, x: torch.Tensor) -> None:
    """Later "deterministic" answers were random."""
    network = normalized().train(mode)
    Posterior(network, T).predict(x)
    assert all(module.training == mode for module in network.modules())


def test_lightning_uq_box_writes_class_1_into_every_class_column(digits_model: Any) -> None:
    """Its CSV had the probability of class 1 in each class's column."""
    import mcdrop

    model = mcdrop.load(digits_model)
    answer = model.predict(np.random.default_rng(0).integers(0, 17, (9, 64)))
    found = columns(answer, model.card)
    for c, name in enumerate(model.card.classes):
        assert np.array_equal(found[f"probability_{name}"], answer.mean[:, c])
        assert np.array_equal(found[f"std_{name}"], answer.std[:, c])


def test_lightning_uq_box_variance_is_nan_at_large_means() -> None:
    """E[x^2] - E[x]^2 in float32 was negative at a mean of 10,000, and its root NaN."""
    network = mlp((6, 32, 1), (0.0, 0.5))
    with torch.no_grad():
        network[-1].bias += 1e4
    near = Posterior(network, T).predict(rows(B, 6))
    with torch.no_grad():
        network[-1].bias -= 1e4
    zero = Posterior(network, T).predict(rows(B, 6))
    np.testing.assert_allclose(near.epistemic, zero.epistemic, rtol=0.02)
    samples = 1e4 + 1e-3 * np.random.default_rng(0).normal(size=(T, B, 1))
    summed = summarize_outputs(samples, samples[0])
    np.testing.assert_allclose(summed.epistemic, samples.var(0))


def test_baal_averages_logits_before_the_softmax() -> None:
    """Entropy 1.33 where that of the mean probabilities is 1.73."""
    logits = 4 * np.random.default_rng(0).normal(size=(T, B, C))
    answer = summarize_classes(softmax(logits), softmax(logits.mean(0)))
    np.testing.assert_allclose(answer.total, entropy(softmax(logits).mean(0)))
    theirs = entropy(softmax(logits.mean(0)))
    assert (answer.total - theirs).mean() > 0.1


def test_baal_decides_per_array_whether_numbers_are_logits() -> None:
    """A row whose logits look like probabilities was read otherwise beside other rows."""
    network = nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(2))
    like, unlike = torch.tensor([[0.3, 0.7]]), torch.tensor([[-5.0, 9.0]])
    posterior = Posterior(network, 4)
    alone, together = posterior.predict(like), posterior.predict(torch.cat([like, unlike]))
    np.testing.assert_allclose(alone.mean[0], together.mean[0], atol=1e-7)
    np.testing.assert_allclose(alone.mean, softmax(like.numpy()), atol=1e-6)


def test_baal_cache_returns_stale_output(network: nn.Sequential, x: torch.Tensor) -> None:
    """Its caching module knew neither rows overwritten in place nor weights that changed."""
    posterior = Posterior(network, T)
    first = posterior.predict(x)
    x += 1
    moved = posterior.predict(x)
    assert not np.allclose(moved.mean, first.mean)
    np.testing.assert_allclose(moved.mean, Posterior(network, T).predict(x).mean, atol=1e-7)
    with torch.no_grad():
        network[-1].weight *= 2
    assert not np.allclose(posterior.predict(x).mean, moved.mean)


def test_fd_shifts_score_reads_row_0_only(network: nn.Sequential, x: torch.Tensor) -> None:
    """A WAIC score gave every row the value of the first."""
    together = Posterior(network, T).predict(x)
    for name in ("epistemic", "total", "confidence"):
        values = getattr(together, name)
        assert len(set(values.round(9))) == B
        for row in range(B):
            alone = getattr(Posterior(network, T).predict(x[row : row + 1]), name)[0]
            assert values[row] == pytest.approx(alone, abs=1e-6)


def test_keras_uncertainty_ignores_batch_size() -> None:
    """All rows went through the network at once, T times over; here blocks bound the memory."""
    import tracemalloc

    wide = mlp((6, 64, C), (0.0, 0.5))
    x = rows(20_000, 6)
    posterior = Posterior(wide, 200)
    posterior.predict(x[:2000])
    tracemalloc.start()
    answer = posterior.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(answer) == 20_000
    assert peak < 200 * 20_000 * C * 8 / 4  # all passes of all rows at once would be 160 MB


def test_keras_uncertainty_nll_is_a_summed_binary_cross_entropy() -> None:
    """It summed over rows, and over classes the entropy of yes and no."""
    p, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]), np.array([0, 1])
    expected = -(np.log(0.7) + np.log(0.1)) / 2
    assert metrics.nll(p, y) == pytest.approx(expected)
    assert metrics.nll(np.tile(p, (50, 1)), np.tile(y, 50)) == pytest.approx(expected)


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
