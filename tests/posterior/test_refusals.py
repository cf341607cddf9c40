"""What the posterior refuses, by name: hidden dropout, bad rows, bad settings."""

import numpy as np
import pytest
import torch
from torch import nn

from mcdrop.errors import InputError, NetworkError
from mcdrop.network import DropoutMLP
from mcdrop.posterior import Posterior
from tests.oracle import mlp, rows
from tests.posterior.comparing import CLASSIFIER, INPUT_DROPOUT


class Loud(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(1)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Loud(4, 4), "Loud"),
        (nn.LSTM(4, 4, 2, dropout=0.5), "LSTM"),
        (nn.TransformerEncoderLayer(4, 2), "TransformerEncoderLayer"),
        (nn.MultiheadAttention(4, 2, dropout=0.1), "MultiheadAttention"),
        (nn.RReLU(), "RReLU"),
        (nn.AlphaDropout(0.5), "AlphaDropout"),
        (nn.FractionalMaxPool2d(2, output_size=2), "FractionalMaxPool2d"),
        (nn.Dropout(1.0), "Dropout"),
        (nn.BatchNorm1d(4, track_running_stats=False), "BatchNorm1d"),
        (nn.Softmax(dim=1), "Softmax"),
    ],
)
def test_what_cannot_be_seen_is_refused_by_name(module, name):
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.5), module))
    with pytest.raises(NetworkError, match=rf"1\.1 is a {name}"):
        Posterior(network)


def test_other_networks_are_refused():
    with pytest.raises(NetworkError, match=r"LSTM\.forward"):
        Posterior(nn.LSTM(4, 4))
    hooked = mlp(*CLASSIFIER)
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(NetworkError, match="hooks"):
        Posterior(hooked)
    with pytest.raises(NetworkError, match="two outputs"):
        Posterior(mlp(*INPUT_DROPOUT), task="classification").predict(rows(2, 13))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 19), "19 features, wanted 20"),
        (torch.zeros(20), "shape"),
        (torch.zeros(3, 4, 5, 2), "features|cannot take"),
        (torch.full((3, 20), torch.nan), "row 0 holds NaN"),
        (np.array([[0.0] * 20, [np.inf] + [0.0] * 19]), "row 1 holds"),
        ([["a"] * 20], "numbers"),
        (torch.zeros(2, 20, dtype=torch.complex64), "shape|numbers"),
    ],
)
def test_bad_rows_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        Posterior(mlp(*CLASSIFIER), 4).predict(x)


ASKED = {
    "predict": lambda posterior, x: posterior.predict(x),
    "stream": lambda posterior, x: list(posterior.stream(x)),
    "until": lambda posterior, x: posterior.until(x, 0.1),
    "sample": lambda posterior, x: posterior.sample(x),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(("count", "place"), [(1, 0), (700, 699)])
def test_no_activation_hides_a_bad_number(ask, bad, count, place):
    network = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))
    nn.init.constant_(network[0].weight, -1.0 if bad > 0 else 1.0)  # what is infinite becomes 0
    x = torch.zeros(count, 1)
    x[place] = bad
    posterior = Posterior(network, 4)
    ask(posterior, torch.zeros(count, 1))
    with pytest.raises(InputError, match=f"row {place} holds"):
        ask(posterior, x)


@pytest.mark.parametrize(
    "arguments",
    [
        {"samples": 0},
        {"samples": 1.5},
        {"seed": -1},
        {"seed": 2**64},
        {"task": "clustering"},
        {"masks": "none"},
        {"precision": "int8"},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"aleatoric": -1.0},
        {"target_variance": [[1.0]]},
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Posterior(mlp(*CLASSIFIER), **arguments)


def test_a_learned_variance_needs_a_regression_and_pairs_of_outputs():
    with pytest.raises(InputError, match="needs task 'regression'"):
        Posterior(mlp((3, 8, 2), (0.0, 0.3)), variance="learned")
    odd = Posterior(mlp((3, 8, 3), (0.0, 0.3)), task="regression", variance="learned")
    with pytest.raises(NetworkError, match="the network has 3 outputs"):
        odd.predict(rows(2, 3))


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 5, 1)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), nn.Dropout(0.5)),
        nn.Sequential(nn.Unflatten(1, (6, 8)), nn.Dropout(0.5), nn.Linear(8, 5)),
    ],
)
def test_a_map_of_outputs_is_no_vector_of_classes(network):
    x = torch.ones(2, 48) if isinstance(network[0], nn.Unflatten) else torch.ones(2, 3, 8, 8)
    with pytest.raises(NetworkError, match="wanted one vector"):
        Posterior(network).predict(x)
    with pytest.raises(NetworkError, match="wanted one vector"):
        Posterior(network).sample(x)
    flat = Posterior(nn.Sequential(*network, nn.Flatten()), task="regression")
    assert flat.predict(x).mean.shape == (2, network(x).numel() // 2)


def test_outputs_on_a_map_of_one_place_are_a_vector():
    pooled = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1))
    assert Posterior(pooled).predict(torch.ones(2, 3, 8, 8)).probabilities.shape == (2, 5)


@pytest.mark.parametrize("hidden", [nn.ReLU(), nn.Dropout(0.0), nn.Dropout(0.5)])
def test_a_network_that_drops_nothing_is_told_of(hidden, recwarn):
    Posterior(nn.Sequential(nn.Linear(4, 4), hidden, nn.Linear(4, 2)))
    told = [str(warning.message) for warning in recwarn if warning.filename == __file__]
    assert any("drops nothing" in text for text in told) == (getattr(hidden, "p", 0) == 0)


def test_a_network_that_was_asked_to_drop_nothing_is_not_told_of(recwarn):
    Posterior(DropoutMLP(4, [4], 2, dropout=0.0))
    assert not recwarn.list
