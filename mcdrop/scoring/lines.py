"""Cutting text into runs of rows, unread: CSV, where quotes may hold line breaks, or JSON lines.

Knows bytes, line breaks and quotes. Refuses to know columns. A line that is empty is no row.
"""

import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Run", "records", "runs"]

_BUFFER = 8 << 20
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


class Run(NamedTuple):
    """Bytes start to stop of a file, which hold this many rows."""

    start: int
    stop: int
    rows: int


def runs(file: IO[bytes], start: int, rows: int, *, quotes: bool) -> Iterator[Run]:
    """Cut a file from byte ``start`` on into runs of ``rows`` rows, the last one shorter.

    Args:
        file: to be read from ``start`` on.
        start: where the first row begins.
        rows: rows of a run.
        quotes: whether line breaks between double quotes belong to a value, as in CSV.
    """
    file.seek(start)
    position, last, before, odd, count = start, start - 1, _NEWLINE, False, 0
    while buffer := file.read(_BUFFER):
        data = np.frombuffer(buffer, np.uint8)
        ends, odd = _ends(data, odd) if quotes else (np.flatnonzero(data == _NEWLINE), False)
        filled = ends[_filled(data, ends, last - position, before)] + position
        for end in filled[rows - count - 1 :: rows].tolist():
            yield Run(start, end + 1, rows)
            start = end + 1
        count = (count + len(filled)) % rows
        last = int(ends[-1]) + position if len(ends) else last
        position, before = position + len(data), int(data[-1])
    if position > last + 1:  # a last line without an end
        count += 1
    if count:
        yield Run(start, position, count)


def records(content: bytes, *, quotes: bool) -> list[bytes]:
    """The rows of a run, one by one."""
    found = runs(io.BytesIO(content), 0, 1, quotes=quotes)
    return [content[run.start : run.stop] for run in found]


def _ends(data: NDArray[np.uint8], odd: bool) -> tuple[NDArray[Any], bool]:
    """Places of the line breaks outside quotes, and whether a quote is open at the end."""
    ends = np.flatnonzero(data == _NEWLINE)
    marks = np.flatnonzero(data == _QUOTE)
    if len(marks) or odd:
        ends = ends[(np.searchsorted(marks, ends) + odd) % 2 == 0]
    return ends, (len(marks) + odd) % 2 == 1


def _filled(data: NDArray[np.uint8], ends: NDArray[Any], last: int, before: int) -> NDArray[Any]:
    """Which line ends close a line that is not empty; ``last``: the line end before the data."""
    gaps = np.diff(ends, prepend=last)
    previous = np.where(ends > 0, data[ends - 1], before)
    filled: NDArray[Any] = (gaps > 1) & ~((gaps == 2) & (previous == _RETURN))
    return filled
