"""Forwards as people write them, unrolled: the same answers, or a refusal that says where."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mcdrop
from mcdrop.errors import NetworkError
from mcdrop.plan import sequence

X = torch.randn(6, 1, 12, 12, generator=torch.Generator().manual_seed(0))


class Pictures(nn.Module):
    """Functions, methods, a reshape by size, and a rate that is no module's."""

    def __init__(self, rate: float = 0.2) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3)
        self.dropout, self.rate = nn.Dropout(0.3), rate
        self.hidden, self.out = nn.Linear(8 * 3 * 3, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.leaky_relu(self.first(x), 0.2), 2)
        x = F.adaptive_avg_pool2d(torch.tanh(self.second(x)), (3, 3))
        x = self.dropout(x.view(x.size(0), -1))
        x = F.dropout(self.hidden(x).relu(), p=self.rate, training=self.training)
        return F.log_softmax(self.out(x), dim=1)


class Value(nn.Module):
    """One activation and one dropout used twice, blocks of the user's own, a squeezed output."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(144, 8), nn.Sequential(Block(8, 8)))
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.blocks(x.flatten(1))).squeeze(-1)


class Block(nn.Module):
    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, units), nn.Linear(units, units)
        self.act, self.drop = nn.ReLU(), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.act(self.outer(self.drop(self.act(self.inner(x))))))


def blocks() -> nn.Module:
    """Blocks of the user's own in a sequence of PyTorch's."""
    return nn.Sequential(nn.Flatten(), Block(144, 8), Block(8, 8), nn.Linear(8, 3))


class Residual(nn.Module):
    """A sum before the dropout, in a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Sum(nn.Linear(144, 144))
        self.drop, self.out = nn.Dropout(0.4), nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.trunk(torch.flatten(x, 1))))


class Sum(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def outputs(found: Tensor) -> np.ndarray:
    return (found[:, None] if found.dim() == 1 else found.softmax(-1)).numpy()


@pytest.mark.parametrize("kind", [Pictures, Value, Residual, blocks])
def test_a_forward_is_asked_as_it_answers(kind: Callable[[], nn.Module]) -> None:
    """Means of 1,000 passes each, six standard errors apart at most: one run in 10^7 alarms."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind().train()
        with torch.no_grad():
            together = outputs(network(X.repeat(1000, 1, 1, 1)))
            passes = together.reshape(1000, len(X), -1)
            plain = outputs(network.eval()(X))
    network.train()
    answer = mcdrop.Posterior(network, 1000).predict(X)
    fixed = answer.deterministic
    got = fixed.probabilities if answer.task == "classification" else fixed.mean
    np.testing.assert_allclose(got, plain, atol=1e-6)
    error = passes.std(0) * np.sqrt(2 / 1000)
    assert (np.abs(answer.mean - passes.mean(0)) <= 6 * error + 1e-6).all()
    assert all(module.training for module in network.modules())


def test_a_weight_that_changes_is_noticed() -> None:
    network = Value()
    posterior = mcdrop.Posterior(network)
    before = posterior.predict(X).mean
    with torch.no_grad():
        network.out.bias.add_(1)
    np.testing.assert_allclose(posterior.predict(X).mean, before + 1, rtol=1e-5)


def test_modules_named_twice_in_a_sequence_are_used_twice() -> None:
    act, drop = nn.Tanh(), nn.Dropout(0.3)
    network = nn.Sequential(nn.Linear(4, 8), act, drop, nn.Linear(8, 8), act, drop, nn.Linear(8, 3))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    got = mcdrop.Posterior(network).predict(x).deterministic.probabilities
    with torch.no_grad():
        np.testing.assert_allclose(got, outputs(network.eval()(x)), atol=1e-6)


class Late(nn.Module):
    """A sum after the dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.inner = nn.Dropout(0.4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(self.drop(x))


class Mixing(nn.Module):
    """Flattens rows into each other."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(torch.flatten(x))


class Choosing(nn.Module):
    """Looks at the numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Attending(nn.Module):
    """Calls a module with the rows three times over."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop = nn.MultiheadAttention(4, 1), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.inner(x, x, x))


class Twofold(nn.Module):
    """Another layer, or a temperature, in eval mode."""

    def __init__(self, other: nn.Module) -> None:
        super().__init__()
        self.drop, self.inner, self.other = nn.Dropout(0.4), nn.Linear(4, 4), other

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x, 0.3) if self.training else x
        return self.inner(self.drop(x)) if self.training else self.other(self.drop(x))


class Sharpened(Twofold):
    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.drop(x))
        return x if self.training else F.leaky_relu(x, 0.5)


@pytest.mark.parametrize(
    ("network", "where"),
    [
        (Twofold(nn.Linear(4, 4)), r"Twofold\.forward does something else in eval mode"),
        (Sharpened(nn.Identity()), r"Sharpened\.forward does something else in eval mode"),
        (Late(), r"Late\.forward is no chain of modules at 'add'"),
        (Mixing(), r"Mixing\.forward is no chain of modules at 'flatten'"),
        (Choosing(), r"Choosing\.forward cannot be followed"),
        (Attending(), r"Attending\.forward is no chain of modules at 'inner'"),
        (nn.LSTM(4, 4), r"LSTM\.forward cannot be followed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_chain_is_refused_where_it_parts(network: nn.Module, where: str) -> None:
    with pytest.raises(NetworkError, match=where):
        sequence(network)


def test_a_dropout_may_be_left_out_by_hand_in_eval_mode() -> None:
    network = Twofold(nn.Identity())
    network.other = network.inner
    assert [type(each).__name__ for each in sequence(network)] == ["Dropout", "Dropout", "Linear"]


def test_hooks_are_refused() -> None:
    network = Value()
    network.register_forward_hook(lambda *_: None)
    with pytest.raises(NetworkError, match="Value has forward hooks"):
        mcdrop.Posterior(network)


def test_a_softmax_is_to_be_left_out() -> None:
    with pytest.raises(NetworkError, match=r"Sequential\.2 is a Softmax: leave it out"):
        mcdrop.Posterior(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1), nn.Softmax(dim=1)))


@pytest.mark.parametrize(
    "wrap", [torch.compile, nn.DataParallel, lambda n: torch.compile(nn.DataParallel(n))]
)
def test_what_wraps_a_network_is_taken_off(wrap: Callable[[nn.Module], nn.Module]) -> None:
    first = nn.Linear(4, 8)
    network = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    x, wrapped = torch.randn(5, 4), wrap(network)
    posterior = mcdrop.Posterior(wrapped, 20)
    assert np.array_equal(posterior.sample(x), mcdrop.Posterior(network, 20).sample(x))
    with torch.no_grad():
        first.weight.mul_(2)
    assert np.array_equal(posterior.sample(x), mcdrop.Posterior(network, 20).sample(x))
