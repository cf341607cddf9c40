"""Which columns of a file the model takes, and which are only carried through.

Knows names, Arrow types and what a preprocessing wants. Refuses to know files.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mcdrop.data.columns import check_columns, is_numeric, list_names, matrix
from mcdrop.data.csv_files import headless
from mcdrop.data.files import is_list, lists
from mcdrop.data.preprocessing import Inputs, Preprocessing, TablePreprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.rows import FILE, ROW

__all__ = ["ALL", "Selection", "check_kept", "select"]

ALL = "*"
"""Kept: every column of the source."""


@dataclass(frozen=True)
class Selection:
    """Columns of one file.

    Attributes:
        inputs: columns the model takes, in its order.
        kept: columns carried through.
        preprocessing: of the model.
    """

    inputs: tuple[str, ...]
    kept: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def names(self) -> list[str]:
        """Every column to read, once."""
        return list(dict.fromkeys((*self.inputs, *self.kept)))

    def inspect(self, rows: Any) -> Inputs:
        """Encode rows as they were read: a table, an array or a list.

        Raises:
            DataError: a row does not fit.
        """
        plain = self._plain(rows) if isinstance(rows, pa.Table) else rows
        return self.preprocessing.inspect(plain)

    def _plain(self, table: pa.Table) -> Any:
        """What the preprocessing takes of a table: the table itself, or numbers (B, D)."""
        if isinstance(self.preprocessing, TablePreprocessing):
            return table.select(list(self.inputs))
        if self.inputs == ("x",) and is_list(table["x"].type):
            return lists(table["x"].combine_chunks(), self.preprocessing.features)
        return matrix(table.select(list(self.inputs)))  # (B, D)


def select(schema: pa.Schema, preprocessing: Preprocessing, keep: Sequence[str]) -> Selection:
    """Choose among the columns of a file.

    For a table they are found by name; for arrays, the file has a column ``x`` of lists, or
    exactly D columns besides those kept (or D in all).

    Raises:
        DataError: columns are absent, or their number is wrong.
    """
    names = schema.names
    kept = check_kept(names, keep)
    if isinstance(preprocessing, TablePreprocessing):
        inputs = list(preprocessing.columns)
        check_columns(names, inputs, headless(names))
        _check_numeric(schema, [column.name for column in preprocessing.numeric])
    elif "x" in names and is_list(schema.field("x").type):
        inputs = ["x"]
    else:
        fits = len(names) == preprocessing.features
        inputs = names if fits else [name for name in names if name not in keep]
        _check_width(inputs, preprocessing.features)
        _check_numeric(schema, inputs)
    return Selection(tuple(inputs), kept, preprocessing)


def check_kept(names: Collection[str], keep: Sequence[str]) -> tuple[str, ...]:
    """The source's columns to carry through, `FILE` and `ROW` left aside.

    Raises:
        DataError: there is no such column.
    """
    kept = tuple(n for n in (names if ALL in keep else keep) if n not in {FILE, ROW})
    lacking = [name for name in kept if name not in names]
    if lacking:
        raise DataError(
            f"has no column {list_names(lacking)} to keep; it has {list_names(names)}, and always "
            f"{FILE!r} and {ROW!r}"
        )
    return kept


def _check_numeric(schema: pa.Schema, names: Sequence[str]) -> None:
    """Raise where a column cannot hold a single row's number."""
    for name in names:
        kind = schema.field(name).type
        if not is_numeric(kind.value_type if pa.types.is_dictionary(kind) else kind):
            raise DataError(f"column {name!r} holds {kind}, wanted numbers: store them as numbers")


def _check_width(names: Sequence[str], features: int) -> None:
    """Raise where the columns left are not one a feature."""
    if len(names) != features:
        raise DataError(
            f"{len(names)} columns, wanted exactly the {features} of a row: leave out every other "
            f"column, or name it by --keep, with '*' too (it has {list_names(names, 5)})"
        )
