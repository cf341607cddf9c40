"""What API processes know of the repository: cards and references, read when they are asked for.

Knows which version of a model is served by default, and that a version's folder may be replaced.
Refuses to know weights: those are the workers'.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from mcdrop.calibration import Reference
from mcdrop.card import Card
from mcdrop.repository import list_models, load_reference, read_card, resolve
from mcdrop_service.limits import PREDICTORS

__all__ = ["Catalog"]


class Catalog:
    """Cards and references by model and version.

    Args:
        repository: the model repository.
        pinned: versions that are served by default, where not the latest.
    """

    def __init__(self, repository: Path, pinned: Mapping[str, int]) -> None:
        self.repository, self.pinned = repository, pinned
        # The folder's identity is part of the key: a version number may be trained anew.
        self._card = lru_cache(PREDICTORS)(lambda path, _identity: read_card(path))
        self._reference = lru_cache(PREDICTORS)(
            lambda path, _identity: load_reference(path, read_card(path))
        )

    def card(self, model: str, version: int | None = None) -> Card:
        """The card of a version; of the one served by default, where none is named.

        Raises:
            RepositoryError: no such model or version, or its card cannot be read.
        """
        return self._card(*self._find(model, version))

    def reference(self, model: str, version: int | None = None) -> Reference:
        """What a version made of its calibration rows.

        Raises:
            RepositoryError: no such model or version, or its file cannot be read.
        """
        return self._reference(*self._find(model, version))

    def versions(self, model: str) -> tuple[int, ...]:
        """Versions of a model, ascending."""
        return next((e.versions for e in list_models(self.repository) if e.name == model), ())

    def all(self) -> list[tuple[str, int]]:
        """Every version of every model."""
        return [(e.name, version) for e in list_models(self.repository) for version in e.versions]

    def _find(self, model: str, version: int | None) -> tuple[Path, tuple[int, int]]:
        path = resolve(self.repository, model, version or self.pinned.get(model))
        state = path.stat()
        return path, (state.st_ino, state.st_mtime_ns)
