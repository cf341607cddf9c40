"""Weight decay: what decays, and when the two forms are one step and when they are not."""

import pytest
import torch
from torch.nn import functional as F

from mcdrop.network import DropoutMLP
from mcdrop.recipe import RegularizationRecipe, TrainingRecipe
from mcdrop.regularization import build_optimizer, parameter_groups


def steps(optimizer: str, form: str, momentum: float = 0.0, count: int = 20) -> DropoutMLP:
    generator = torch.Generator().manual_seed(3)
    network = DropoutMLP(6, [5], 2, dropout=0.0, generator=generator).double()
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    training = TrainingRecipe(optimizer=optimizer, lr=0.05, momentum=momentum)
    solver = build_optimizer(network, training, RegularizationRecipe(form=form, weight_decay=0.1))
    for _ in range(count):
        solver.zero_grad()
        F.mse_loss(network(x), y).backward()
        solver.step()
    return network


def distance(a: DropoutMLP, b: DropoutMLP) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


def test_only_weights_decay() -> None:
    network = DropoutMLP(4, [3], 2)
    weights, others = parameter_groups(network, 0.1)
    assert [p.dim() for p in weights["params"]] == [2, 2]
    assert [p.dim() for p in others["params"]] == [1, 1]
    assert (weights["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_forms_coincide_for_plain_sgd() -> None:
    assert distance(steps("sgd", "coupled"), steps("sgd", "decoupled")) < 1e-14


@pytest.mark.parametrize(("optimizer", "momentum"), [("adam", 0.0), ("sgd", 0.9)])
def test_forms_differ_for_adam_and_momentum(optimizer: str, momentum: float) -> None:
    coupled, decoupled = (steps(optimizer, form, momentum) for form in ("coupled", "decoupled"))
    assert distance(coupled, decoupled) > 1e-3


def test_decoupled_adam_is_adamw() -> None:
    ours = steps("adam", "decoupled", count=5)
    generator = torch.Generator().manual_seed(3)
    network = DropoutMLP(6, [5], 2, dropout=0.0, generator=generator).double()
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    solver = torch.optim.AdamW(parameter_groups(network, 0.1), lr=0.05)
    for _ in range(5):
        solver.zero_grad()
        F.mse_loss(network(x), y).backward()
        solver.step()
    assert distance(ours, network) == 0


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
