"""Folders: which models and versions there are, and which of them is meant."""

import re
from dataclasses import dataclass
from pathlib import Path

from mcdrop.errors import RepositoryError

__all__ = [
    "CARD",
    "EXAMPLES",
    "REFERENCE",
    "WEIGHTS",
    "ModelEntry",
    "check_name",
    "checkpoint_path",
    "list_models",
    "locate",
    "resolve",
    "versions",
]

WEIGHTS = "model.safetensors"
REFERENCE = "reference.safetensors"
EXAMPLES = "examples.json"
CARD = "card.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
    entries = [ModelEntry(folder.name, versions(folder)) for folder in folders]
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
    numbers = versions(root / name) if _NAME.fullmatch(name) else ()
    if not numbers:
        there = ", ".join(entry.name for entry in list_models(root)) or "none"
        raise RepositoryError(
            f"no trained model {name[:80]!r} in {root.name}/: trained are {there}"
        )
    if version is not None and version not in numbers:
        there = ", ".join(map(str, numbers))
        raise RepositoryError(f"model {name!r} has no version {version}: it has {there}")
    return root / name / str(version or numbers[-1])


def checkpoint_path(root: Path, name: str) -> Path:
    """Where a training of ``name`` keeps its state until its version is written.

    Raises:
        RepositoryError: the name cannot be a folder.
    """
    check_name(name)
    return root / name / ".checkpoint.safetensors"


def locate(path: Path) -> Path:
    """The version folder that ``path`` means: itself, or the latest version inside it."""
    path = path.resolve()  # so that "." and ".." have names
    return path if (path / CARD).is_file() else resolve(path.parent, path.name)


def check_name(name: str) -> None:
    """Raise RepositoryError unless a model's folder may have this name."""
    if not _NAME.fullmatch(name):
        raise RepositoryError(
            f"model name {name!r} is not usable: take letters, digits, '.', '_' and '-', "
            "64 at most, a letter or digit first"
        )


def versions(folder: Path) -> tuple[int, ...]:
    """The complete versions in a model's folder, ascending."""
    if not folder.is_dir():
        return ()
    numbers = (p.name for p in folder.iterdir() if p.name.isdecimal() and (p / CARD).is_file())
    return tuple(sorted(int(n) for n in numbers if n == str(int(n)) and n != "0"))
