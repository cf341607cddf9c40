"""Networks of every kind: normalized, convolutional, behind a trunk."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.errors import NetworkError
from mcdrop.masks import balanced_masks
from mcdrop.posterior import Posterior
from mcdrop.uncertainty import summarize_classes
from tests.oracle import masked_loop, rows, softmax
from tests.posterior.comparing import largest_z, threshold


def every_kind():
    return nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.GELU()),
        nn.Dropout(0.2),
        nn.Linear(16, 12),
        nn.LayerNorm(12),
        nn.Tanh(),
        nn.Dropout(0.4),
        nn.Linear(12, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(8, 3),
    )


def test_normalization_layers_match_the_masked_loop_and_stay_untouched():
    torch.manual_seed(0)
    network = every_kind()
    x = torch.randn(64, 4, 6)
    network(x)  # moves the running statistics off their start
    network.train()
    before = copy.deepcopy(network.state_dict())
    posterior = Posterior(network, 40)
    samples = posterior.sample(x[:7])
    posterior.predict(x[:1])
    assert network.training
    assert all(module.training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    masks = [
        balanced_masks(0, layer, range(40), units, rate)
        for layer, (units, rate) in enumerate([(16, 0.2), (12, 0.4), (8, 0.1)])
    ]
    flat = copy.deepcopy(network)
    flat = nn.Sequential(*[m for m in flat.modules() if not isinstance(m, nn.Sequential)])
    want = softmax(masked_loop(flat, x[:7], masks))
    np.testing.assert_allclose(samples, want, atol=1e-5)


def test_convolutional_trunk_and_dropout_on_feature_maps():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.Conv2d(4, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(12, 4),
    )  # fmt: skip
    x = torch.randn(5, 1, 8, 8)
    got = Posterior(network, 64).predict(x)
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    with torch.no_grad():
        loop = np.stack([network(x).softmax(-1).double().numpy() for _ in range(2000)])
    want = summarize_classes(loop, got.mean)
    error = np.hypot(want.std / np.sqrt(64), want.mc_error)
    assert largest_z(got.mean, want.mean, error) < threshold(20)


class Backbone(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate, self.layer, self.norm = rate, nn.Linear(20, 16), nn.BatchNorm1d(16)

    def forward(self, x):
        return torch.relu(nn.functional.dropout(self.norm(self.layer(x)), self.rate, self.training))


class Noise(nn.Identity):
    def forward(self, x):
        return x + torch.rand(1)


class Triple(nn.Identity):
    def forward(self, x):
        return 3 * x


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("first", [Triple(), Doubled(20, 20)])
def test_a_module_that_only_looks_like_a_plain_one_is_run_as_it_is(first):
    network = nn.Sequential(first, nn.Linear(20, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    x = rows(7, 20)
    got = Posterior(network, 4).predict(x).deterministic.probabilities
    want = network.eval()(x).softmax(-1).detach()
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_any_trunk_that_draws_nothing_runs_once():
    network = nn.Sequential(Backbone(0.0), nn.Dropout(0.5), nn.Linear(16, 3))
    before = copy.deepcopy(network.state_dict())
    x = rows(7, 20)
    got = Posterior(network, 40).sample(x)
    hidden = network.eval()[0](x).detach()
    want = masked_loop(network[1:], hidden, [balanced_masks(0, 0, range(40), 16, 0.5)])
    np.testing.assert_allclose(got, softmax(want), atol=1e-2)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Backbone(0.3), "Backbone"),
        (nn.TransformerEncoderLayer(20, 2, batch_first=True), "TransformerEncoderLayer"),
        (Noise(), "Noise"),
    ],
)
def test_a_trunk_that_draws_is_refused_by_name(module, name):
    network = nn.Sequential(module, nn.Dropout(0.5), nn.LazyLinear(3))
    network.eval()(rows(3, 20))
    with pytest.raises(NetworkError, match=rf"Sequential\.0 is a {name} that draws"):
        Posterior(network, 4).predict(rows(3, 20))


def test_layers_on_the_last_of_many_axes():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Unflatten(1, (4, 5)), nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.4), nn.Linear(6, 3),
        nn.Flatten(), nn.Linear(12, 2),
    )  # fmt: skip
    posterior = Posterior(network, 20)
    whole = posterior.predict(rows(90, 20))
    assert whole.mean.shape == (90, 2)
    np.testing.assert_allclose(
        posterior.predict(rows(90, 20)[7:8]).mean, whole.mean[7:8], atol=1e-6
    )


@pytest.mark.parametrize("masks", ["shared", "independent"])
def test_linear_layers_over_the_last_of_several_axes(masks, monkeypatch):
    """A trunk may leave more axes than a kernel takes; its units drop one by one all the same."""
    torch.manual_seed(0)
    modules = nn.Conv1d(1, 1, 3), nn.Dropout(0.5), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2)
    network, x = nn.Sequential(*modules), torch.randn(5, 1, 10)
    got = Posterior(network, 40, masks=masks).predict(x)
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    want = Posterior(network, 40, masks=masks)
    assert want.engine == "torch"
    np.testing.assert_allclose(got.mean, want.predict(x).mean, rtol=1e-5, atol=1e-6)
    outputs = want.sample(x)
    np.testing.assert_allclose(got.mean, outputs.mean(axis=0), rtol=1e-5, atol=1e-6)
