"""The feed: the same batches wherever rows lie."""

import pytest
import torch

from mcdrop import feed
from mcdrop.feed import Feed
from mcdrop.training import fit
from tests.test_training import blobs, recipe

CPU = torch.device("cpu")


def test_rows_that_do_not_fit_come_in_chunks_of_whole_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = torch.rand(103, 7), torch.arange(103)
    order = torch.randperm(103, generator=torch.Generator().manual_seed(0))
    resident = list(Feed(x, y, CPU, 10).batches(order))
    monkeypatch.setattr(feed, "_fits", lambda size, device: False)
    monkeypatch.setattr(feed, "_CHUNK", 25 * (7 * 4 + 8))
    streamed = Feed(x, y, CPU, 10)
    assert streamed.chunk == 20
    for (rows, truth), (other, same) in zip(resident, streamed.batches(order), strict=True):
        assert torch.equal(rows, other)
        assert torch.equal(truth, same)
    assert torch.equal(torch.cat([truth for _, truth in resident]), order)


def test_streamed_rows_train_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(recipe(), blobs())
    monkeypatch.setattr(feed, "_fits", lambda size, device: False)
    monkeypatch.setattr(feed, "_CHUNK", 1)
    streamed = fit(recipe(), blobs())
    for first, again in zip(whole.network.parameters(), streamed.network.parameters(), strict=True):
        assert torch.equal(first, again)
