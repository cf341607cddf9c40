"""What the posterior says: shapes, limits, and a variance that the network learned."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.masks import balanced_masks
from mcdrop.posterior import Posterior
from tests.oracle import masked_loop, mlp, rows, softmax
from tests.posterior.comparing import CLASSIFIER


def test_without_dropout_there_is_no_epistemic_uncertainty():
    for rates in ((0.0, 0.0), (0, 0)):
        network = mlp((8, 16, 3), rates)
        network.insert(1, nn.Dropout(0.0))
        with pytest.warns(UserWarning, match="drops nothing"):
            got = Posterior(network, 40).predict(rows(9, 8))
        assert (got.epistemic == 0).all()
        assert (got.std == 0).all()
        assert (got.mc_error == 0).all()
        assert np.array_equal(got.mean, got.deterministic.probabilities)
        assert got.agrees.all()


def test_deterministic_answer_is_the_eval_forward():
    network, x = mlp(*CLASSIFIER), rows(30, 20)
    want = softmax(network.eval()(x).double().detach().numpy())
    for temperature in (1.0, 0.5, 2.0):  # corrects the passes, which it was fitted to
        got = Posterior(network, 10, temperature=temperature).predict(x)
        np.testing.assert_allclose(got.deterministic.probabilities, want, atol=1e-6)


def test_probabilities_that_float32_cannot_tell_from_zero_are_its_smallest():
    """Logits some hundred apart: a softmax of 0 has a logarithm hundreds of nats too low."""
    network, x = mlp(*CLASSIFIER), rows(500, 20)
    with torch.no_grad():
        network[-1].weight *= 300
    posterior = Posterior(network, 5)
    assert posterior.sample(x).min() == 2.0**-126
    assert 0 < posterior.predict(x).deterministic.probabilities.min() < 1e-37


def test_shapes_and_dtypes():
    network = mlp(*CLASSIFIER)
    got = Posterior(network, 10).predict(rows(0, 20))
    assert got.mean.shape == (0, 5)
    assert got.prediction.dtype == np.int64
    got = Posterior(network, 10, task="regression", aleatoric=[1, 2, 3, 4, 5.0]).predict(
        rows(3, 20)
    )
    assert got.task == "regression"
    np.testing.assert_allclose(got.total - got.epistemic, [[1, 2, 3, 4, 5]] * 3)
    frozen = rows(4, 20).numpy()
    frozen.setflags(write=False)
    for x in (frozen, frozen[:, ::-1], rows(4, 20).double(), frozen.tolist(), rows(4, 20) > 0):
        assert Posterior(network, 10).predict(x).mean.dtype == np.float64
    assert Posterior(network, 7).sample(rows(4, 20)).shape == (7, 4, 5)


def test_large_outputs_keep_their_variance():
    network = mlp((13, 50, 1), (0.0, 0.3))
    with torch.no_grad():
        network[-1].bias.fill_(1e4)
    x = rows(50, 13)
    got = Posterior(network, 200).predict(x)
    want = masked_loop(network, x, [balanced_masks(0, 0, range(200), 50, 0.3)])
    np.testing.assert_allclose(got.epistemic, want.var(axis=0), rtol=2e-2)


@pytest.mark.parametrize("bias", [200.0, 1e4])
def test_extreme_logits(bias):
    network = mlp((4, 8, 2), (0.0, 0.5))
    with torch.no_grad():
        network[-1].bias.copy_(torch.tensor([bias, -bias]))
    got = Posterior(network, 50).predict(rows(6, 4))
    for name in ("mean", "std", "total", "aleatoric", "epistemic", "mc_error", "confidence"):
        assert np.isfinite(getattr(got, name)).all(), name
    assert (got.confidence == 1).all()


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_one_pass_disagrees_with_nothing(precision: str) -> None:
    network = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 3))
    stats = Posterior(network, 1, precision=precision).predict(torch.randn(70, 6))
    assert not stats.epistemic.any()
    assert not stats.std.any()
    assert np.array_equal(stats.total, stats.aleatoric)


def test_certain_answers_have_no_negative_zero() -> None:
    from mcdrop.uncertainty import entropy

    assert str(entropy(np.array([[1.0, 0.0]]))[0]) == "0.0"


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_a_learned_variance_is_averaged_over_passes_and_told_apart_from_the_means(masks):
    network = mlp((3, 30, 4), (0.1, 0.3))
    x = rows(9, 3)
    options = {"samples": 64, "seed": 2, "task": "regression", "masks": masks}
    plain = Posterior(network, **options).sample(x)  # (T, B, 4)
    learned = Posterior(network, variance="learned", target_variance=2.0, **options)
    answer, passes = learned.predict(x), learned.sample(x)
    np.testing.assert_allclose(passes[..., :2], plain[..., :2], rtol=1e-5)
    np.testing.assert_allclose(passes[..., 2:], np.exp(plain[..., 2:]), rtol=1e-4)
    np.testing.assert_allclose(answer.mean, plain[..., :2].mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(answer.epistemic, plain[..., :2].var(0), rtol=1e-3)
    np.testing.assert_allclose(answer.aleatoric, np.exp(plain[..., 2:]).mean(0), rtol=1e-4)
    with torch.inference_mode():
        expected = copy.deepcopy(network).eval()(torch.as_tensor(x)).numpy()[:, :2]
    np.testing.assert_allclose(answer.deterministic.mean, expected, rtol=1e-5, atol=1e-6)
    assert answer.mc_error.shape == answer.target_variance.shape == (9, 2)
    *_, last = learned.stream(x)
    np.testing.assert_allclose(last.aleatoric, answer.aleatoric, rtol=1e-6)


def test_a_learned_variance_that_explodes_stays_a_number():
    network = mlp((2, 8, 2), (0.0, 0.2))
    network[-1].bias.data[1] = 500.0
    answer = Posterior(network, task="regression", variance="learned").predict(rows(5, 2))
    assert np.isfinite(answer.std).all()
