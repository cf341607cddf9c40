"""A worker's desk: asks come in by its socket, are gathered, evaluated, and answered.

There is no batch timer: while some rows are being evaluated others arrive, and all that have
arrived are evaluated next, together where model, samples and seed are the same. Between two
evaluations, each of bounded length, the socket is looked at again: an ask taken back, or past its
deadline, is not evaluated; rows of a large ask take turns with small ones; streams and adaptive
sampling go on step by step. One bad ask fails alone. Refuses to know HTTP and how rows are
answered (``answers``).
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from mcdrop.predictions import Predictions
from mcdrop.predictor import Predictor
from mcdrop_service import answers, metrics
from mcdrop_service.ask import LOOK, TELL, Body, Reply
from mcdrop_service.bodies import read
from mcdrop_service.coalescing import budget
from mcdrop_service.faults import refusal
from mcdrop_service.job import Job, Key, Observer, Statistics, as_it_is
from mcdrop_service.limits import ROWS
from mcdrop_service.shelf import LoadingError, Shelf
from mcdrop_service.tasks import Peer, Task
from mcdrop_service.walks import walk

__all__ = ["Worker"]

_log = logging.getLogger(__name__)
_LOOK = 0.1  # seconds of a look at what has come; signs of life are given between two


class Worker:
    """Asks that have come, and what is done about them."""

    def __init__(
        self,
        shelf: Shelf,
        observers: Sequence[Observer] = (),
        prepare: Callable[[Job], Job] = as_it_is,
        rows: int = ROWS,
    ) -> None:
        self.shelf, self.observers, self.prepare = shelf, observers, prepare
        self.rows = rows  # that a request may have
        self._arrived: list[Task] = []
        self._groups: dict[Key, list[Task]] = {}
        self._walks: deque[Task] = deque()
        self._scheduled = False

    async def serve(self, path: Path) -> None:
        """Listen at ``path`` until the process ends."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of a worker that was killed
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Peer(self.take), str(path)
        )
        await server.serve_forever()

    def take(self, task: Task) -> None:
        """An ask has come."""
        self._arrived.append(task)
        self._soon()

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """One evaluation, after a look at what has come."""
        self._scheduled = False
        self._look()
        if self._groups:
            self._evaluate()
        if self._walks:
            self._step()
        if self._arrived or self._groups or self._walks:
            self._soon()

    def _look(self) -> None:
        """Read and check what has come; where that takes long, the rest stays for the next turn."""
        arrived, self._arrived = iter(self._arrived), []
        alike: dict[object, list[Task]] = {}
        enough = time.monotonic() + _LOOK
        for task in arrived:
            if not task.over and self._find(task):
                alike.setdefault(_likeness(task), []).append(task)
            if time.monotonic() > enough:
                break
        found = iter(alike.values())
        for tasks in found:
            self._validate(tasks)
            if time.monotonic() > enough:
                break
        self._arrived[:0] = chain(chain.from_iterable(found), arrived)

    def _find(self, task: Task) -> bool:
        """Read an ask and find its model; false where there is nothing to do, now or ever."""
        later = asyncio.get_running_loop().call_soon_threadsafe
        if task.ask.format == LOOK:
            self.shelf.look().add_done_callback(lambda _: later(self._tell, task))
            return False
        if task.ask.format == TELL:
            self._tell(task)
            return False
        try:
            if isinstance(task.ask.rows, Body):
                task.ask = read(task.ask, self.rows)
            task.predictor = self.shelf.find(task.ask.model, task.ask.version)
        except LoadingError as loading:
            loading.done.add_done_callback(lambda _: later(self.take, task))
            return False
        except Exception as error:
            self._refuse(task, error, None)
            return False
        return True

    def _validate(self, tasks: Sequence[Task]) -> None:
        """Check asks that are alike, together; where that fails, each alone."""
        try:
            jobs = answers.validate([task.ask for task in tasks], tasks[0].predictor)
            jobs = [self.prepare(job) for job in jobs]
        except Exception as error:
            if len(tasks) == 1:
                self._refuse(tasks[0], error, tasks[0].predictor)
            else:
                for task in tasks:
                    self._validate([task])
            return
        for task, job in zip(tasks, jobs, strict=True):
            task.job = job
            if self._alone(job):
                task.walk = walk(job)
                self._walks.append(task)
            else:
                self._groups.setdefault(job.key, []).append(task)

    def _tell(self, task: Task) -> None:
        """Say what can be answered with."""
        task.reply(Reply(orjson.dumps(self.shelf.state._asdict())))

    @staticmethod
    def _alone(job: Job) -> bool:
        """Whether a job goes on its own way, step by step."""
        ask = job.ask
        many = len(job.x) > budget(job.samples, job.predictor.weights)
        return ask.stream or ask.passes or ask.samples == "auto" or many

    def _evaluate(self) -> None:
        """Evaluate tasks of one key together; the next turn is another key's."""
        key = next(iter(self._groups))
        tasks = [task for task in self._groups.pop(key) if not task.over]
        room, count = budget(key[1], key[0].weights), 0
        for task in tasks:
            room -= len(task.job.x)
            if room < 0:
                break
            count += 1
        if tasks[count:]:
            self._groups[key] = tasks[count:]
        self._answer(tasks[:count])

    def _answer(self, tasks: Sequence[Task]) -> None:
        """Evaluate tasks of one key and reply; where that fails, each alone."""
        if not tasks:
            return
        layouts: dict[tuple[Any, ...], list[Task]] = {}
        for task in tasks:
            layouts.setdefault(task.job.layout, []).append(task)
        try:
            x = np.concatenate([t.job.x for group in layouts.values() for t in group])
            statistics, start = answers.evaluate(tasks[0].job, x), 0
            for group in layouts.values():
                end = start + sum(len(task.job.x) for task in group)
                alone = len(layouts) == 1
                self._reply(group, statistics if alone else statistics.rows(slice(start, end)))
                start = end
        except Exception as error:
            if len(tasks) == 1:
                self._refuse(tasks[0], error, tasks[0].predictor)
            else:
                for task in tasks:
                    self._answer([] if task.answered else [task])

    def _reply(self, tasks: Sequence[Task], statistics: Statistics) -> None:
        jobs = [task.job for task in tasks]
        found = answers.conclude(jobs, statistics)
        for task, reply in zip(tasks, answers.encode(jobs, found), strict=True):
            task.reply(reply)
        self._observe(jobs, found)

    def _step(self) -> None:
        """Go one step on the way of one task; the next turn it is another's."""
        task = self._walks.popleft()
        if task.over:
            return
        try:
            step = next(task.walk)
        except Exception as error:
            self._refuse(task, error, task.predictor)
            return
        if step.reply is not None:
            task.reply(step.reply)
        if step.found is not None:
            self._observe([task.job], step.found)
        else:
            self._walks.append(task)

    def _refuse(self, task: Task, error: Exception, predictor: Predictor | None) -> None:
        """Reply that an ask cannot be answered, and count it for its model, where there is one."""
        reply, ask, model, version = refusal(error), task.ask, "", ""
        if predictor is not None:
            model, version = predictor.card.name, str(predictor.card.version)
        elif reply.status >= 500 and ask.model in self.shelf.names:  # it cannot be loaded
            model, version = ask.model, str(ask.version or "")
        metrics.count_failure(model, version, reply.status)
        task.reply(reply)

    def _observe(self, jobs: Sequence[Job], found: Predictions) -> None:
        for observer in self.observers:
            try:
                observer(jobs, found)
            except Exception:
                _log.exception("an observer failed")


def _likeness(task: Task) -> object:
    """Tasks of one likeness may be validated together: arrays of one type, for one model."""
    rows = task.ask.rows
    if isinstance(rows, np.ndarray):
        return task.predictor, rows.dtype, rows.shape[1:]
    return task
