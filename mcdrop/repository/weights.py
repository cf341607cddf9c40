"""A version's network: its weights in the layers that its card describes."""

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from mcdrop.adopted import Adopted
from mcdrop.card import Card
from mcdrop.errors import NetworkError, RepositoryError
from mcdrop.layers import build_layers
from mcdrop.network import build_network, with_spread
from mcdrop.repository.folders import WEIGHTS
from mcdrop.repository.reading import read_checked

__all__ = ["load_network"]


def load_network(path: Path, card: Card) -> nn.Sequential:
    """The network of the version folder ``path``, in eval mode, on the CPU.

    Its dropout rates are those it is served with: the recipe's, at the card's spread.

    Raises:
        RepositoryError: the weights are absent, do not hash to the card's SHA-256, or do not fit
            the network the card describes.
    """
    content = read_checked(path / WEIGHTS, card.weights_sha256)
    try:
        network = _build(card, safetensors.torch.load(content))
    except (RuntimeError, NetworkError, safetensors.SafetensorError) as error:
        raise RepositoryError(f"{path / WEIGHTS} does not fit its card: {error}") from None
    return with_spread(network.eval(), card.calibration.spread)


def _build(card: Card, state: dict[str, torch.Tensor]) -> nn.Sequential:
    if isinstance(card.recipe, Adopted):
        return build_layers(card.recipe.network.layers, state)
    network = build_network(card.recipe.network, card.in_features, card.out_features)
    network.load_state_dict(state)
    return network
