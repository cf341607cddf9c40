"""CSV by Arrow: the header, the whole table, or a stream of batches with given types.

Knows that an empty field is missing, and that a column's type never depends on the first rows.
Refuses to know models. Errors are Arrow's and the system's own, but for what is said of headers.
"""

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from mcdrop.data.columns import check_names, is_numeric
from mcdrop.errors import DataError

__all__ = ["header", "headless", "names", "parse", "read", "stream"]

_CHUNK = 2 << 20  # bytes parsed at once; no row may be longer


def header(path: Path) -> list[str]:
    """The columns' names.

    Raises:
        DataError: the file is empty, has no header line, or a name comes twice.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        return names(file)


def names(lines: Iterable[str]) -> list[str]:
    """The columns' names, from a file's first lines.

    Raises:
        DataError: as in `header`.
    """
    try:
        found = next(csv.reader(lines), [])
    except csv.Error:
        raise DataError(
            "has an empty first line, or lines that end in a carriage return alone: start with the "
            "header line, and end lines by a line feed"
        ) from None
    if not found:
        raise DataError(
            "is empty, or its first line is: give a header line with the names, then the rows"
        )
    if len(found) == 1 and (separator := next((s for s in ";\t|" if s in found[0]), None)):
        raise DataError(
            f"separates columns by {separator!r}: save it with commas, numbers with points"
        )
    if _are_data(found):
        raise DataError("starts with numbers: give a header line with the columns' names")
    try:
        check_names(found, found, "the header")
    except DataError as error:
        raise DataError(f"{error}{headless(found)}") from None
    return found


def read(path: Path, text: Collection[str]) -> pa.Table:
    """The whole file; types are guessed from all rows, but ``text`` columns stay texts.

    Dates and truth values stay the texts they are, as `stream` leaves them.
    """
    width = len(header(path))
    texts = set(text)
    while True:
        with _ragged(path, width):
            table = _read(path, texts)
        other = (f for f in table.schema if not is_numeric(f.type) and f.type != pa.string())
        guessed = {field.name for field in other}
        if not guessed:
            return table
        texts |= guessed


def _read(path: Path, texts: Collection[str]) -> pa.Table:
    return pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=_convert(dict.fromkeys(texts, pa.string())),
    )


@contextmanager
def _ragged(path: Path, width: int) -> Iterator[None]:
    """Name the line of a row that has not ``width`` fields, which Arrow's threads do not know."""
    try:
        yield
    except pa.ArrowInvalid:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            for row in rows:
                if row and len(row) != width:
                    raise DataError(
                        f"line {rows.line_num} has {len(row)} fields, wanted {width} as the header "
                        f"has: {', '.join(row)!r:.80}; mend it, or quote a field that holds a comma"
                    ) from None
        raise


def headless(names: Iterable[str]) -> str:
    """A hint, for a message, where names look as if a file's first line were a row; else none."""
    for name in names:
        with suppress(ValueError):
            float(name)
            return "; that looks like a row: give a header line with the columns' names"
    return ""


def stream(path: Path, types: Mapping[str, pa.DataType]) -> Any:
    """A reader of the columns named in ``types``, of these types, in this order: a context manager.

    It yields record batches of a few megabytes.
    """
    return pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=_CHUNK, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=_convert(types, only=list(types)),
    )


def parse(content: bytes, header: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Parse rows without their header: the columns named in ``types``, of these types."""
    return pa_csv.read_csv(
        pa.BufferReader(content),
        read_options=pa_csv.ReadOptions(
            column_names=list(header),
            block_size=min(len(content) + 1, 2**31 - 1),
            use_threads=False,
        ),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=_convert(types, only=list(types)),
    )


def _convert(
    types: Mapping[str, pa.DataType], only: list[str] | None = None
) -> pa_csv.ConvertOptions:
    return pa_csv.ConvertOptions(
        column_types=dict(types), include_columns=only, null_values=[""], strings_can_be_null=True
    )


def _are_data(header: list[str]) -> bool:
    """Whether a first line is a row of numbers, rather than names or the places 0, 1, 2, ..."""
    try:
        values = [float(name) for name in header]
    except ValueError:
        return False
    return any(after - before != 1 for before, after in pairwise(values))
