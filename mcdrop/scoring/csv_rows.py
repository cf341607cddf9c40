"""CSV: a header line, then rows.

Knows that a column's type never depends on the rows that happen to come first: what the model
takes has the model's types, what is carried through is text as it stands.
"""

from functools import cached_property
from typing import Any

import pyarrow as pa

from mcdrop.data import csv_files
from mcdrop.data.preprocessing import TablePreprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.lines import Run, runs
from mcdrop.scoring.places import open_file
from mcdrop.scoring.rows import sift
from mcdrop.scoring.select import Selection, select
from mcdrop.scoring.text import Bad, TextSource, reason

__all__ = ["CsvSource"]


class CsvSource(TextSource):
    """A CSV file: a header line, then rows."""

    quotes = True

    @property
    def start(self) -> int:
        """Where the first row begins."""
        return self._head.stop

    @property
    def fields(self) -> pa.Schema:
        """The columns carried through: texts."""
        return pa.schema([(name, pa.string()) for name in self.selection.kept])

    @cached_property
    def _head(self) -> Run:
        with open_file(self.file.path) as file:
            return next(runs(file, 0, 1, quotes=True), Run(0, 0, 0))

    @cached_property
    def names(self) -> list[str]:
        """The header's."""
        with open_file(self.file.path) as file:
            return csv_files.names([file.read(self._head.stop).decode("utf-8-sig")])

    @cached_property
    def selection(self) -> Selection:
        """Which columns are read."""
        schema = pa.schema([(name, pa.float64()) for name in self.names])
        return select(schema, self.preprocessing, self.keep)

    @cached_property
    def _types(self) -> dict[str, pa.DataType]:
        """A kept column that the model takes too is read as the model takes it, and as a text."""
        types = dict.fromkeys(self.selection.kept, pa.string())
        types |= dict.fromkeys(self.selection.inputs, pa.float64())
        if isinstance(self.preprocessing, TablePreprocessing):
            types |= {column.name: pa.string() for column in self.preprocessing.categorical}
        return types

    def parse(self, content: bytes, rows: int) -> tuple[Any, pa.Table]:
        """Rows, and the columns carried through."""
        table = csv_files.parse(content, self.names, self._types)
        if table.num_rows != rows:
            raise DataError("holds several rows in one line: end each by a line feed")
        return table, self._kept(content, table)

    def _kept(self, content: bytes, table: pa.Table) -> pa.Table:
        """Texts, exactly as they stand: numbers are not read and written again."""
        kept = self.selection.kept
        read = [name for name in kept if self._types[name] == pa.string()]
        others = {name: pa.string() for name in kept if name not in read}
        if not others:
            return table.select(list(kept))
        texts = csv_files.parse(content, self.names, others)
        both = {name: (texts if name in others else table)[name] for name in kept}
        return pa.table(both, schema=self.fields)

    def one_by_one(self, lines: list[bytes]) -> tuple[Any, pa.Table, Bad]:
        """What `parse` gives of the rows that can be read, and the others."""
        done, bad = sift(len(lines), lambda a, b: self._attempt(lines[a:b]))
        if not done:
            return [], self.fields.empty_table(), bad
        rows, kept = (pa.concat_tables(tables) for tables in zip(*done, strict=True))
        return rows, kept, bad

    def _attempt(self, lines: list[bytes]) -> tuple[Any, pa.Table]:
        try:
            return self.parse(b"".join(lines), len(lines))
        except pa.ArrowException as error:
            raise DataError(reason(error)) from None
