"""The model repository: ``<root>/<name>/<version>/`` with weights and one JSON card.

Knows how a version is written (to a temporary folder, then renamed), found, read and checked
against its hash. Refuses to know HTTP and how a model is trained. Reading a card touches no
weights; nothing here is ever unpickled.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

__all__ = [
    "ModelEntry",
    "Texts",
    "checkpoint_path",
    "list_models",
    "load_examples",
    "load_network",
    "load_reference",
    "locate",
    "prepare",
    "read_card",
    "resolve",
    "save",
]

WEIGHTS = "model.safetensors"
REFERENCE = "reference.safetensors"
EXAMPLES = "examples.json"
CARD = "card.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Texts = Mapping[str, str | Callable[[Card], str]]
"""Text files by name; or how their text follows from the card."""


@dataclass(frozen=True)
class ModelEntry:
    """A model of the repository and its versions, ascending."""

    name: str
    versions: tuple[int, ...]


def list_models(root: Path) -> list[ModelEntry]:
    """Every model under ``root`` that has a complete version, by name; [] if there is none."""
    if not root.is_dir():
        return []
    folders = sorted(p for p in root.iterdir() if p.is_dir() and _NAME.fullmatch(p.name))
    entries = [ModelEntry(folder.name, _versions(folder)) for folder in folders]
    return [entry for entry in entries if entry.versions]


def resolve(root: Path, name: str | None = None, version: int | None = None) -> Path:
    """The folder of a version; without ``version`` the latest, without ``name`` the only model.

    Raises:
        RepositoryError: no such model or version, or no name where several models are; the
            message lists what there is.
    """
    names = [entry.name for entry in list_models(root)] if name is None else []
    if len(names) > 1:
        raise RepositoryError(f"name the model: {root} holds {', '.join(names)}")
    name = names[0] if names else name or ""
    versions = _versions(root / name) if _NAME.fullmatch(name) else ()
    if not versions:
        there = ", ".join(entry.name for entry in list_models(root)) or "none"
        raise RepositoryError(
            f"no trained model {name[:80]!r} in {root.name}/: trained are {there}"
        )
    if version is not None and version not in versions:
        there = ", ".join(map(str, versions))
        raise RepositoryError(f"model {name!r} has no version {version}: it has {there}")
    return root / name / str(version or versions[-1])


def checkpoint_path(root: Path, name: str) -> Path:
    """Where a training of ``name`` keeps its state until its version is written.

    Raises:
        RepositoryError: the name cannot be a folder.
    """
    _check_name(name)
    return root / name / ".checkpoint.safetensors"


def locate(path: Path) -> Path:
    """The version folder that ``path`` means: itself, or the latest version inside it."""
    path = path.resolve()  # so that "." and ".." have names
    return path if (path / CARD).is_file() else resolve(path.parent, path.name)


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


def prepare(root: Path, name: str) -> Path:
    """The folder of model ``name``, made if it is not there: ask before a long training.

    Raises:
        RepositoryError: the name cannot be a folder, or the repository cannot be written.
    """
    _check_name(name)
    folder = root / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RepositoryError(f"cannot write a version of {name!r} under {root}: {error}") from None
    if not os.access(folder, os.W_OK):
        raise RepositoryError(f"cannot write a version of {name!r} under {root}: permission denied")
    return folder


def save(
    root: Path,
    name: str,
    network: nn.Module,
    reference: Reference,
    fields: Mapping[str, Any],
    files: Texts | None = None,
    examples: Examples | None = None,
) -> Path:
    """Write a new version of ``name`` and return its folder.

    Everything goes to a temporary folder beside the versions, which is renamed to the next
    integer when it is complete: a reader sees all of a version or nothing of it.

    Args:
        root: the repository.
        name: the model's folder.
        network: its ``state_dict`` becomes ``model.safetensors``.
        reference: its arrays become ``reference.safetensors``.
        fields: the card's fields but ``name``, ``version`` and the hashes.
        files: further text files of the version.
        examples: rows to try the model on; anyone who may ask the model may see them.

    Raises:
        RepositoryError: the name cannot be a folder, or the repository cannot be written.
    """
    folder = prepare(root, name)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    weights = safetensors.torch.save(state)
    arrays = safetensors.numpy.save(dict(reference.arrays))
    place = {"name": name, "version": 1}  # the folders say so; not in the file
    hashes = {"weights_sha256": _sha256(weights), "reference_sha256": _sha256(arrays)}
    texts: dict[str, str] = {}
    if examples is not None:
        texts[EXAMPLES] = examples.model_dump_json()
        hashes["examples_sha256"] = _sha256(texts[EXAMPLES].encode())
    card = Card.model_validate({**fields, **place, **hashes})
    texts[CARD] = card.model_dump_json(indent=2, exclude=set(place)) + "\n"
    texts |= {
        file: body if isinstance(body, str) else body(card) for file, body in (files or {}).items()
    }
    try:
        part = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder))
        try:
            (part / WEIGHTS).write_bytes(weights)
            (part / REFERENCE).write_bytes(arrays)
            for file, body in texts.items():
                (part / file).write_text(body, encoding="utf-8")
            part.chmod(0o755)
            return _publish(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise RepositoryError(f"cannot write a version of {name!r} under {root}: {error}") from None


def _build(card: Card, state: dict[str, torch.Tensor]) -> nn.Sequential:
    if isinstance(card.recipe, Adopted):
        return build_layers(card.recipe.network.layers, state)
    network = build_network(card.recipe.network, card.in_features, card.out_features)
    network.load_state_dict(state)
    return network


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RepositoryError(
            f"model name {name!r} is not usable: take letters, digits, '.', '_' and '-', "
            "64 at most, a letter or digit first"
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error}; train again") from None
    if _sha256(content) != sha256:
        raise RepositoryError(
            f"{path} has SHA-256 {_sha256(content)[:12]}..., its card says {sha256[:12]}...: the "
            "file was altered or cut short; train again"
        )
    return content


def _publish(part: Path, folder: Path) -> Path:
    version = max(_versions(folder), default=0) + 1
    while True:
        target = folder / str(version)
        try:
            part.rename(target)
            return target
        except OSError:
            if not target.exists():
                raise
            version += 1  # another training took this number meanwhile


def _versions(folder: Path) -> tuple[int, ...]:
    if not folder.is_dir():
        return ()
    numbers = (p.name for p in folder.iterdir() if p.name.isdecimal() and (p / CARD).is_file())
    return tuple(sorted(int(n) for n in numbers if n == str(int(n)) and n != "0"))
