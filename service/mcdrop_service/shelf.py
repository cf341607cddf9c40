"""The predictors of a repository, loaded when they are first asked for and kept.

Knows which model and version a request means, and notices versions that are added, replaced or
removed while the server runs. Refuses to know requests' rows and HTTP's wire.
"""

import logging
from functools import lru_cache
from pathlib import Path

from mcdrop.errors import McdropError, RepositoryError
from mcdrop.predictor import Predictor, load
from mcdrop.repository import list_models, resolve
from mcdrop_service.ask import RefusedError
from mcdrop_service.limits import PREDICTORS

__all__ = ["Shelf"]

_log = logging.getLogger(__name__)


class Shelf:
    """Predictors by model and version."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        # The folder's identity is part of the key: a version number may be trained anew.
        self._load = lru_cache(PREDICTORS)(lambda path, _identity: load(path))

    def find(self, model: str | None, version: int | None) -> Predictor:
        """The predictor that a request means.

        Raises:
            RepositoryError: no such model or version.
            RefusedError: 400 where the model has to be named, 500 where it cannot be loaded.
        """
        model = self._only_model() if model is None else model
        path = resolve(self.repository, model, version)
        try:
            state = path.stat()
            return self._load(path, (state.st_ino, state.st_mtime_ns))
        except (OSError, McdropError) as error:
            _log.error("cannot load a model: %s", error)
            name = f"model {path.parent.name!r} version {path.name}"
            raise RefusedError(500, f"{name} cannot be loaded: see the server's log") from None

    def load_latest(self) -> None:
        """Load the latest version of each model and let it answer: first requests are fast then.

        Raises:
            RepositoryError: none of the models can be loaded.
        """
        for entry in list_models(self.repository):
            try:
                predictor = self.find(entry.name, None)
                predictor.predict(predictor.card.preprocessing.example())
            except Exception as error:  # one sick model must not keep others from being served
                _log.warning("model %r cannot answer: %s", entry.name, error)
        if not self._load.cache_info().currsize:
            raise RepositoryError(f"no model of {self.repository} can be loaded")

    def _only_model(self) -> str:
        names = [entry.name for entry in list_models(self.repository)]
        if len(names) != 1:
            there = ", ".join(names) or "none"
            raise RefusedError(400, f"got no `model`, wanted one of those trained: {there}")
        return names[0]
