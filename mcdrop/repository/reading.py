"""Versions read: the card alone, or what its hashes vouch for."""

import hashlib
import json
from pathlib import Path

import safetensors.numpy
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn

from mcdrop.calibration import Reference
from mcdrop.card import Card, Examples
from mcdrop.errors import NetworkError, RepositoryError
from mcdrop.layers import Adopted, build_layers
from mcdrop.network import build_network, with_spread
from mcdrop.repository.folders import CARD, EXAMPLES, REFERENCE, WEIGHTS

__all__ = ["digest", "load_examples", "load_network", "load_reference", "read_card"]


def read_card(path: Path) -> Card:
    """The card of the version folder ``path``, without reading its weights.

    Raises:
        RepositoryError: absent, or not a card this version of mcdrop can read.
    """
    try:
        fields = json.loads((path / CARD).read_text(encoding="utf-8"))
        return Card.model_validate({**fields, "name": path.parent.name, "version": path.name})
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        raise RepositoryError(f"{path / CARD} cannot be read: {error}; train again") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise RepositoryError(
            f"{path / CARD} is not a card this version of mcdrop can read: {where}: "
            f"{fault['msg']}; train again"
        ) from None


def load_network(path: Path, card: Card) -> nn.Sequential:
    """The network of the version folder ``path``, in eval mode, on the CPU.

    Its dropout rates are those it is served with: the recipe's, at the card's spread.

    Raises:
        RepositoryError: the weights are absent, do not hash to the card's SHA-256, or do not fit
            the network the card describes.
    """
    content = _read_checked(path / WEIGHTS, card.weights_sha256)
    try:
        network = _build(card, safetensors.torch.load(content))
    except (RuntimeError, NetworkError, safetensors.SafetensorError) as error:
        raise RepositoryError(f"{path / WEIGHTS} does not fit its card: {error}") from None
    return with_spread(network.eval(), card.calibration.spread)


def load_reference(path: Path, card: Card) -> Reference:
    """What the model of the version folder ``path`` made of its calibration rows.

    Raises:
        RepositoryError: the file is absent, altered, or does not fit this version of mcdrop.
    """
    content = _read_checked(path / REFERENCE, card.reference_sha256)
    try:
        return Reference(card.recipe.calibration, **safetensors.numpy.load(content))
    except (TypeError, safetensors.SafetensorError) as error:
        raise RepositoryError(f"{path / REFERENCE} does not fit its card: {error}") from None


def load_examples(path: Path, card: Card) -> Examples:
    """The example rows of the version folder ``path``; no rows where it came without them.

    Raises:
        RepositoryError: the file is absent, altered, or not of examples.
    """
    if card.examples_sha256 is None:
        return Examples()
    content = _read_checked(path / EXAMPLES, card.examples_sha256)
    try:
        return Examples.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise RepositoryError(f"{path / EXAMPLES} holds no examples: {fault}") from None


def digest(content: bytes) -> str:
    """What a card says of a file's content."""
    return hashlib.sha256(content).hexdigest()


def _build(card: Card, state: dict[str, torch.Tensor]) -> nn.Sequential:
    if isinstance(card.recipe, Adopted):
        return build_layers(card.recipe.network.layers, state)
    network = build_network(card.recipe.network, card.in_features, card.out_features)
    network.load_state_dict(state)
    return network


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error}; train again") from None
    if digest(content) != sha256:
        raise RepositoryError(
            f"{path} has SHA-256 {digest(content)[:12]}..., its card says {sha256[:12]}...: the "
            "file was altered or cut short; train again"
        )
    return content
