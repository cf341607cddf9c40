"""The epistemic uncertainty of the last rows of each model, kept by workers, read by anyone.

Each worker writes to a file of its own for each version it serves: a ring of (time, value), mapped
into memory, so that a row costs nothing and a worker that is killed leaves what it saw. Knows
which rows can be compared with calibration rows: those of the same passes, as many and of the
recipe's seed. Refuses to know what is made of them (`mcdrop.drift`).
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcdrop.calibration import row_strangeness
from mcdrop.predictions import Predictions
from mcdrop_service.job import Job

__all__ = ["Windows"]

_ENDING = ".window"


class Windows:
    """The windows of a server, which its workers share by their folder.

    Args:
        folder: where the files are; it exists.
        rows: of a window: older ones are overwritten.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        self._rings: dict[tuple[str, int], NDArray[np.float64]] = {}

    def __call__(self, jobs: Sequence[Job], found: Predictions) -> None:
        """Take the answers of jobs of one model, in a worker."""
        card = jobs[0].predictor.card
        if found.samples == card.samples and jobs[0].ask.seed == card.recipe.seed:
            self.add(card.name, card.version, row_strangeness(found, found.unknown))

    def add(self, model: str, version: int, values: NDArray[np.float64]) -> None:
        """Take what rows are ranked by, (B,): their epistemic uncertainty, for the most part."""
        ring = self._rings.get((model, version))
        if ring is None:
            ring = self._rings[model, version] = self._open(model, version)
        seen = int(ring[0, 0])
        values = values[-self.rows :]
        places = 1 + (seen + np.arange(len(values))) % self.rows
        ring[places, 0] = time.time()
        ring[places, 1] = values
        ring[0, 0] = seen + len(values)  # last: a reader never sees places that are not filled

    def last(self, model: str, version: int) -> NDArray[np.float64]:
        """The last rows that all workers have answered, (n,), n at most a window's rows."""
        parts = [
            ring[1 : 1 + min(int(ring[0, 0]), self.rows)]
            for path in self.folder.glob(f"{model}@{version}.*{_ENDING}")
            for ring in [np.fromfile(path).reshape(-1, 2)]  # (1 + rows, 2)
            if len(ring)  # none where it is being made
        ]
        if not parts:
            return np.empty(0)
        rows = np.concatenate(parts)
        newest = np.argsort(rows[:, 0], kind="stable")[-self.rows :]
        return np.asarray(rows[newest, 1])

    def models(self) -> Iterator[tuple[str, int]]:
        """Every model and version of which a row was answered."""
        parts = [path.name.split("@") for path in self.folder.glob(f"*{_ENDING}")]
        yield from sorted({(model, int(rest.partition(".")[0])) for model, rest in parts})

    def _open(self, model: str, version: int) -> NDArray[np.float64]:
        path = self.folder / f"{model}@{version}.{os.getpid()}{_ENDING}"
        return np.memmap(path, np.float64, "w+", shape=(1 + self.rows, 2))
