"""Mistakes of BAAL, FD-Shifts and Keras-Uncertainty."""

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop import Posterior, metrics
from mcdrop.uncertainty import entropy, summarize_classes
from tests.oracle import mlp, rows, softmax
from tests.pitfalls import B, C, T


def test_baal_averages_logits_before_the_softmax() -> None:
    """Entropy 1.33 where that of the mean probabilities is 1.73."""
    logits = 4 * np.random.default_rng(0).normal(size=(T, B, C))
    answer = summarize_classes(softmax(logits), softmax(logits.mean(0)))
    np.testing.assert_allclose(answer.total, entropy(softmax(logits).mean(0)))
    theirs = entropy(softmax(logits.mean(0)))
    assert (answer.total - theirs).mean() > 0.1


def test_baal_decides_per_array_whether_numbers_are_logits() -> None:
    """A row whose logits look like probabilities was read otherwise beside other rows."""
    network = nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(2))
    like, unlike = torch.tensor([[0.3, 0.7]]), torch.tensor([[-5.0, 9.0]])
    posterior = Posterior(network, 4)
    alone, together = posterior.predict(like), posterior.predict(torch.cat([like, unlike]))
    np.testing.assert_allclose(alone.mean[0], together.mean[0], atol=1e-7)
    np.testing.assert_allclose(alone.mean, softmax(like.numpy()), atol=1e-6)


def test_baal_cache_returns_stale_output(network: nn.Sequential, x: torch.Tensor) -> None:
    """Its caching module knew neither rows overwritten in place nor weights that changed."""
    posterior = Posterior(network, T)
    first = posterior.predict(x)
    x += 1
    moved = posterior.predict(x)
    assert not np.allclose(moved.mean, first.mean)
    np.testing.assert_allclose(moved.mean, Posterior(network, T).predict(x).mean, atol=1e-7)
    with torch.no_grad():
        network[-1].weight *= 2
    assert not np.allclose(posterior.predict(x).mean, moved.mean)


def test_fd_shifts_score_reads_row_0_only(network: nn.Sequential, x: torch.Tensor) -> None:
    """A WAIC score gave every row the value of the first."""
    together = Posterior(network, T).predict(x)
    for name in ("epistemic", "total", "confidence"):
        values = getattr(together, name)
        assert len(set(values.round(9))) == B
        for row in range(B):
            alone = getattr(Posterior(network, T).predict(x[row : row + 1]), name)[0]
            assert values[row] == pytest.approx(alone, abs=1e-6)


def test_keras_uncertainty_ignores_batch_size() -> None:
    """All rows went through the network at once, T times over; here blocks bound the memory."""
    import tracemalloc

    wide = mlp((6, 64, C), (0.0, 0.5))
    x = rows(20_000, 6)
    posterior = Posterior(wide, 200)
    posterior.predict(x[:2000])
    tracemalloc.start()
    answer = posterior.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(answer) == 20_000
    assert peak < 200 * 20_000 * C * 8 / 4  # all passes of all rows at once would be 160 MB


def test_keras_uncertainty_nll_is_a_summed_binary_cross_entropy() -> None:
    """It summed over rows, and over classes the entropy of yes and no."""
    p, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]), np.array([0, 1])
    expected = -(np.log(0.7) + np.log(0.1)) / 2
    assert metrics.nll(p, y) == pytest.approx(expected)
    assert metrics.nll(np.tile(p, (50, 1)), np.tile(y, 50)) == pytest.approx(expected)
