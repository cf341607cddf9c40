"""Files of rows: CSV, Parquet and NPZ, whole for training or in blocks of bounded memory.

Knows the three formats and how blocks are cut. Refuses to know what the rows mean: columns and
their types come from the preprocessing, so that they never depend on a file's first rows. NPZ
files hold ``x``, rows first (and ``y`` for training); nothing in them is ever unpickled.
"""

import csv
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mcdrop.data import csv_files
from mcdrop.data.columns import check_columns, list_names, matrix, numbers
from mcdrop.data.npz import Array, open_member
from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing, TablePreprocessing
from mcdrop.errors import DataError

__all__ = [
    "Block",
    "check_shape",
    "encodable",
    "is_list",
    "lists",
    "read_arrays",
    "read_batches",
    "read_table",
    "reading",
    "recut",
]

Block: TypeAlias = pa.Table | Array
"""What a preprocessing encodes: a table for named columns, an array otherwise."""

_EXACT = {pa.uint8(), pa.int8(), pa.uint16(), pa.int16(), pa.float32(), pa.float64()}
"""Types whose values need not become float64 first, to become float32."""

_UNREADABLE = (
    *(pa.ArrowException, zipfile.BadZipFile, zlib.error, csv.Error),
    *(OSError, EOFError, ValueError, RuntimeError),
)
"""What the readers raise for files that are absent, damaged or of another kind."""


def read_batches(path: Path, preprocessing: Preprocessing, *, rows: int) -> Iterator[Block]:
    """Read what ``preprocessing`` needs of the file, in blocks.

    Args:
        path: a CSV, Parquet or NPZ file. For a table, its columns are found by name and others
            are left alone. For arrays, CSV and Parquet hold either exactly D columns of numbers,
            in order, or (Parquet) a column ``x`` of lists.
        preprocessing: of the model the rows are for.
        rows: rows of each block, but of the last.

    Yields:
        Blocks in the file's order, ready for ``preprocessing.encode``.

    Raises:
        DataError: absent, truncated or without rows, or its columns are not the model's.
    """
    readers: dict[str, Callable[[Path, Preprocessing, int], Iterator[Block]]] = {
        ".csv": _csv_blocks,
        ".parquet": _parquet_blocks,
        ".npz": _npz_blocks,
    }
    reader = readers[_suffix(path)]
    count = 0
    with reading(path):
        for block in reader(path, preprocessing, rows):
            yield block
            count += len(block)
        _check_some(count)


def read_table(path: Path, text: Collection[str] = ()) -> pa.Table:
    """Read a whole CSV or Parquet file; in CSV, an empty field is a missing value.

    Args:
        path: the file.
        text: CSV columns to keep as texts though they look like numbers.

    Raises:
        DataError: absent, of another kind, truncated or without rows.
    """
    suffix = _suffix(path)
    with reading(path):
        if suffix == ".npz":
            raise DataError("holds arrays, wanted a table: give CSV or Parquet")
        table = pq.read_table(path) if suffix == ".parquet" else csv_files.read(path, text)
        _check_some(table.num_rows)
    return table


def encodable(table: pa.Table, preprocessing: Preprocessing) -> Block:
    """A whole table (without its target) as what ``preprocessing.encode`` takes.

    Raises:
        DataError: its columns are not the model's.
    """
    names = table.column_names
    if isinstance(preprocessing, TablePreprocessing):
        check_columns(names, preprocessing.columns)
        return table.select(list(preprocessing.columns))
    if names != ["x"]:
        _check_width(names, preprocessing)
    return _plain(table, preprocessing)


def read_arrays(path: Path) -> tuple[Array, Array]:
    """Read ``x`` (N, ...) and ``y`` (N, ...) of an NPZ file whole.

    Raises:
        DataError: absent, truncated, without rows, or of unequal lengths.
    """
    with reading(path):
        x, y = (_read_member(path, key) for key in ("x", "y"))
        _check_some(len(x))
        if len(x) != len(y):
            raise DataError(f"{len(x)} rows of x and {len(y)} of y: give one y for each x")
    return x, y


def _read_member(path: Path, key: str) -> Array:
    with open_member(path, key) as member:
        parts = list(member.blocks(1 << 14))
        return np.concatenate(parts) if parts else np.empty((0,))


def _suffix(path: Path) -> str:
    suffix = {".pq": ".parquet"}.get(path.suffix.lower(), path.suffix.lower())
    if suffix not in {".csv", ".parquet", ".npz"}:
        raise DataError(f"{path} is of no kind that can be read: give .csv, .parquet or .npz")
    if not path.is_file():
        raise DataError(f"no file at {path}: check the path")
    return suffix


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn what is raised for a bad file into a DataError that names it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except _UNREADABLE as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise DataError(f"{path} cannot be read, or is damaged: {reason}") from error


def _csv_blocks(path: Path, preprocessing: Preprocessing, rows: int) -> Iterator[Block]:
    names = csv_files.header(path)
    if isinstance(preprocessing, TablePreprocessing):
        types = {column.name: pa.float64() for column in preprocessing.numeric}
        types |= {column.name: pa.string() for column in preprocessing.categorical}
        check_columns(names, types, csv_files.headless(names))
    else:
        types = dict.fromkeys(names, pa.float64())
        _check_width(names, preprocessing)
    with csv_files.stream(path, types) as batches:
        for table in recut(batches, rows):
            yield _plain(table, preprocessing)


def _parquet_blocks(path: Path, preprocessing: Preprocessing, rows: int) -> Iterator[Block]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        schema = file.schema_arrow
        names = schema.names
        if isinstance(preprocessing, TablePreprocessing):
            wanted = list(preprocessing.columns)
            check_columns(names, wanted)
        elif "x" in names and is_list(schema.field("x").type):
            wanted = ["x"]
        else:
            wanted = names
            _check_width(names, preprocessing)
        for table in recut(file.iter_batches(batch_size=rows, columns=wanted), rows):
            yield _plain(table.select(wanted), preprocessing)


def _npz_blocks(path: Path, preprocessing: Preprocessing, rows: int) -> Iterator[Block]:
    with open_member(path, "x") as member:
        check_shape(member.shape, preprocessing)
        yield from member.blocks(rows)


def recut(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly ``rows`` rows, the last one shorter."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if not held and batch.num_rows == rows:
            yield pa.Table.from_batches([batch])
            continue
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, rows)
            held = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(held)


def _plain(table: pa.Table, preprocessing: Preprocessing) -> Block:
    """The table itself for a table's preprocessing; for arrays, its numbers (B, D)."""
    if isinstance(preprocessing, TablePreprocessing):
        return table
    if table.column_names == ["x"] and is_list(table["x"].type):
        return lists(table["x"].combine_chunks(), preprocessing.features)
    return matrix(table)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column's values are lists."""
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def lists(column: pa.Array, features: int) -> Array:
    """A column of lists of ``features`` numbers each, as (B, D).

    Raises:
        DataError: a list has another length, or is no list of numbers.
    """
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if (lengths != features).any():  # the length of a null is NaN, so it differs too
        raise DataError(f"column 'x' has lists of {lengths.min():g} numbers, wanted {features}")
    values = column.flatten()
    if values.type in _EXACT and not values.null_count:
        plain: Array = values.to_numpy().reshape(-1, features)  # (B, D)
        return plain
    return numbers(pa.chunked_array([values]), "x").reshape(-1, features)  # (B, D)


def _check_some(rows: int) -> None:
    if not rows:
        raise DataError("holds no rows: give at least one")


def _check_width(names: list[str], preprocessing: ArrayPreprocessing) -> None:
    if len(names) != preprocessing.features:
        raise DataError(
            f"{len(names)} columns, wanted exactly the {preprocessing.features} of a row: leave "
            f"out every other column (it has {list_names(names, 5)})"
        )


def check_shape(shape: tuple[int, ...], preprocessing: Preprocessing) -> None:
    """Refuse rows of a wrong width before any is read."""
    width = int(np.prod(shape[1:]))
    if isinstance(preprocessing, ArrayPreprocessing):
        wanted = preprocessing.features
    elif preprocessing.categorical:
        raise DataError(
            "holds an array, but the model wants named columns: give CSV or Parquet with "
            f"{list_names(preprocessing.columns)}"
        )
    else:
        wanted = len(preprocessing.numeric)
    if width != wanted:
        raise DataError(f"x has the shape {shape}, wanted {wanted} numbers a row")
