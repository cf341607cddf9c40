"""Versions read, but for their weights: the card, and what its hashes vouch for."""

import hashlib
import json
from pathlib import Path

import safetensors.numpy
from pydantic import ValidationError

from mcdrop.calibration import Reference
from mcdrop.card import Card, Examples
from mcdrop.errors import RepositoryError
from mcdrop.repository.folders import CARD, EXAMPLES, REFERENCE

__all__ = ["digest", "load_examples", "load_reference", "read_card", "read_checked"]


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


def load_reference(path: Path, card: Card) -> Reference:
    """What the model of the version folder ``path`` made of its calibration rows.

    Raises:
        RepositoryError: the file is absent, altered, or does not fit this version of mcdrop.
    """
    content = read_checked(path / REFERENCE, card.reference_sha256)
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
    content = read_checked(path / EXAMPLES, card.examples_sha256)
    try:
        return Examples.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise RepositoryError(f"{path / EXAMPLES} holds no examples: {fault}") from None


def digest(content: bytes) -> str:
    """What a card says of a file's content."""
    return hashlib.sha256(content).hexdigest()


def read_checked(path: Path, sha256: str) -> bytes:
    """The content of a version's file.

    Raises:
        RepositoryError: it is absent, or does not hash to what the card says.
    """
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
