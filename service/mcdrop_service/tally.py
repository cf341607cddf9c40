"""Requests counted at the cost of an append, and written down a few times a second.

A number in a file that processes share takes a microsecond to change, and a request changes five:
too much for each. Knows when to write. Refuses to know where to (``metrics``).
"""

import asyncio
from collections import defaultdict

from mcdrop_service import metrics
from mcdrop_service.watch import Seen

__all__ = ["Tally"]

_EVERY = 0.2  # seconds


class Tally:
    """What an API process has counted since it last wrote."""

    def __init__(self) -> None:
        self.pending = 0
        self._seconds: defaultdict[tuple[str, str, int], list[float]] = defaultdict(list)
        self._due = False

    def come(self, change: int) -> None:
        """A request has come (1) or has been answered (-1)."""
        self.pending += change
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_EVERY, self.write)

    def add(self, seen: Seen) -> None:
        """Count a request that has been answered."""
        self._seconds[seen.method, seen.route, seen.status].append(seen.seconds)

    def write(self) -> None:
        """Write down what has been counted."""
        self._due = False
        metrics.PENDING.set(self.pending)
        counted, self._seconds = self._seconds, defaultdict(list)
        for (method, route, status), seconds in counted.items():
            metrics.count_requests(method, route, status, seconds)
