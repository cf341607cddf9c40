"""JSON lines: an object a row; for arrays, an array a row, or an object with an array ``x``.

Knows that what the model takes has the model's types, whatever rows come first, and what is carried
through the first row's; and that a file is a table, whose columns are those that its rows name.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json as pa_json

from mcdrop.data.columns import check_columns
from mcdrop.data.preprocessing import TablePreprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.lines import Run, runs
from mcdrop.scoring.places import open_file
from mcdrop.scoring.select import Selection, check_kept, select
from mcdrop.scoring.text import Bad, TextSource, reason

__all__ = ["JsonSource"]

_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


class JsonSource(TextSource):
    """JSON lines: an object a row; for arrays, an array a row, or an object with an array ``x``."""

    quotes = False

    @property
    def start(self) -> int:
        """Where the first row begins."""
        return 0

    @cached_property
    def first(self) -> Any:
        """The first row; None where there is none."""
        with open_file(self.file.path) as file:
            run = next(runs(file, 0, 1, quotes=False), None)
            file.seek(0)
            content = file.read(run.stop) if run else b""
        try:
            return orjson.loads(content.removeprefix(b"\xef\xbb\xbf")) if content else None
        except orjson.JSONDecodeError as error:
            raise DataError(f"the first row is no JSON: {error}") from None

    @cached_property
    def selection(self) -> Selection:
        """Which fields are read: for a table, those that a row lacks are missing values."""
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

    def pieces(self) -> Iterator[Run]:
        """Runs of bytes that can be read alone, of one chunk each.

        Raises:
            DataError: no row at all names a column of the model.
        """
        if isinstance(self.preprocessing, TablePreprocessing) and isinstance(self.first, dict):
            wanted = self.preprocessing.columns
            check_columns(self._named(wanted), wanted, "; null in a row says that it is missing")
        yield from super().pieces()

    def _named(self, wanted: Iterable[str]) -> list[str]:
        """What the first row names, and those of ``wanted`` that any row does."""
        lacking = set(wanted).difference(self.first)
        with open_file(self.file.path) as file:
            for line in file if lacking else ():
                with suppress(orjson.JSONDecodeError, AttributeError):  # told of when it is read
                    lacking.difference_update(orjson.loads(line).keys())
                if not lacking:
                    break
        return list(dict.fromkeys([*self.first, *(n for n in wanted if n not in lacking)]))

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
                bad.append((i, reason(error)))
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
