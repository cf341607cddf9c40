"""Rows on their way from a file to the network, and rows that fall by the wayside.

Knows how a block of rows is encoded, and how the rows that cannot be are found and told apart
from the others. Refuses to know files and formats.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.data.preprocessing import Inputs
from mcdrop.errors import DataError

__all__ = [
    "BLOCK",
    "CHUNK",
    "FILE",
    "ROW",
    "Encoded",
    "Raw",
    "Rejected",
    "blocks",
    "carried",
    "encode",
    "sift",
]

FILE, ROW = "_file", "_row"
"""Columns that every source has: the row's file, and its number there, from 0."""

BLOCK = 4096
"""Rows answered at a time: whole row blocks of the posterior, whichever it uses."""

CHUNK = 2 * BLOCK
"""Rows committed at a time: what is lost, at most, for each worker that is killed."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be answered for.

    Attributes:
        file: its file.
        row: its number there, from 0.
        reason: what is wrong with it.
        content: the row as it was read: a line of text, or JSON.
    """

    file: str
    row: int
    reason: str
    content: str


@dataclass(frozen=True)
class Raw:
    """Some rows of a file as they were read.

    Attributes:
        rows: B rows: a table, an array or a list.
        encoder: makes inputs of rows, or says why not.
        kept: the columns to carry through, `FILE` and `ROW`, of B rows.
        rejected: rows besides, which could not even be read.
        content: gives row i as text.
    """

    rows: Any
    encoder: Callable[[Any], Inputs]
    kept: pa.Table
    rejected: tuple[Rejected, ...] = ()
    content: Callable[[int], str] | None = None

    def slice(self, start: int, stop: int) -> "Raw":
        """Some of the rows, and none of the rejected."""
        text = self.content
        return Raw(
            cut(self.rows, start, stop),
            self.encoder,
            self.kept.slice(start, stop - start),
            content=None if text is None else lambda i: text(start + i),
        )

    def reject(self, row: int, reason: str) -> Rejected:
        """Row i as a rejected one."""
        content = self.content(row) if self.content else _shown(cut(self.rows, row, row + 1))
        file, number = (self.kept[name][row].as_py() for name in (FILE, ROW))
        return Rejected(file, number, reason, content)


@dataclass(frozen=True)
class Encoded:
    """A block ready for the network: B rows, and B rows of columns carried through."""

    inputs: Inputs
    kept: pa.Table
    rejected: list[Rejected] = field(default_factory=list)


def carried(kept: pa.Table, places: NDArray[np.int64], file: str | list[str]) -> pa.Table:
    """Columns carried through, and the file, or that of each row, and the numbers of their rows."""
    columns = dict(zip(kept.column_names, kept.columns, strict=True))
    files = pa.repeat(file, len(places)) if isinstance(file, str) else pa.array(file, pa.string())
    return pa.table(columns | {FILE: files, ROW: pa.array(places, pa.int64())})


def blocks(raw: Raw) -> Iterator[Encoded]:
    """The rows in blocks of at most `BLOCK`, encoded."""
    for start in range(0, len(raw.kept), BLOCK):
        yield encode(raw.slice(start, min(start + BLOCK, len(raw.kept))))


def encode(raw: Raw) -> Encoded:
    """Encode the rows that can be encoded, and name the others."""
    parts, bad = sift(len(raw.kept), lambda a, b: (a, b, raw.encoder(cut(raw.rows, a, b))))
    rejected = [raw.reject(row, reason) for row, reason in bad]
    if not parts:
        none = Inputs(np.empty((0, 1), np.float32), np.empty((0, 0), np.bool_))
        return Encoded(none, raw.kept.slice(0, 0), rejected)
    if not bad:
        return Encoded(parts[0][2], raw.kept, rejected)
    kept = pa.concat_tables([raw.kept.slice(a, b - a) for a, b, _ in parts])
    return Encoded(Inputs.concatenate([inputs for *_, inputs in parts]), kept, rejected)


def sift(
    count: int, attempt: Callable[[int, int], Value]
) -> tuple[list[Value], list[tuple[int, str]]]:
    """Find the rows that spoil an attempt, by halving.

    Args:
        count: rows in all.
        attempt: does something with rows start to stop, or raises DataError.

    Returns:
        What the attempts that succeeded gave, in order, and the rows that fail even alone, with
        the reason. One attempt where all is well; about 2 log2(count) for each bad row.
    """
    done: list[Value] = []
    bad: list[tuple[int, str]] = []
    spans = [(0, count)] if count else []
    while spans:
        start, stop = spans.pop()
        try:
            done.append(attempt(start, stop))
        except DataError as error:
            if stop - start == 1:
                bad.append((start, str(error).removeprefix("row 0, ")))
                continue
            middle = (start + stop) // 2
            spans += [(middle, stop), (start, middle)]
    return done, bad


def cut(rows: Any, start: int, stop: int) -> Any:
    """Some of the rows of a table, an array or a list."""
    if stop - start == len(rows):  # a thousand columns are not sliced for nothing
        return rows
    return rows.slice(start, stop - start) if isinstance(rows, pa.Table) else rows[start:stop]


def _shown(row: Any) -> str:
    values = row.to_pylist()[0] if isinstance(row, pa.Table) else row[0]
    if isinstance(values, np.ndarray):
        values = values.tolist()
    return orjson.dumps(values, default=str).decode()
