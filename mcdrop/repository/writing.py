"""Versions written: to a temporary folder, which is then renamed."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy
import safetensors.torch
from torch import nn

from mcdrop.calibration import Reference
from mcdrop.card import Card, Examples
from mcdrop.errors import RepositoryError
from mcdrop.repository.folders import CARD, EXAMPLES, REFERENCE, WEIGHTS, check_name, versions
from mcdrop.repository.reading import digest

__all__ = ["Texts", "prepare", "save"]

Texts = Mapping[str, str | Callable[[Card], str]]
"""Text files by name; or how their text follows from the card."""

_HASHED = {WEIGHTS: "weights_sha256", REFERENCE: "reference_sha256", EXAMPLES: "examples_sha256"}


def prepare(root: Path, name: str) -> Path:
    """The folder of model ``name``, made if it is not there: ask before a long training.

    Raises:
        RepositoryError: the name cannot be a folder, or the repository cannot be written.
    """
    check_name(name)
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
    card, contents = _contents(name, network, reference, fields, examples)
    for file, body in (files or {}).items():
        contents[file] = (body if isinstance(body, str) else body(card)).encode()
    try:
        return _write(folder, contents)
    except OSError as error:
        raise RepositoryError(f"cannot write a version of {name!r} under {root}: {error}") from None


def _contents(
    name: str,
    network: nn.Module,
    reference: Reference,
    fields: Mapping[str, Any],
    examples: Examples | None,
) -> tuple[Card, dict[str, bytes]]:
    """The card, and the files that every version has."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    contents = {
        WEIGHTS: safetensors.torch.save(state),
        REFERENCE: safetensors.numpy.save(dict(reference.arrays)),
    }
    if examples is not None:
        contents[EXAMPLES] = examples.model_dump_json().encode()
    place = {"name": name, "version": 1}  # the folders say so; not in the file
    hashes = {_HASHED[file]: digest(content) for file, content in contents.items()}
    card = Card.model_validate({**fields, **place, **hashes})
    contents[CARD] = f"{card.model_dump_json(indent=2, exclude=set(place))}\n".encode()
    return card, contents


def _write(folder: Path, contents: Mapping[str, bytes]) -> Path:
    part = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder))
    try:
        for file, content in contents.items():
            (part / file).write_bytes(content)
        part.chmod(0o755)
        return _publish(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _publish(part: Path, folder: Path) -> Path:
    version = max(versions(folder), default=0) + 1
    while True:
        target = folder / str(version)
        try:
            part.rename(target)
            return target
        except OSError:
            if not target.exists():
                raise
            version += 1  # another training took this number meanwhile
