"""Schedules: their ends, their tops, and PyTorch's own as the oracle."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mcdrop.errors import InputError
from mcdrop.schedules import lr_factor


@given(st.sampled_from(["constant", "cosine", "one-cycle"]), st.integers(4, 500))
def test_factors_stay_between_0_and_1(schedule: str, steps: int) -> None:
    factors = [lr_factor(schedule, step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)


def test_cosine_falls_from_1_to_0() -> None:
    assert lr_factor("cosine", 0, 10) == 1
    assert lr_factor("cosine", 5, 10) == pytest.approx(0.5)
    assert lr_factor("cosine", 10, 10) == pytest.approx(0)


@pytest.mark.parametrize("steps", [10, 333])
def test_one_cycle_is_pytorchs(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=steps)
    for step in range(steps):
        assert 2 * lr_factor("one-cycle", step, steps) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        if step < steps - 1:
            oracle.step()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_have_a_rate(steps: int) -> None:
    factors = [lr_factor("one-cycle", step, steps) for step in range(steps)]
    assert all(math.isfinite(f) and 0 < f <= 1 for f in factors)


def test_unknown_schedules_are_refused() -> None:
    with pytest.raises(InputError, match="use constant, cosine or one-cycle"):
        lr_factor("linear", 0, 10)
