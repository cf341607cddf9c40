"""Signs of life: a worker that is stopped, or whose evaluation never ends, is a process still.

A worker counts on, from the event loop that answers, in memory that it shares with the main
process; there a patrol finds whose count stands still. Silence is told in the patrol's own looks:
where a whole machine stood still, no worker is to blame. Refuses to know what becomes of a silent
worker.
"""

import asyncio
import time
from collections.abc import Callable
from multiprocessing import RawArray

__all__ = ["Patrol", "Pulse"]

_BEAT = 0.5  # seconds between two signs
_LOOK = 0.5  # seconds that a look finds to have passed, at most
_FIRST = 15  # times the patience, for the first sign: modules are imported, models loaded


class Pulse:
    """The counts of a server's workers; made before they are started.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int) -> None:
        self.counts = RawArray("Q", workers)  # 0: not alive yet

    async def beat(self, worker: int) -> None:
        """Count on, in the worker, for as long as its event loop turns."""
        while True:
            self.counts[worker] += 1
            await asyncio.sleep(_BEAT)

    def forget(self, worker: int) -> None:
        """Take it that a worker has given no sign yet."""
        self.counts[worker] = 0


class Patrol:
    """Looks after workers, in the main process, several times a second.

    Args:
        pulse: of the workers.
        patience: seconds that a worker may be silent; until its first sign, fifteen times as long.
        clock: seconds.
    """

    def __init__(
        self, pulse: Pulse, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.pulse, self.patience, self._clock = pulse, patience, clock
        self._seen = list(pulse.counts)
        self._silent = [0.0] * len(self._seen)
        self._looked = clock()

    def look(self) -> list[int]:
        """Workers that have been silent for too long, each named once."""
        now = self._clock()
        passed, self._looked = min(now - self._looked, _LOOK), now
        counts = list(self.pulse.counts)
        for worker, (count, seen) in enumerate(zip(counts, self._seen, strict=True)):
            self._silent[worker] = self._silent[worker] + passed if count == seen else 0.0
        self._seen = counts
        limits = [self.patience if count else _FIRST * self.patience for count in counts]
        found = [i for i, limit in enumerate(limits) if self._silent[i] >= limit]
        for worker in found:
            self.forget(worker)
        return found

    def forget(self, worker: int) -> None:
        """Wait for a first sign: a worker is about to be started."""
        self.pulse.forget(worker)
        self._silent[worker] = 0.0
