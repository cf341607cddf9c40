"""Columns of named rows, whatever form they arrive in, as numbers or as labels.

Knows tables (of Arrow, in anything that speaks its stream protocol, or as lists by name) and lists
of records; and that whoever hands over a table names its columns once for all rows, so that one
that is not there is a mistake, while a record that lacks a key misses a value. A number
is never guessed from a text, and a label reads the same from every form: ``13``, ``13.0``,
``"13"`` and ``"13.0"`` are one, as are ``true`` and ``"True"``. Refuses to know which columns a
model wants, and what becomes of them.
"""

import difflib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.errors import DataError

__all__ = [
    "Labels",
    "arrow_bytes",
    "arrow_table",
    "check_columns",
    "check_names",
    "is_numeric",
    "is_table",
    "labels",
    "list_names",
    "matrix",
    "numbers",
    "record_labels",
    "record_numbers",
]

Labels = list[str | None]
"""One label a row; None where the value is missing."""

_MACHINE = {
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64()),
}
"""Types of numbers that Arrow lays out as a matrix at once."""

_MOST, _LONGEST = 64, 64  # names, and their letters, among which misspelled ones are sought


def is_numeric(kind: pa.DataType) -> bool:
    """Whether columns of this Arrow type hold numbers (a column of nulls only counts as one)."""
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def is_table(rows: object) -> bool:
    """Whether `arrow_table` takes it: a dictionary, or something that speaks the Arrow protocol."""
    speaks = hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__")
    return speaks or isinstance(rows, Mapping)


def arrow_table(rows: Any) -> pa.Table:
    """A dictionary of columns, or what speaks the Arrow protocol, as a table.

    Without the index of a pandas frame, which is a column where rows were picked or shuffled.

    Raises:
        DataError: columns have several lengths, or values of several kinds.
    """
    if isinstance(rows, Mapping):
        if any(
            isinstance(column, str) or not hasattr(column, "__len__") for column in rows.values()
        ):
            raise DataError("got a single record, wanted a list of records: put it in brackets")
        rows = dict(rows)
    try:
        table = pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"the rows make no table: {error}; give each column one type") from None
    if isinstance(rows, pa.Table | pa.RecordBatch | dict):
        return table
    index = (table.schema.pandas_metadata or {}).get("index_columns", ())
    return table.drop_columns([n for n in index if isinstance(n, str) and n in table.column_names])


def arrow_bytes(table: pa.Table) -> bytes:
    """The table as an Arrow IPC stream."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    content: bytes = stream.getvalue().to_pybytes()
    return content


def check_columns(came: Collection[str], wanted: Collection[str], hint: str = "") -> None:
    """Raise :class:`DataError` where the columns ``came`` of a table lack one that is ``wanted``.

    Other columns are left alone: none of them can be a wanted one misspelled.
    """
    there, needed = set(came), set(wanted)  # there may be thousands
    _check_once([name for name in came if name in needed], "the table")
    lacking = [name for name in wanted if name not in there]
    if lacking:
        near = _near([name for name in came if name not in needed], lacking)
        raise DataError(
            f"the table lacks columns: {list_names(lacking)}; it has {list_names(came)}{near}{hint}"
        )


def check_names(came: Collection[str], known: Collection[str], where: str) -> None:
    """Raise :class:`DataError` where ``came`` has a name twice, or one that is not ``known``."""
    _check_once(came, where)
    there, knows = set(came), set(known)
    unknown = [name for name in came if name not in knows]
    if unknown:
        near = _near(unknown, [name for name in known if name not in there])
        raise DataError(
            f"{where} has unknown columns: {list_names(unknown)}; known are "
            f"{list_names(known)}{near}"
        )


def list_names(names: Collection[str], most: int = 40) -> str:
    """``names`` for a message, cut short after ``most``."""
    shown = ", ".join(f"{name!r:.60}" for name in list(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def numbers(column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    """The column as float64 (B,), NaN where a value is missing.

    Raises:
        DataError: the column holds something other than numbers.
    """
    column = _plain(column)
    if not is_numeric(column.type):
        raise DataError(
            f"column {name!r} holds {column.type}, wanted numbers: store them as numbers, since "
            "texts are not converted"
        )
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return values


def matrix(table: pa.Table) -> NDArray[Any]:
    """A table of numbers, of one row or more, as (B, D); NaN where a value is missing.

    Raises:
        DataError: a column holds something other than numbers.
    """
    kinds = set(table.schema.types)
    if not kinds <= _MACHINE:
        table = pa.table({name: numbers(table[name], name) for name in table.column_names})
    (batch,) = table.combine_chunks().to_batches()
    # As floats where nulls need them, and where types differ: Arrow's common integer may overflow.
    floats = len(kinds) > 1 or any(column.null_count for column in batch.columns)
    values: NDArray[Any] = batch.to_tensor(null_to_nan=floats, row_major=True).to_numpy()  # (B, D)
    return values


def labels(column: pa.ChunkedArray, name: str) -> Labels:
    """The column as labels; null, NaN and the empty text are missing.

    Raises:
        DataError: the column holds something that is no text, number or truth value.
    """
    column = _plain(column)
    kind, types = column.type, pa.types
    if types.is_floating(kind):
        return [_label(value) for value in column.to_pylist()]
    if not (is_numeric(kind) or types.is_boolean(kind) or _is_text(kind)):
        raise DataError(
            f"column {name!r} holds {kind}, wanted texts, numbers or truth values: convert it, or "
            "name it in the recipe's `drop`"
        )
    return [_label(value) for value in column.cast(pa.string()).to_pylist()]


def record_numbers(records: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """What ``numbers`` gives, from records; a key that is absent or None is missing.

    Raises:
        DataError: a value is not a number; the message names its row and column.
    """
    values = np.full(len(records), np.nan)
    for row, record in enumerate(records):
        value = record.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Real):
            raise DataError(_unfit(row, name, value, "a number or null"))
        try:
            values[row] = float(value)
        except OverflowError:
            raise DataError(_unfit(row, name, "an integer too large", "a number")) from None
    return values


def record_labels(records: Sequence[Mapping[str, Any]], name: str) -> Labels:
    """What ``labels`` gives, from records; a key that is absent or None is missing.

    Raises:
        DataError: a value is no text, number or truth value; the message names its row and column.
    """
    found: Labels = []
    for row, record in enumerate(records):
        value = record.get(name)
        if not (value is None or isinstance(value, str | bool | Real)):
            raise DataError(_unfit(row, name, value, "a text, a number, a truth value or null"))
        found.append(_label(value))
    return found


def _check_once(names: Collection[str], where: str) -> None:
    twice = [name for name, times in Counter(list(names)).items() if times > 1]
    if twice:
        raise DataError(f"{where} has column {list_names(twice)} more than once: rename or drop it")


def _near(names: Sequence[str], wanted: Sequence[str]) -> str:
    """For a message, which of ``names`` may be a wanted one misspelled; else none.

    Among the first only: names may be many, and long, to keep somebody busy.
    """
    plain = {name.casefold()[:_LONGEST]: name for name in wanted[:_MOST]}
    found = {
        name: plain[close]
        for name in names[:_MOST]
        for close in difflib.get_close_matches(name.casefold()[:_LONGEST], plain, 1)
    }
    said = [f"{name!r:.60} is close to {close!r:.60}" for name, close in list(found.items())[:3]]
    return f"; {', '.join(said)}: rename it" if said else ""


def _label(value: Any) -> str | None:
    """``value`` as a label: whole numbers without a point, truth values in lower case."""
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN differs from itself
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        whole = value.removesuffix(".0")
        if whole != value and whole.removeprefix("-").isdecimal():
            return whole
        return value.lower() if value.lower() in {"true", "false"} else value
    number = float(value)
    return str(int(value)) if math.isfinite(number) and number.is_integer() else str(value)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _unfit(row: int, name: str, value: object, wanted: str) -> str:
    return f"row {row}, column {name!r}: got {value!r:.60}, wanted {wanted} (rows count from 0)"
