"""Regularization: what is penalized, which forms are one step, and which are not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from mcdrop.errors import InputError
from mcdrop.network import DropoutMLP
from mcdrop.recipe import RegularizationRecipe, TrainingRecipe
from mcdrop.regularization import Regularizer, build_optimizer, parameter_groups


def problem() -> tuple[DropoutMLP, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    network = DropoutMLP(6, [5], 2, dropout=0.0, generator=generator).double()
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    return network, x, y


def train(
    training: TrainingRecipe, regularization: RegularizationRecipe, count: int = 20
) -> list[torch.Tensor]:
    """All parameters after each of ``count`` steps."""
    network, x, y = problem()
    solver = build_optimizer(network, training, regularization)
    regularizer = Regularizer(network, regularization)
    course = []
    for _ in range(count):
        solver.zero_grad()
        loss, penalty = F.mse_loss(network(x), y), regularizer.penalty()
        (loss if penalty is None else loss + penalty).backward()
        solver.step()
        regularizer.after_step(training.lr)
        course.append(torch.cat([p.detach().flatten().clone() for p in network.parameters()]))
    return course


def steps(form: str, **training: object) -> list[torch.Tensor]:
    return train(
        TrainingRecipe.model_validate({"lr": 0.05, **training}),
        RegularizationRecipe(form=form, weight_decay=0.1),
    )


def distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return max(float((p - q).abs().max()) for p, q in zip(a, b, strict=True))


def test_only_weights_decay_unless_biases_are_asked_for() -> None:
    network = DropoutMLP(4, [3], 2)
    weights, others = parameter_groups(network, 0.1)
    assert [p.dim() for p in weights["params"]] == [2, 2]
    assert [p.dim() for p in others["params"]] == [1, 1]
    assert (weights["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert parameter_groups(network, 0.1, biases=True)[1]["weight_decay"] == 0.1


@pytest.mark.parametrize("form", ["coupled", "penalty"])
def test_for_plain_sgd_all_forms_are_the_same_step(form: str) -> None:
    assert distance(steps("decoupled", optimizer="sgd"), steps(form, optimizer="sgd")) < 1e-14


@pytest.mark.parametrize(
    "training",
    [{"optimizer": "adam"}, {"optimizer": "sgd", "momentum": 0.9}],
    ids=["adam", "momentum"],
)
def test_for_adam_and_momentum_decoupled_decay_is_another_step(training: dict[str, object]) -> None:
    coupled = steps("coupled", **training)
    assert distance(coupled, steps("penalty", **training)) < 1e-13
    assert distance(coupled, steps("decoupled", **training)) > 1e-3


def test_lambda_is_half_the_square_of_the_weights_per_mean_loss() -> None:
    network, _, _ = problem()
    penalty = Regularizer(network, RegularizationRecipe(form="penalty", weight_decay=3)).penalty()
    assert penalty is not None
    squares = sum(float((p.detach() ** 2).sum()) for p in network.parameters() if p.dim() > 1)
    assert penalty.item() == pytest.approx(1.5 * squares)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_decoupled_adam_is_adamw(optimizer: str) -> None:
    network, x, y = problem()
    solver = torch.optim.AdamW(parameter_groups(network, 0.1), lr=0.05)
    for _ in range(20):
        solver.zero_grad()
        F.mse_loss(network(x), y).backward()
        solver.step()
    expected = torch.cat([p.detach().flatten() for p in network.parameters()])
    torch.testing.assert_close(
        steps("decoupled", optimizer=optimizer)[-1], expected, rtol=0, atol=1e-13
    )


def test_adamw_refuses_other_forms() -> None:
    with pytest.raises(InputError, match="use 'adam', or 'decoupled'"):
        steps("coupled", optimizer="adamw")


def test_nesterov_is_torchs_own() -> None:
    network, x, y = problem()
    solver = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for _ in range(20):
        solver.zero_grad()
        F.mse_loss(network(x), y).backward()
        solver.step()
    training = TrainingRecipe(optimizer="sgd", lr=0.05, momentum=0.9, nesterov=True)
    ours = train(training, RegularizationRecipe(weight_decay=0))[-1]
    expected = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert torch.equal(ours, expected)


def test_a_zero_gradient_shrinks_weights_geometrically() -> None:
    network = DropoutMLP(4, [], 2)
    before = network[0].weight.detach().clone()
    solver = build_optimizer(
        network, TrainingRecipe(optimizer="sgd", lr=0.1), RegularizationRecipe(weight_decay=0.5)
    )
    network[0].bias.data.fill_(1)
    for _ in range(3):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        solver.step()
    torch.testing.assert_close(network[0].weight.detach(), before * 0.95**3)
    assert network[0].bias.tolist() == [1, 1]


def linear(recipe: RegularizationRecipe, count: int = 800) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases of y = 2 x0 - x1 + 5 + noise, 8 features, fitted by gradient descent."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 8, generator=generator, dtype=torch.float64)
    noise = 0.5 * torch.randn(200, 1, generator=generator, dtype=torch.float64)
    y = 2 * x[:, :1] - x[:, 1:2] + 5 + noise
    network = DropoutMLP(8, [], 1, generator=generator).double()
    solver = build_optimizer(network, TrainingRecipe(optimizer="sgd", lr=0.05), recipe)
    regularizer = Regularizer(network, recipe)
    for _ in range(count):
        solver.zero_grad()
        loss, penalty = F.mse_loss(network(x), y), regularizer.penalty()
        (loss if penalty is None else loss + penalty).backward()
        solver.step()
        regularizer.after_step(0.05)
    return network[0].weight.detach()[0], network[0].bias.detach()


def test_proximal_l1_finds_the_sparse_truth_with_exact_zeros() -> None:
    weights, bias = linear(RegularizationRecipe(weight_decay=0, l1=0.3, proximal=True))
    assert (weights[2:] == 0).all()
    assert weights[0] == pytest.approx(2 - 0.15, abs=0.1)  # shrunk by l1 / 2 for unit variance
    assert bias.item() == pytest.approx(5, abs=0.1)  # not penalized


def test_the_l1_penalty_has_the_same_minimum_but_no_exact_zeros() -> None:
    exact, _ = linear(RegularizationRecipe(weight_decay=0, l1=0.3, proximal=True))
    close, _ = linear(RegularizationRecipe(weight_decay=0, l1=0.3))
    torch.testing.assert_close(close, exact, rtol=0, atol=0.02)
    assert (close != 0).all()


def test_the_proximal_limit_is_the_minimum_of_the_elastic_net() -> None:
    from sklearn.linear_model import ElasticNet

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 8, generator=generator, dtype=torch.float64)
    noise = 0.5 * torch.randn(200, 1, generator=generator, dtype=torch.float64)
    y = 2 * x[:, :1] - x[:, 1:2] + 5 + noise
    # sklearn minimizes 1/(2n) ||r||^2 + a r ||w||_1 + a (1 - r) / 2 ||w||^2: half of ours.
    l1, l2 = 0.3, 0.2
    alpha, ratio = (l1 + l2) / 2, l1 / (l1 + l2)
    expected = ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-12, max_iter=100_000).fit(
        x.numpy(), y[:, 0].numpy()
    )
    recipe = RegularizationRecipe(form="penalty", weight_decay=l2, l1=l1, proximal=True)
    weights, bias = linear(recipe)
    torch.testing.assert_close(weights, torch.from_numpy(expected.coef_), rtol=0, atol=1e-6)
    assert bias.item() == pytest.approx(float(expected.intercept_), abs=1e-6)


def test_biases_are_penalized_only_if_asked() -> None:
    plain, asked = (
        linear(RegularizationRecipe(weight_decay=0, l1=0.3, biases=biases))[1].item()
        for biases in (False, True)
    )
    assert plain == pytest.approx(5, abs=0.1)
    assert asked == pytest.approx(plain - 0.15, abs=0.05)


@given(st.floats(0.01, 10), st.integers(0, 2**32))
def test_max_norm_bounds_each_unit_and_leaves_shorter_ones_alone(bound: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    network = DropoutMLP(20, [30], 5, generator=generator)
    before = [p.detach().clone() for p in network.parameters()]
    Regularizer(network, RegularizationRecipe(max_norm=bound)).after_step(0.1)
    for old, new in zip(before, network.parameters(), strict=True):
        if old.dim() == 1:
            assert torch.equal(old, new)
            continue
        norms = old.norm(dim=1)
        torch.testing.assert_close(new.norm(dim=1), norms.clamp(max=bound))
        assert torch.equal(new[norms <= bound], old[norms <= bound])


def test_nothing_asked_nothing_done() -> None:
    network, _, _ = problem()
    before = network[0].weight.detach().clone()
    regularizer = Regularizer(network, RegularizationRecipe())
    regularizer.after_step(0.1)
    assert regularizer.penalty() is None
    assert torch.equal(before, network[0].weight)
