"""CSV and JSON lines: cut into runs of rows by bytes, each parsed by Arrow, alone.

Knows that a column's type never depends on the rows that happen to come first (but that of columns
carried through: texts in CSV, in JSON of the first row's type). Where Arrow refuses a run, its
rows are parsed one by one, so that the bad ones are found and the others are read all the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as pa_json

from mcdrop.data import csv_files
from mcdrop.data.preprocessing import Preprocessing, TablePreprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.lines import Run, records, runs
from mcdrop.scoring.places import File, open_file
from mcdrop.scoring.rows import CHUNK, Raw, Rejected, carried, sift
from mcdrop.scoring.select import Selection, check_kept, select

__all__ = ["CsvSource", "JsonSource"]

_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}

Bad = list[tuple[int, str]]


class _Text(ABC):
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
            self.selection.encode,
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


class CsvSource(_Text):
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
            raise DataError(_reason(error)) from None


class JsonSource(_Text):
    """JSON lines: an object a row; for arrays, an array a row, or an object with an array ``x``."""

    quotes = False

    @property
    def start(self) -> int:
        """Where the first row begins."""
        return 0

    @cached_property
    def first(self) -> Any:
        """The first row."""
        with open_file(self.file.path) as file:
            run = next(runs(file, 0, 1, quotes=False), None)
            file.seek(0)
            content = file.read(run.stop) if run else b""
        try:
            return orjson.loads(content.removeprefix(b"\xef\xbb\xbf")) if content else {}
        except orjson.JSONDecodeError as error:
            raise DataError(f"the first row is no JSON: {error}") from None

    @cached_property
    def selection(self) -> Selection:
        """Which fields are read: for a table, those absent are missing values."""
        first = self.first if isinstance(self.first, dict) else {}
        if isinstance(self.preprocessing, TablePreprocessing):
            kept = check_kept(list(first), self.keep)
            return Selection(self.preprocessing.columns, kept, self.preprocessing)
        if not isinstance(self.first, dict):
            return Selection(("x",), check_kept([], self.keep), self.preprocessing)
        lists = {n: pa.list_(pa.float64()) for n, v in first.items() if isinstance(v, list)}
        schema = pa.schema(dict.fromkeys(first, pa.float64()) | lists)
        return select(schema, self.preprocessing, self.keep)

    @cached_property
    def fields(self) -> pa.Schema:
        """The columns carried through, of the first row's types."""
        return pa.schema([(name, _kind(self.first[name])) for name in self.selection.kept])

    @cached_property
    def _schema(self) -> pa.Schema:
        inputs = {name: pa.float64() for name in self.selection.inputs}
        if isinstance(self.preprocessing, TablePreprocessing):
            labels = (column.name for column in self.preprocessing.categorical)
            inputs |= {name: _kind(self.first.get(name)) for name in labels}
        elif self.selection.inputs == ("x",):
            inputs = {"x": _kind(self.first["x"])}
        return pa.schema(inputs | {field.name: field.type for field in self.fields})

    def parse(self, content: bytes, rows: int) -> tuple[Any, pa.Table]:
        """Rows, and the columns carried through."""
        if not isinstance(self.first, dict):
            raise DataError("holds arrays, which Arrow does not read")
        table = pa_json.read_json(
            pa.BufferReader(content),
            pa_json.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1)),
            pa_json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="ignore"),
        )
        if table.num_rows != rows:
            raise DataError("rows are not lines")
        return table, table.select(list(self.selection.kept))

    def one_by_one(self, lines: list[bytes]) -> tuple[Any, pa.Table, Bad]:
        """What `parse` gives of the rows that can be read, and the others; rows are a list."""
        rows: list[Any] = []
        kept: list[pa.Table] = []
        bad: Bad = []
        for i, line in enumerate(lines):
            try:
                row, carried = self._row(line.removeprefix(b"\xef\xbb\xbf"))
            except (DataError, pa.ArrowException, orjson.JSONDecodeError) as error:
                bad.append((i, _reason(error)))
                continue
            rows.append(row)
            kept.append(carried)
        return rows, pa.concat_tables(kept) if kept else self.fields.empty_table(), bad

    def _row(self, line: bytes) -> tuple[Any, pa.Table]:
        value = orjson.loads(line)
        if not isinstance(value, dict):
            if isinstance(value, list) and not isinstance(self.first, dict):
                return value, self.fields.empty_table()
            raise DataError(f"got {type(value).__name__}, wanted an object as in the first row")
        kept = pa.table({f.name: pa.array([value.get(f.name)], f.type) for f in self.fields})
        inputs = self.selection.inputs
        if isinstance(self.preprocessing, TablePreprocessing):
            return {name: value[name] for name in inputs if name in value}, kept
        lacking = [name for name in inputs if name not in value]
        if lacking:
            raise DataError(f"lacks {', '.join(map(repr, lacking[:5]))}")
        return value["x"] if inputs == ("x",) else [value[name] for name in inputs], kept


def _kind(value: Any) -> pa.DataType:
    return (
        pa.list_(pa.float64()) if isinstance(value, list) else _TYPES.get(type(value), pa.string())
    )


def _reason(error: Exception) -> str:
    return str(error).removeprefix("CSV parse error: ").removeprefix("Row #1: ")
