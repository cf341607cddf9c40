"""The LitServe application: one worker's hooks, and the routes beside them.

Knows LitServe's life of a request and of a worker, and the catalog of models. Refuses to know how
a row is answered (``answers``), how models are found (``shelf``) and how processes are run
(``server``).
"""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import litserve as ls  # type: ignore[import-untyped]

from mcdrop.card import Card
from mcdrop.data.preprocessing import ArrayPreprocessing, NumericColumn, TablePreprocessing
from mcdrop.errors import RepositoryError
from mcdrop.later import staying
from mcdrop.repository import list_models, read_card
from mcdrop_service import logs
from mcdrop_service.job import Job, Observer, as_it_is
from mcdrop_service.lifeline import end_with_parent
from mcdrop_service.limits import ROWS
from mcdrop_service.loop import SocketLoop
from mcdrop_service.pulse import Pulse
from mcdrop_service.request import PredictRequest
from mcdrop_service.schemas import Column, ModelList, ModelVersion, PredictResponse

__all__ = ["PredictAPI", "list_versions"]

_log = logging.getLogger(__name__)


class PredictAPI(ls.LitAPI):  # type: ignore[misc]
    """What LitServe sets up in each worker, and what it says of ``POST /predict``.

    The gate reads requests and the loop answers them; the hooks that LitServe's own loops would
    call only declare, by their annotations, what ``/docs`` shows.

    Args:
        repository: the model repository.
        threads: PyTorch threads of a worker.
        folder: where workers listen.
        pulse: takes their signs of life.
        observers: told in the workers of what is answered; importable functions.
        pins: by model, the version to serve where it is not the latest.
        prepare: told of each job that is to be answered, it gives the one to answer.
        rows: that a request may have.
        log: form of what workers log.
    """

    def __init__(
        self,
        repository: Path,
        threads: int,
        folder: Path,
        pulse: Pulse,
        observers: Sequence[Observer] = (),
        pins: Mapping[str, int] = MappingProxyType({}),
        prepare: Callable[[Job], Job] = as_it_is,
        rows: int = ROWS,
        log: logs.Form = "text",
    ) -> None:
        super().__init__(loop=SocketLoop(folder, pulse))
        self.repository, self.folder = repository, folder
        self.threads = threads
        self.observers = observers
        self.pins = dict(pins)
        self.prepare, self.rows, self.log = prepare, rows, log

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe passes it by position
        """Prepare a worker process, before it takes requests."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the server stops us after the drain
        end_with_parent()
        logs.configure(self.log)
        with staying():  # here alone: no other process evaluates networks
            import torch

            from mcdrop_service.shelf import Shelf
            from mcdrop_service.worker import Worker

        torch.set_num_threads(self.threads)
        self.shelf = Shelf(self.repository, self.pins, self.folder / "unloaded")
        self.worker = Worker(self.shelf, self.observers, self.prepare, self.rows)
        self.shelf.start()

    def decode_request(self, request: PredictRequest) -> PredictRequest:
        """Declare the request's body."""
        return request

    def encode_response(self, output: PredictResponse) -> PredictResponse:
        """Declare the answer's body."""
        return output


def list_versions(repository: Path, served: Mapping[str, int]) -> ModelList:
    """Every version that can be read, the latest of each model last.

    Args:
        repository: the model repository.
        served: by model, the version that answers where none is named.
    """
    found = []
    for entry in list_models(repository):
        for version in entry.versions:
            try:
                card = read_card(repository / entry.name / str(version))
            except RepositoryError:
                _log.exception("model %s version %s is left out", entry.name, version)
                continue
            found.append(_describe(card, latest=version == served.get(entry.name)))
    return ModelList(models=found)


def _describe(card: Card, *, latest: bool) -> ModelVersion:
    step = card.preprocessing
    array = step if isinstance(step, ArrayPreprocessing) else None
    return ModelVersion(
        name=card.name,
        version=card.version,
        latest=latest,
        description=card.recipe.description,
        task=card.task,
        classes=list(card.classes),
        targets=list(card.targets),
        samples=card.samples,
        shape=list(array.shape) if array else None,
        minimum=array.minimum if array else None,
        maximum=array.maximum if array else None,
        columns=_columns(step) if isinstance(step, TablePreprocessing) else None,
        metrics=card.metrics,
    )


def _columns(step: TablePreprocessing) -> list[Column]:
    return [_number(column) for column in step.numeric] + [
        Column(name=column.name, kind="category", categories=list(column.categories))
        for column in step.categorical
    ]


def _number(column: NumericColumn) -> Column:
    low, high = column.minimum, column.maximum
    return Column(
        name=column.name,
        kind="number",
        minimum=column.mean - 3 * column.std if low is None else low,
        maximum=column.mean + 3 * column.std if high is None else high,
        mean=column.mean,
    )
