"""What was counted at the cost of an append, and is written down a few times a second.

A number in a file that processes share takes a microsecond to change, and a request changes
fifteen: as long as its evaluation takes. Knows when to write. Refuses to know where to
(``metrics``). What a process that is killed has counted since it last wrote is lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from mcdrop.predictions import Predictions
from mcdrop_service import metrics
from mcdrop_service.job import Job
from mcdrop_service.watch import Seen

__all__ = ["AnswerTally", "RequestTally"]

_EVERY = 0.2  # seconds


class _Tally:
    """Writes a while after the first change, from within an event loop."""

    _due = False

    def write(self) -> None:
        """Write down what has been counted; to be extended."""
        self._due = False

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_EVERY, self.write)


class RequestTally(_Tally):
    """The requests of an API process."""

    def __init__(self) -> None:
        self.pending = 0
        self._seconds: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)

    def come(self, change: int) -> None:
        """A request has come (1) or has been answered (-1)."""
        self.pending += change
        self._soon()

    def add(self, seen: Seen) -> None:
        """Count a request that has been answered."""
        self._seconds[seen.method, seen.route, seen.status].append(seen.seconds)

    def write(self) -> None:
        """Write down what has been counted."""
        super().write()
        metrics.PENDING.set(self.pending)
        counted, self._seconds = self._seconds, defaultdict(list)
        for (method, route, status), seconds in counted.items():
            metrics.count_requests(method, route, status, seconds)


class AnswerTally(_Tally):
    """The answers of a worker, one of whose observers it is."""

    def __init__(self) -> None:
        self._found: defaultdict[tuple[str, int], list[tuple[int, Predictions]]]
        self._found = defaultdict(list)

    def __call__(self, jobs: Sequence[Job], found: Predictions) -> None:
        """Count the answers to jobs of one model."""
        card = jobs[0].predictor.card
        self._found[card.name, card.version].append((len(jobs), found))
        self._soon()

    def write(self) -> None:
        """Write down what has been counted."""
        super().write()
        counted, self._found = self._found, defaultdict(list)
        for (model, version), parts in counted.items():
            requests, found = zip(*parts, strict=True)
            metrics.count_answers(model, version, sum(requests), found)
