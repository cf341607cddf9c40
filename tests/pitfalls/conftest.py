"""A network that drops half of its units, and rows for it."""

import pytest
import torch
from torch import nn

from tests.oracle import mlp, rows
from tests.pitfalls import B, C


@pytest.fixture
def network() -> nn.Sequential:
    return mlp((6, 32, C), (0.0, 0.5), gain=2.0)


@pytest.fixture
def x() -> torch.Tensor:
    return rows(B, 6)
