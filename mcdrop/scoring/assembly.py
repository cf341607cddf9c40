"""Putting committed chunks together, in their order, whatever order they were made in.

Knows which chunk is next, and what they add up to. Refuses to know how they were made.
"""

import pyarrow as pa

from mcdrop.errors import DataError
from mcdrop.scoring.journal import Journal
from mcdrop.scoring.places import publish
from mcdrop.scoring.scorer import Job
from mcdrop.scoring.tally import Tally
from mcdrop.scoring.top import highest
from mcdrop.scoring.writing import Output

__all__ = ["Assembly"]

_STEP = 4  # chunks put together at a time, so that no worker waits long


class Assembly:
    """An output as it grows.

    Attributes:
        tally: of the chunks put together so far.
        written: rows of the output.
        rejected: rows set aside.
    """

    def __init__(self, journal: Journal, output: Output, job: Job) -> None:
        self.tally, self.written, self.rejected = Tally(), 0, 0
        self._journal, self._output, self._job = journal, output, job
        self._next = 0
        self._best: pa.Table | None = None
        self._side = journal.folder / "side.jsonl"
        self._side.write_bytes(b"")

    def advance(self, most: int = _STEP) -> None:
        """Add the chunks that come next, as far as they are there."""
        while most and self._next in self._journal.records:
            self._add(self._next)
            self._next += 1
            most -= 1

    def complete(self, chunks: int, target: str, side: str) -> None:
        """Add what is missing of ``chunks``, and put output and rejected rows in their places."""
        self.advance(chunks)
        if self._next < chunks:
            raise DataError(f"chunk {self._next} of {chunks} was not made: run the same once more")
        if self._best is not None:
            self._write(self._best)
        if self.rejected:
            publish(self._side, side)
        self._output.close(target)

    def _add(self, chunk: int) -> None:
        table = self._journal.table(chunk)
        self.tally.merge(Tally.from_json(table.schema.metadata[b"tally"]))
        table = table.replace_schema_metadata(None)
        if self._job.top is None:
            self._write(table)
        else:
            both = table if self._best is None else pa.concat_tables([self._best, table])
            self._best = highest(both, self._job.top, self._job.by)
        if found := self._journal.records[chunk].rejected:
            self.rejected += found
            with self._side.open("ab") as file:
                file.write(self._journal.side(chunk))

    def _write(self, table: pa.Table) -> None:
        self.written += len(table)
        self._output.write(table)
