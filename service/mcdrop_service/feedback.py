"""Answers that are kept until their true labels come, in an SQLite file.

Workers keep what they answered, off their own way (`Keeper`); an API process takes labels for it
and reads it again (`Ledger`). Bounded in rows: the oldest go first. Knows tables and transactions.
Refuses to know HTTP, and what is made of answers and labels (`mcdrop_service.assessment`).
"""

import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcdrop.adaptive import AdaptiveLevel
from mcdrop.errors import InputError, RepositoryError
from mcdrop.predictions import Predictions
from mcdrop_service.job import Job
from mcdrop_service.kept import Kept, join, read_label, stack

__all__ = ["ADAPTED", "Keeper", "Ledger"]

ADAPTED = "adapted"
"""Key of an ask's `extra` that says that the server chose its level."""

_log = logging.getLogger(__name__)
_BACKLOG = 200  # evaluations not yet written; beyond it, they are not kept
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, row INTEGER NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL,
    at REAL NOT NULL, level REAL NOT NULL, adapted INTEGER NOT NULL, answer BLOB NOT NULL,
    label BLOB, UNIQUE (id, row)
);
CREATE INDEX IF NOT EXISTS labeled ON answers (model, version, place) WHERE label IS NOT NULL;
CREATE TABLE IF NOT EXISTS models (
    model TEXT, version INTEGER, task TEXT, names TEXT, level REAL, PRIMARY KEY (model, version)
);
CREATE TABLE IF NOT EXISTS levels (
    model TEXT, version INTEGER, state TEXT, PRIMARY KEY (model, version)
);
"""


class Keeper:
    """A worker's observer: keeps the answers of every request, in a thread of its own.

    Args:
        path: the file.
        most: rows to keep.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path, self.most = path, most
        self._queue: queue.Queue[_Answered] | None = None

    def __call__(self, jobs: Sequence[Job], found: Predictions) -> None:
        """Keep the answers of jobs of one model."""
        if self._queue is None:
            self._queue = queue.Queue(_BACKLOG)
            threading.Thread(target=self._write, name="feedback", daemon=True).start()
        try:
            self._queue.put_nowait(_Answered.of(jobs, found))
        except queue.Full:
            _log.warning("answers come faster than they can be kept for feedback: some are not")

    def drain(self) -> None:
        """Wait until everything is written."""
        if self._queue is not None:
            self._queue.join()

    def _write(self) -> None:
        waiting = self._queue
        with Ledger(self.path).connect() as base:
            while waiting is not None:
                batch = [waiting.get()]
                while not waiting.empty():
                    batch.append(waiting.get_nowait())
                try:
                    self._keep(base, batch)
                except sqlite3.Error:
                    _log.exception("answers cannot be kept for feedback")
                for _ in batch:
                    waiting.task_done()

    def _keep(self, base: sqlite3.Connection, batch: Sequence["_Answered"]) -> None:
        with base:
            base.execute("BEGIN IMMEDIATE")
            for answered in batch:
                base.execute("INSERT OR IGNORE INTO models VALUES (?, ?, ?, ?, ?)", answered.model)
                base.executemany(
                    "INSERT OR IGNORE INTO answers (id, row, model, version, at, level, adapted, "
                    "answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    answered.lines(),
                )
            (last,) = base.execute("SELECT coalesce(max(place), 0) FROM answers").fetchone()
            base.execute("DELETE FROM answers WHERE place <= ?", (last - self.most,))


class Ledger:
    """What is kept, for who takes labels and reads reports.

    Args:
        path: the file.
        step: of adaptive conformal inference; None where levels are not adapted.
    """

    def __init__(self, path: Path, step: float | None = None) -> None:
        self.path, self.step = path, step
        self._levels: dict[tuple[str, int], tuple[float, float]] = {}

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread's; tables are made where they are not there.

        Raises:
            InputError: the file cannot be used.
        """
        try:
            base = sqlite3.connect(self.path, timeout=5, isolation_level=None)
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=NORMAL")
            base.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise InputError(f"feedback cannot be kept in {self.path}: {error}") from None
        try:
            yield base
        finally:
            base.close()

    def label(self, request: str, labels: Sequence[Any]) -> int:
        """Take the true labels of the rows of a request, None where one is not known.

        Returns:
            How many rows have got a label now; one that a row had stays.

        Raises:
            RepositoryError: the request is not known, or not any more.
            InputError: the labels do not fit its rows or its model.
        """
        with self.connect() as base, base:
            base.execute("BEGIN IMMEDIATE")
            rows = base.execute(
                "SELECT place, model, version, adapted, answer, label FROM answers "
                "WHERE id = ? ORDER BY row",
                (request,),
            ).fetchall()
            if not rows:
                raise RepositoryError(f"no answer to request {request[:128]!r} is kept")
            if len(rows) != len(labels):
                raise InputError(f"got {len(labels)} labels, wanted {len(rows)}: one a row")
            _, model, version, *_ = rows[0]
            task, names, level = base.execute(
                "SELECT task, names, level FROM models WHERE model = ? AND version = ?",
                (model, version),
            ).fetchone()
            truths = [read_label(value, task, json.loads(names)) for value in labels]
            pairs = zip(rows, truths, strict=True)
            new = [(row, t) for row, t in pairs if t is not None and row[5] is None]
            for (place, *_), truth in new:
                base.execute("UPDATE answers SET label = ? WHERE place = ?", (truth, place))
            if self.step is not None:
                adapted = [(row[4], truth) for row, truth in new if row[3]]
                self._adapt(base, (model, version), level, task, adapted)
            return len(new)

    def read(self, model: str, version: int, most: int = 10_000) -> Kept | None:
        """The last rows of a version with their labels; None where there is none."""
        with self.connect() as base:
            found = base.execute(
                "SELECT task, answer, label, a.level FROM answers a JOIN models USING (model, "
                "version) WHERE model = ? AND version = ? AND label IS NOT NULL "
                "ORDER BY place DESC LIMIT ?",
                (model, version, most),
            ).fetchall()
        if not found:
            return None
        tasks, answers, labels, levels = zip(*found, strict=True)
        return join(tasks[0], answers, labels, np.array(levels))

    def adaptive(self, model: str, version: int, target: float) -> AdaptiveLevel:
        """The state of adaptive conformal inference for a version."""
        with self.connect() as base:
            return self._state(base, (model, version), target)

    def level(self, model: str, version: int, target: float) -> float:
        """The level to ask for now, looked up twice a second at most."""
        until, level = self._levels.get((model, version), (0.0, target))
        if time.monotonic() >= until:
            level = self.adaptive(model, version, target).level
            self._levels[model, version] = time.monotonic() + 0.5, level
        return level

    def _state(
        self, base: sqlite3.Connection, key: tuple[str, int], target: float
    ) -> AdaptiveLevel:
        found = base.execute(
            "SELECT state FROM levels WHERE model = ? AND version = ?", key
        ).fetchone()
        fresh = AdaptiveLevel(target, self.step or 0.005)
        return AdaptiveLevel(**{**asdict(fresh), **json.loads(found[0])}) if found else fresh

    def _adapt(
        self,
        base: sqlite3.Connection,
        key: tuple[str, int],
        target: float,
        task: str,
        rows: Sequence[tuple[bytes, bytes]],
    ) -> None:
        """Take the recursion a step further for each row that was answered at its level."""
        if not rows:
            return
        state = self._state(base, key, target)
        answers, labels = zip(*rows, strict=True)
        for miss in join(task, answers, labels, np.empty(len(rows))).missed.tolist():
            state = state.update(miss)
        kept = {name: getattr(state, name) for name in ("moved", "rows", "missed")}
        base.execute("INSERT OR REPLACE INTO levels VALUES (?, ?, ?)", (*key, json.dumps(kept)))


class _Answered(NamedTuple):
    """What of an evaluation is kept, without what it was made of."""

    model: tuple[str, int, str, str, float]  # name, version, task, classes or targets, usual level
    requests: list[tuple[str, int, bool]]  # id, rows, whether the server chose the level
    at: float
    level: float
    answers: NDArray[np.float64]  # (B, k, C)

    @classmethod
    def of(cls, jobs: Sequence[Job], found: Predictions) -> "_Answered":
        """From jobs of one model, and the answers of all their rows."""
        card, usual = jobs[0].predictor.card, jobs[0].predictor.reference.recipe.level
        names = json.dumps(card.classes or card.targets)
        requests = [(j.ask.id, len(j.x), bool(j.ask.extra.get(ADAPTED))) for j in jobs]
        model = card.name, card.version, card.task, names, usual
        return cls(model, requests, time.time(), found.level, stack(found))

    def lines(self) -> Iterator[tuple[Any, ...]]:
        """A line of the table for each row."""
        name, version, *_ = self.model
        places = ((r, row, adapted) for r, rows, adapted in self.requests for row in range(rows))
        for (request, row, adapted), answer in zip(places, self.answers, strict=True):
            yield request, row, name, version, self.at, self.level, adapted, answer.tobytes()
