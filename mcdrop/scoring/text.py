"""Text of one row a line: cut into runs of rows by bytes, each parsed by Arrow, alone.

Not by Arrow's dataset reader, which begins at a file's beginning, ends at its first bad row and
does not count rows: here a run can be read by any worker, after any interruption. Where Arrow
refuses a run, its rows are parsed one by one, so that the bad ones are found, by file and row, and
the others are read all the same. Refuses to know what is in a line.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mcdrop.data.preprocessing import Preprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.lines import Run, records, runs
from mcdrop.scoring.places import File, open_file
from mcdrop.scoring.rows import CHUNK, Raw, Rejected, carried
from mcdrop.scoring.select import Selection

__all__ = ["Bad", "TextSource", "reason"]

Bad = list[tuple[int, str]]
"""Rows that cannot be read, by their place in a run, with the reasons."""


class TextSource(ABC):
    """One file of text.

    Args:
        file: the file.
        preprocessing: of the model.
        keep: columns to carry through.
    """

    quotes: bool

    def __init__(self, file: File, preprocessing: Preprocessing, keep: Sequence[str]) -> None:
        self.file, self.preprocessing, self.keep = file, preprocessing, keep

    def pieces(self) -> Iterator[Run]:
        """Runs of bytes that can be read alone, of one chunk each."""
        with open_file(self.file.path) as file:
            yield from runs(file, self.start, CHUNK, quotes=self.quotes)

    def read(self, run: Run, first: int) -> Iterator[Raw]:
        """The rows of a run, numbered from ``first`` on."""
        with open_file(self.file.path) as file:
            file.seek(run.start)
            content = file.read(run.stop - run.start)
        try:
            rows, kept = self.parse(content, run.rows)
            bad: Bad = []
        except (DataError, pa.ArrowException):
            rows, kept, bad = self.one_by_one(records(content, quotes=self.quotes))

        def text(row: int) -> str:
            return records(content, quotes=self.quotes)[row].decode(errors="replace").strip()

        places = np.delete(np.arange(run.rows), [row for row, _ in bad])
        yield Raw(
            rows,
            self.selection.inspect,
            carried(kept, places + first, self.file.name),
            tuple(Rejected(self.file.name, first + row, why, text(row)) for row, why in bad),
            lambda i: text(int(places[i])),
        )

    @property
    @abstractmethod
    def start(self) -> int:
        """Where the first row begins."""

    @property
    @abstractmethod
    def selection(self) -> Selection:
        """Which columns are read."""

    @property
    @abstractmethod
    def fields(self) -> pa.Schema:
        """The columns carried through."""

    @abstractmethod
    def parse(self, content: bytes, rows: int) -> tuple[Any, pa.Table]:
        """Rows, and the columns carried through."""

    @abstractmethod
    def one_by_one(self, lines: list[bytes]) -> tuple[Any, pa.Table, Bad]:
        """The same of the rows that can be read, and the others."""


def reason(error: Exception) -> str:
    """What a parser says of a row, without the number that it has among those parsed at once."""
    return str(error).removeprefix("CSV parse error: ").removeprefix("Row #1: ")
