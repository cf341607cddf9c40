"""Losses: what is minimized, what judges, and the unit of the targets."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mcdrop.errors import InputError
from mcdrop.network import DropoutMLP
from mcdrop.objective import Objective, Targets, beta_nll, class_weights
from mcdrop.recipe import Recipe

CPU = torch.device("cpu")
LABELS = ("no", "yes")
TRUTH = np.array([0] * 30 + [1] * 10)


def objective(**training: object) -> Objective:
    recipe = Recipe.model_validate({"data": {"source": "digits"}, "training": training})
    return Objective(recipe, LABELS, TRUTH, CPU)


def test_smoothing_is_trained_with_and_not_judged_with() -> None:
    outputs, y = torch.randn(40, 2), torch.from_numpy(TRUTH)
    smooth = objective(label_smoothing=0.2)
    probabilities = torch.log_softmax(outputs, 1)
    expected = 0.9 * -probabilities[range(40), y] + 0.1 * -probabilities[range(40), 1 - y]
    torch.testing.assert_close(smooth.training(outputs, y), expected.mean())
    torch.testing.assert_close(smooth.held_out(outputs, y), F.cross_entropy(outputs, y))


def test_balanced_weights_make_classes_weigh_alike() -> None:
    weights = class_weights("balanced", LABELS, TRUTH)
    assert weights is not None
    assert weights.tolist() == pytest.approx([40 / 60, 40 / 20])
    assert weights[TRUTH].mean().item() == pytest.approx(1)


def test_weights_by_label_reach_the_loss() -> None:
    outputs, y = torch.randn(40, 2), torch.from_numpy(TRUTH)
    weighted = objective(class_weights={"yes": 3.0})
    losses = F.cross_entropy(outputs, y, reduction="none")
    weight = torch.tensor([1.0, 3.0])[y]
    torch.testing.assert_close(
        weighted.training(outputs, y), (weight * losses).sum() / weight.sum()
    )


@pytest.mark.parametrize(
    ("wanted", "words"),
    [({"maybe": 1.0}, "'maybe', which is no class"), ({"no": 0, "yes": 0}, "0")],
)
def test_bad_class_weights_are_refused(wanted: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        class_weights(wanted, LABELS, TRUTH)


def test_beta_0_is_the_gaussian_likelihood() -> None:
    mean, log_variance, y = (torch.randn(50, 2, dtype=torch.float64) for _ in range(3))
    expected = F.gaussian_nll_loss(mean, y, log_variance.exp())
    torch.testing.assert_close(beta_nll(mean, log_variance, y, 0.0), expected)


def test_beta_1_gives_means_the_gradient_of_squared_error() -> None:
    mean, log_variance, y = (torch.randn(50, 2, dtype=torch.float64) for _ in range(3))
    mean.requires_grad_()
    ours = torch.autograd.grad(beta_nll(mean, log_variance, y, 1.0), mean)[0]
    squared = torch.autograd.grad(F.mse_loss(mean, y) / 2, mean)[0]
    torch.testing.assert_close(ours, squared)


@pytest.mark.parametrize("outputs", [2, 4])
def test_folding_moves_means_and_log_variances_to_the_targets_unit(outputs: int) -> None:
    y = np.random.default_rng(0).normal([1000, -3], [50, 0.1], (200, 2))
    targets = Targets(y)
    network = DropoutMLP(3, [], outputs).double()
    x = torch.randn(200, 3, dtype=torch.float64)
    before = network(x).detach()
    targets.fold_into(network)
    after = network(x).detach()
    torch.testing.assert_close(after[:, :2], before[:, :2] * targets.std + targets.mean)
    if outputs == 4:
        variances = before[:, 2:].exp() * targets.std**2
        torch.testing.assert_close(after[:, 2:].exp(), variances)


def test_targets_are_learned_standardized_or_as_they_are() -> None:
    y = np.array([[1.0, 7.0], [3.0, 7.0]])
    assert Targets(y).encode(y).tolist() == [[-1, 0], [1, 0]]
    assert Targets(y, standardize=False).encode(y).tolist() == y.tolist()


def test_targets_too_far_from_zero_for_float32_are_refused() -> None:
    y = 1.6e9 + 50 * np.random.default_rng(0).normal(size=(100, 1))
    with pytest.raises(InputError, match="subtract a constant from the target column"):
        Targets(y)
    Targets(y - 1.6e9 + 1e4)
