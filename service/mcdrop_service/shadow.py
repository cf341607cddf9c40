"""A version that answers unseen, to be compared with the one that is served.

An observer of a worker: what was answered by default is asked again of the shadow, in a thread of
its own, when there is time for it; the callers have their answers by then, and never wait. Under
load rows are left out rather than queued without bound. Knows how two answers are compared.
Refuses to know who counts the differences.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcdrop.predictions import ClassPredictions, Predictions
from mcdrop.predictor import Predictor, load
from mcdrop_service.answers import conclude
from mcdrop_service.job import Job

__all__ = ["Difference", "Shadow", "compare"]

_log = logging.getLogger(__name__)
_WAITING = 64  # batches; what comes beyond them is not compared


@dataclass(frozen=True)
class Difference:
    """How a shadow's answers to B rows differ from those that were given.

    Attributes:
        model: name of both.
        version: of the answers that were given.
        shadow: the other version.
        distance: (B,), between 0 and 1: the total variation between the class probabilities; or
            the greatest difference of means over the given interval's width, at most 1.
        disagrees: (B,) bool, whether the predicted classes differ; or a mean of the shadow's lies
            outside the interval given.
    """

    model: str
    version: int
    shadow: int
    distance: NDArray[np.float64]
    disagrees: NDArray[np.bool_]


class Shadow:
    """Compares what is answered with what other versions would have said.

    Args:
        repository: the model repository.
        versions: by model, the version that is its shadow.
        tell: told of each difference, in the shadow's thread; an importable function.
    """

    _waiting: "queue.Queue[tuple[Sequence[Job], Predictions]]"
    _thread: threading.Thread | None

    def __init__(
        self, repository: Path, versions: Mapping[str, int], tell: Callable[[Difference], None]
    ) -> None:
        self.repository, self.versions, self.tell = repository, dict(versions), tell
        self._begin()

    def __call__(self, jobs: Sequence[Job], found: Predictions) -> None:
        """Take note of what was answered."""
        card = jobs[0].predictor.card
        shadow = self.versions.get(card.name)
        if shadow is None or shadow == card.version or jobs[0].ask.version is not None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._live, name="shadow", daemon=True)
            self._thread.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((tuple(jobs), found))

    def __getstate__(self) -> dict[str, Any]:
        """What a worker's process needs: thread and queue are made there."""
        return {"repository": self.repository, "versions": self.versions, "tell": self.tell}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._begin()

    def _begin(self) -> None:
        self._waiting = queue.Queue(_WAITING)
        self._thread = None

    def _live(self) -> None:
        while True:
            jobs, found = self._waiting.get()
            try:
                self.tell(self._differ(jobs, found))
            except Exception as error:  # the shadow may be broken: that is what is being tried
                _log.warning("a shadow cannot answer: %s", error)

    def _differ(self, jobs: Sequence[Job], found: Predictions) -> Difference:
        job, card = jobs[0], jobs[0].predictor.card
        folder = self.repository / card.name / str(self.versions[card.name])
        predictor = _loaded(folder, folder.stat().st_mtime_ns)
        x = np.concatenate([job.x for job in jobs])
        statistics = predictor.evaluate(x, found.samples, job.ask.seed)
        other = conclude([Job(job.ask, predictor, x, found.samples)], statistics)
        return compare(card.name, (card.version, found), (predictor.card.version, other))


@lru_cache(4)
def _loaded(folder: Path, _identity: int) -> Predictor:
    return load(folder)


def compare(
    model: str, given: tuple[int, Predictions], shadow: tuple[int, Predictions]
) -> Difference:
    """Compare two versions' answers to the same B rows.

    Raises:
        ValueError: the versions answer different questions.
    """
    (version, one), (second, two) = given, shadow
    if one.mean.shape != two.mean.shape or type(one) is not type(two):
        raise ValueError(f"versions {version} and {second} have different outputs")
    apart = np.abs(one.mean - two.mean)  # (B, C)
    if isinstance(one, ClassPredictions):
        disagrees: NDArray[np.bool_] = one.prediction != two.prediction
        return Difference(model, version, second, apart.sum(axis=1) / 2, disagrees)
    width = np.maximum(one.upper - one.lower, np.finfo(np.float64).tiny)
    outside = (two.mean < one.lower) | (two.mean > one.upper)
    distance = np.minimum(apart / width, 1.0).max(axis=1)
    return Difference(model, version, second, distance, np.asarray(outside.any(axis=1)))
