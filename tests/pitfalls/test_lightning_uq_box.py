"""Mistakes of lightning-uq-box."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop import Posterior
from mcdrop.scoring import columns
from mcdrop.uncertainty import summarize_outputs
from tests.oracle import mlp, rows
from tests.pitfalls import B, C, T


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
