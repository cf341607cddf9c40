"""As many passes as each row needs."""

import numpy as np
import pytest
import torch

from mcdrop.errors import InputError
from mcdrop.posterior import Posterior
from tests.oracle import mlp, rows
from tests.posterior.comparing import CLASSIFIER


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("count", [1, 3, 5, 40])
def test_each_row_takes_the_passes_it_needs(engine, count, monkeypatch):
    """A row's answer is that of as many passes alone, whatever rows are beside it."""
    monkeypatch.setenv("MCDROP_ENGINE", engine)
    network, x = mlp(*CLASSIFIER, gain=1.3), rows(count, 20)
    x[::2] *= 0.02  # rows that need few passes
    got = Posterior(network, 500, precision="float32").until(x, 0.012)
    assert got.passes is not None
    assert got.samples == got.passes.max()
    if count > 3:
        assert got.passes.min() < got.passes.max()
    done = got.settled(0.012)
    assert (got.passes[~done] == 500).all()
    for row in range(0, count, 7):
        alone = Posterior(network, int(got.passes[row]), precision="float32").predict(x[row][None])
        np.testing.assert_allclose(got.mean[row], alone.mean[0], atol=2e-6)
        np.testing.assert_allclose(got.epistemic[row], alone.epistemic[0], atol=2e-6)
        np.testing.assert_allclose(got.mc_error[row], alone.mc_error[0], rtol=1e-3, atol=1e-7)


def test_passes_until_certain_is_at_least_a_block_and_at_most_all():
    network, x = mlp(*CLASSIFIER), rows(6, 20)
    assert (Posterior(network, 200).until(x, 10.0).passes == 32).all()
    assert (Posterior(network, 200).until(x, 1e-9).passes == 200).all()
    assert (Posterior(network, 20).until(x, 1e-9).passes == 20).all()
    assert Posterior(network, 200).until(x[:0], 0.01).mean.shape == (0, 5)


def test_a_regression_is_certain_relative_to_its_spread():
    network, x = mlp((8, 32, 1), (0.0, 0.5)), rows(9, 8)
    for scale, offset in ((1.0, 0.0), (1e3, 1e4)):
        with torch.no_grad():
            network[-1].weight *= scale
            network[-1].bias.mul_(scale).add_(offset)
        got = Posterior(network, 2000).until(x, 0.03)
        assert (got.mc_error[got.passes < 2000] <= 0.03 * got.std[got.passes < 2000]).all()
        noisy = Posterior(network, 2000, aleatoric=(10 * scale) ** 2).until(x, 0.03)
        assert (noisy.passes <= got.passes).all()


def test_passes_until_certain_says_what_it_cannot_do():
    network, x = mlp(*CLASSIFIER), rows(2, 20)
    for tolerance in (0.0, float("nan"), -1.0):
        with pytest.raises(InputError, match="tolerance"):
            Posterior(network, 10).until(x, tolerance)
    with pytest.raises(InputError, match="share them"):
        Posterior(network, 10, masks="independent").until(x, 0.1)
