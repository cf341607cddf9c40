"""The predictors of a repository, kept ready: what each model serves, and others when asked for.

A thread of its own looks at the repository every second. A version that is newer than the one
served, or that replaced it, is loaded there and tried on a row before it takes over, while the old
one goes on answering; a version that cannot be loaded, or cannot answer, is refused and passed
over until its files change. What is not loaded yet is loaded in that thread too: nobody waits for
another's model. Knows which model and version an ask means. Refuses to know rows and sockets.
"""

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mcdrop.errors import RepositoryError
from mcdrop.held import Held
from mcdrop.posterior import Posterior
from mcdrop.predictor import Predictor, load
from mcdrop.repository import list_models, resolve
from mcdrop_service.ask import RefusedError
from mcdrop_service.limits import HELD_NETWORKS, PREDICTORS
from mcdrop_service.marks import is_unloaded

__all__ = ["LoadingError", "Shelf", "State"]

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between looks at the repository

Identity = tuple[int, int]
"""Of a folder: a version number may be trained anew."""


class State(NamedTuple):
    """What a worker can answer with.

    Attributes:
        served: by model, the version that answers where none is named.
        broken: by model and version, those that cannot be loaded.
    """

    served: dict[str, int]
    broken: list[tuple[str, int]]


class LoadingError(Exception):
    """The model is being loaded; ``done`` is set when it has been, or cannot be."""

    def __init__(self, done: "Future[None]") -> None:
        super().__init__("the model is being loaded")
        self.done = done


class _Kept(NamedTuple):
    identity: Identity
    predictor: Predictor


class Shelf:
    """Predictors by model and version.

    Args:
        repository: the model repository.
        pins: by model, the version to serve; of others the latest that can be loaded.
        marks: folder of empty files named like the models that are not to be served.
    """

    def __init__(
        self,
        repository: Path,
        pins: Mapping[str, int] = MappingProxyType({}),
        marks: Path | None = None,
    ) -> None:
        self.repository, self.pins, self.marks = repository, pins, marks
        self._names: list[str] = []  # of all models, ascending
        self._served: dict[str, Predictor] = {}
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._held = Held[Posterior](HELD_NETWORKS)
        self._broken: dict[Path, Identity] = {}
        self._wanted: queue.SimpleQueue[tuple[Path | None, Future[None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of `_kept`, which both threads change

    @property
    def names(self) -> list[str]:
        """Of all models that are not unloaded, ascending."""
        return self._names

    @property
    def state(self) -> State:
        """What can be answered with now."""
        served = {name: predictor.card.version for name, predictor in self._served.items()}
        broken = [(path.parent.name, int(path.name)) for path in self._broken]
        return State(dict(sorted(served.items())), sorted(broken))

    def find(self, model: str | None, version: int | None) -> Predictor:
        """The predictor that an ask means.

        Raises:
            LoadingError: it is there, and has to be loaded first.
            RepositoryError: no such model or version.
            RefusedError: 400 where the model has to be named, 404 where it was unloaded, 500 where
                it cannot be loaded.
        """
        model = self._only_model() if model is None else model
        if version is None and model in self._served:
            return self._served[model]
        path = resolve(self.repository, model, version or self.pins.get(model))
        if is_unloaded(self.marks, model):
            raise RefusedError(404, f"model {model!r} is unloaded")
        with self._lock:
            kept = self._kept.get(path)
            identity = _identity(path)
            if kept is not None and kept.identity == identity:
                self._kept.move_to_end(path)
                return kept.predictor
        if self._broken.get(path) == identity:
            name = f"model {path.parent.name!r} version {path.name}"
            raise RefusedError(500, f"{name} cannot be loaded: see the server's log")
        raise LoadingError(self._want(path))

    def look(self) -> "Future[None]":
        """Look at the repository now; done when that has been done."""
        return self._want(None)

    def start(self) -> None:
        """Load what each model serves, and keep looking from then on.

        Raises:
            RepositoryError: none of the models can be loaded.
        """
        self._look()
        if not self._served:
            raise RepositoryError(f"no model of {self.repository} can be loaded")
        threading.Thread(target=self._tend, name="shelf", daemon=True).start()

    def _want(self, path: Path | None) -> "Future[None]":
        done: Future[None] = Future()
        self._wanted.put((path, done))
        return done

    def _tend(self) -> None:
        """The thread's life: what is wanted is loaded, and every second there is a look."""
        due = time.monotonic() + _LOOK
        while True:
            try:
                path, done = self._wanted.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                path, done = None, Future()
            try:
                if path is None:
                    due = time.monotonic() + _LOOK
                    self._look()
                else:
                    self._get(path)
            except Exception:
                _log.exception("the repository cannot be looked at")
            done.set_result(None)

    def _look(self) -> None:
        """Serve of each model the version that should be, if it can be; forget what is gone."""
        entries = {entry.name: entry.versions for entry in list_models(self.repository)}
        for name, versions in entries.items():
            if is_unloaded(self.marks, name):
                self._served.pop(name, None)
                continue
            pin = self.pins.get(name)
            for version in reversed(versions) if pin is None else (pin,):
                predictor = self._get(self.repository / name / str(version))
                if predictor is not None:
                    before = self._served.get(name, predictor)
                    if before is not predictor:
                        old, new = before.card.version, predictor.card.version
                        _log.info("%s is served by version %s, no longer by %s", name, new, old)
                    self._served[name] = predictor
                    break
        for name in set(self._served) - set(entries):
            del self._served[name]
        self._names = [name for name in entries if not is_unloaded(self.marks, name)]
        with self._lock:
            for path, kept in list(self._kept.items()):
                if _identity(path) != kept.identity or is_unloaded(self.marks, path.parent.name):
                    del self._kept[path]
        self._broken = {p: i for p, i in self._broken.items() if _identity(p) == i}

    def _get(self, path: Path) -> Predictor | None:
        """The predictor of a version, loaded if need be; None where it cannot be."""
        identity = _identity(path)
        with self._lock:
            kept = self._kept.get(path)
        if kept is not None and kept.identity == identity:
            return kept.predictor
        if identity is None or self._broken.get(path) == identity:
            return None
        try:
            predictor = load(path, self._held)
            predictor.predict(predictor.card.preprocessing.example())
        except Exception as error:  # one sick model must not keep others from being served
            _log.error("cannot serve %s version %s: %s", path.parent.name, path.name, error)
            self._broken[path] = identity
            return None
        with self._lock:
            self._kept[path] = _Kept(identity, predictor)
            while len(self._kept) > PREDICTORS:
                self._kept.popitem(last=False)
        return predictor

    def _only_model(self) -> str:
        if len(self._names) != 1:
            there = ", ".join(self._names) or "none"
            raise RefusedError(400, f"got no `model`, wanted one of those trained: {there}")
        return self._names[0]


def _identity(path: Path) -> Identity | None:
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return state.st_ino, state.st_mtime_ns
