"""A model that a constant answer beats is told of, beyond chance, and no other."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mcdrop
from mcdrop.repository import read_card
from mcdrop.worth import worse_than_constant

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (600, 2))
SIDES = (X[:, 0] > 0).astype(int) + (X[:, 0] > 1)


def scorer() -> nn.Sequential:
    """Logits whose argmax is `SIDES`, and a dropout that hardly matters."""
    last = nn.Linear(2, 3)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[-9.0, 0], [0, 0], [9.0, 0]]))
        last.bias.copy_(torch.tensor([0.0, 0, -9]))
    return nn.Sequential(nn.Dropout(0.1), last)


def linear(weight: list[list[float]]) -> nn.Sequential:
    """Outputs W x."""
    layer = nn.Linear(2, len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return nn.Sequential(nn.Dropout(0.1), layer)


def told(*arguments: Any, **options: Any) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mcdrop.adopt(*arguments, **options)
    return " ".join(str(warning.message) for warning in caught if "always" in str(warning.message))


@pytest.mark.parametrize(
    ("classes", "shown"),
    [(["left", "middle", "right"], ""), (["right", "left", "middle"], "where always 'left' has")],
)
def test_classes_in_another_order_are_told(classes: list[str], shown: str, tmp_path: Path) -> None:
    truth = np.array(["left", "middle", "right"])[SIDES]
    said = told(scorer(), X, truth, "a", tmp_path, classes=classes)
    assert shown in said
    assert bool(said) == bool(shown)


@pytest.mark.parametrize(("unit", "shown"), [(1.0, ""), (100.0, "rmse ")])
def test_outputs_in_another_unit_are_told(unit: float, shown: str, tmp_path: Path) -> None:
    said = told(linear([[1.0, 1.0]]), X, (X.sum(axis=1) + 5 * (unit > 1)) * unit, "a", tmp_path)
    assert said.startswith(shown)
    assert bool(said) == bool(shown)


def test_each_target_is_looked_at(tmp_path: Path) -> None:
    network = linear([[1.0, 0.0], [0.0, 1.0]])
    said = told(network, X, X * [1, -1], "a", tmp_path, targets=["up", "down"])
    assert "rmse_down" in said


def test_chance_alone_is_not_told(tmp_path: Path) -> None:
    """Answers of no worth are no better than a constant, but hardly worse either."""
    card = read_card(mcdrop.adopt(scorer(), X, SIDES, "a", tmp_path))
    y = np.repeat([0, 1, 2], [50, 30, 20])
    accuracy = {"deterministic": {"accuracy": 0.45}}
    for high, worse in ((0.55, False), (0.5, False), (0.49, True)):
        intervals = {"deterministic": {"accuracy": (0.4, high)}}
        found = card.model_copy(update={"metrics": accuracy, "intervals": intervals})
        assert bool(worse_than_constant(found, y)) == worse
