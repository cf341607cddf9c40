"""Whether the comparison with other libraries would notice that it compares different things."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.networks import SAMPLES, build
from benchmarks.peers import PEERS, Peer, agreeing, installed


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return build("784-256-128-10").eval()


def logits(network: nn.Sequential, x: Tensor, samples: int = SAMPLES) -> Tensor:
    with torch.inference_mode():
        network.train()
        return torch.stack([network(x) for _ in range(samples)])  # (T, B, C)


def test_a_loop_agrees(network: nn.Sequential) -> None:
    peer = Peer("plain", "a loop", lambda net: lambda x: logits(net, x).softmax(-1).mean(0))
    x = torch.randn(3, 784)
    assert agreeing(peer, network)(x).shape == (3, 10)
    assert not network.training  # what a peer changes is a copy


@pytest.mark.parametrize(
    "predict",
    [
        lambda net, x: net(x).softmax(-1).detach(),
        lambda net, x: logits(net, x).mean(0).softmax(-1),
        lambda net, x: logits(net, x, SAMPLES // 2).softmax(-1).mean(0),
        lambda net, x: logits(net, x, SAMPLES * 2).softmax(-1).mean(0),
    ],
    ids=["nothing dropped", "means of logits", "half the passes", "twice the passes"],
)
def test_something_else_does_not(
    network: nn.Sequential, predict: Callable[[nn.Sequential, Tensor], Tensor]
) -> None:
    peer = Peer("plain", "other", lambda net: lambda x: predict(net, x))
    with pytest.raises(ValueError, match="mend the adapter"):
        agreeing(peer, network)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: f"{peer.package}, {peer.way}")
def test_a_library_agrees(network: nn.Sequential, peer: Peer) -> None:
    if installed(peer.package) is None:
        pytest.skip(f"{peer.package} is not installed: see benchmarks/peers.py")
    agreeing(peer, network)
