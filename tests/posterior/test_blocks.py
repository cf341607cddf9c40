"""Masks that change from block to block of rows."""

import numpy as np
import pytest

from mcdrop.errors import InputError
from mcdrop.masks import balanced_masks
from mcdrop.posterior import Posterior
from tests.oracle import masked_loop, mlp, rows, softmax
from tests.posterior.comparing import CLASSIFIER


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_masks_may_change_from_block_to_block(engine, monkeypatch):
    if engine == "torch":
        monkeypatch.setenv("MCDROP_ENGINE", "torch")
    network, x = mlp(*CLASSIFIER), rows(50, 20)
    blocks = Posterior(network, 40, seed=3, block=16, precision="float32")
    shared = Posterior(network, 40, seed=3, precision="float32")
    passes = blocks.sample(x)
    np.testing.assert_allclose(passes[:, :16], shared.sample(x[:16]), rtol=1e-5, atol=1e-6)
    for block in range(4):
        part = slice(16 * block, 16 * block + 16)
        masks = [
            balanced_masks(3, layer, range(40), units, rate, row=block)
            for layer, (units, rate) in enumerate([(48, 0.3), (32, 0.5)])
        ]
        want = softmax(masked_loop(network, x[part], masks))
        np.testing.assert_allclose(passes[:, part], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(blocks.predict(x).mean, passes.mean(axis=0), atol=1e-6)
    *_, last = blocks.stream(x)
    np.testing.assert_allclose(last.mean, passes.mean(axis=0), atol=1e-6)


def test_averages_over_rows_vary_less_with_blocks_of_masks():
    """Between seeds; shared masks move all rows together."""
    network, x = mlp(*CLASSIFIER), rows(1, 20).repeat(256, 1)
    scatter = [
        np.std([Posterior(network, 8, seed, block=block).predict(x).mean[:, 0].mean()
                for seed in range(40)])
        for block in (None, 16)
    ]  # fmt: skip
    assert scatter[1] < scatter[0] / 2  # sixteen sets of masks: a quarter is expected


def test_blocks_need_shared_masks():
    with pytest.raises(InputError, match="no block"):
        Posterior(mlp(*CLASSIFIER), masks="independent", block=4)
    with pytest.raises(InputError, match="block"):
        Posterior(mlp(*CLASSIFIER), block=0)
