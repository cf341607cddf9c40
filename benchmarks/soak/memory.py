"""What the processes of a session hold, seen about every second, told by whole periods.

Memory falls when a worker is killed, and rises while an old version and a new one are both loaded:
an instant says nothing. Periods that have as many kills and as many swaps each can be compared.
Refuses to know what is killed and swapped.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Memory", "Period", "held", "periods", "processes", "trend"]


class Period(NamedTuple):
    """MiB that were held in a period: most of the time, and at most."""

    median: float
    largest: float


class Memory:
    """Looks at a session's memory from now on.

    Args:
        session: id of the session.
    """

    def __init__(self, session: int) -> None:
        self.session, self._start = session, time.monotonic()
        self.seen: list[tuple[float, float]] = []  # seconds from the start, MiB

    def look(self) -> None:
        """Look once."""
        self.seen.append((time.monotonic() - self._start, held(self.session)))


def processes(session: int) -> dict[int, str]:
    """Command lines of a session's processes, the oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == session:
                found.append((int(fields[19]), int(folder.name), (folder / "cmdline").read_text()))
    return {pid: line for _, pid, line in sorted(found)}


def held(session: int) -> float:
    """MiB that a session's processes hold, shared pages shared out.

    Without pages of files, such as libraries: those are the system's to drop, and how they are
    shared out changes with whatever else runs.
    """
    total = 0
    for pid in processes(session):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1])
    return total / 1024


def periods(seen: Sequence[tuple[float, float]], length: float, count: int) -> list[Period]:
    """What was held in each period but the first, when servers warm up.

    Args:
        seen: seconds from the start, and MiB.
        length: of a period, in seconds.
        count: of periods, the first included.
    """
    times, sizes = np.array(seen).T
    number = times // length
    parts = [sizes[number == i] for i in range(1, count)]
    return [Period(float(np.median(part)), float(part.max())) for part in parts]


def trend(found: Sequence[Period], length: float) -> float:
    """MiB a minute that memory grows by: slope of the line of least squares through the largest.

    The largest are seen when all workers are warm, however long that takes them.
    """
    slope = np.polyfit(np.arange(len(found)), [period.largest for period in found], 1)[0]
    return float(slope * 60 / length)
