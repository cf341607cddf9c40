"""Moments without sampling: exact where they can be, close where they cannot."""

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.errors import InputError, NetworkError
from mcdrop.moments import propagate_moments
from mcdrop.posterior import Posterior
from tests.oracle import every_mask, mlp, rows


def test_one_linear_layer_has_its_exact_moments() -> None:
    network, x = mlp((3, 2), (0.4,)), rows(5, 3)
    weights, outputs = every_mask(network, x)
    mean = np.einsum("m,mbc->bc", weights, outputs)
    variance = np.einsum("m,mbc->bc", weights, np.square(outputs - mean))
    got = propagate_moments(network, x)
    np.testing.assert_allclose(got[0], mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(got[1], variance, rtol=1e-6, atol=1e-7)


def test_without_dropout_it_is_the_network() -> None:
    network, x = mlp((6, 20, 20, 3), (0, 0, 0)), rows(9, 6)
    mean, variance = propagate_moments(network, x)
    np.testing.assert_allclose(mean, network(x).detach(), rtol=1e-5, atol=1e-6)
    assert not variance.any()


def test_rectified_gaussians_have_the_moments_of_many_draws() -> None:
    """Two layers of which the second sees nearly Gaussian, nearly independent units."""
    network, x = mlp((400, 60, 1), (0.5, 0.0)), rows(6, 400)
    sampled = Posterior(network, 5000, task="regression").predict(x)
    mean, variance = propagate_moments(network, x)
    spread = np.sqrt(sampled.epistemic)
    assert np.abs((mean - sampled.mean) / spread).max() < 0.1
    np.testing.assert_allclose(np.sqrt(variance) / spread, 1.0, atol=0.4)


def test_dropout_at_the_end_and_flatten_are_taken() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 4), nn.ReLU())
    mean, variance = propagate_moments(network, torch.randn(5, 2, 4))
    assert mean.shape == variance.shape == (5, 4)
    assert (variance > 0).any()


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(NetworkError, match="sample the posterior"):
        propagate_moments(nn.Sequential(nn.Linear(3, 3), nn.GELU()), rows(2, 3))
    with pytest.raises(InputError, match="3"):
        propagate_moments(mlp((3, 4, 1), (0.0, 0.5)), rows(2, 4))
