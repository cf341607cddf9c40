"""The fitted step from raw rows to the float32 rows a network takes; JSON in the model's card.

Knows the raw unit or the columns a model was trained on, and says which row and column of an
input does not fit. Refuses to know files, networks and how its numbers were fitted.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mcdrop.data.columns import (
    arrow_table,
    check_columns,
    check_names,
    is_table,
    labels,
    list_names,
    numbers,
    record_labels,
    record_numbers,
)
from mcdrop.data.slots import CategoricalColumn, Frozen, NumericColumn
from mcdrop.data.units import ArrayPreprocessing, Inputs, array_of
from mcdrop.errors import DataError

__all__ = [
    "ArrayPreprocessing",
    "CategoricalColumn",
    "Inputs",
    "NumericColumn",
    "Preprocessing",
    "TablePreprocessing",
]


class TablePreprocessing(Frozen):
    """Rows of named columns: numbers are standardized, labels one-hot."""

    kind: Literal["table"] = "table"
    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    most_missing: int | None = Field(
        None, ge=0, description="most values that a training row missed; None: not counted"
    )

    @property
    def features(self) -> int:
        """Width D of an encoded row."""
        return sum(c.width for c in self.numeric) + sum(c.width for c in self.categorical)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: the numeric ones, then the categorical ones."""
        return tuple([c.name for c in self.numeric] + [c.name for c in self.categorical])

    def encode(self, rows: object) -> NDArray[np.float32]:
        """The rows (B, D) of `inspect` alone."""
        return self.inspect(rows).x

    def inspect(self, rows: object) -> Inputs:
        """Encode raw rows, and find what training never met.

        Unknown are a missing value where no training row missed one, a label that training left
        no slot for, and a number farther outside the training rows' range than that is wide. So
        are all that a row misses, where it misses more values than any training row: each gap is
        known, but not all of them at once.

        Args:
            rows: a table: of Arrow, a data frame that speaks Arrow, or a dictionary of columns;
                with every column, in any order, and others, which are left alone. Or a list of
                records ``{column: value}``, where an absent key or None is a missing value. Or,
                where every column is numeric, (B, columns) numbers, in which NaN is one.

        Returns:
            x (B, D): the numeric columns' slots, then the categorical columns'; unknown (B, K),
            by `columns`.

        Raises:
            DataError: a table lacks a column, a record has one that is unknown, or a value does
                not fit its column.
        """
        values = self._values(rows)
        columns: tuple[Any, ...] = (*self.numeric, *self.categorical)
        cells = [column.inspect(values[column.name]) for column in columns]
        unknown = np.column_stack([flags for _, flags in cells])  # (B, K)
        if self.most_missing is not None:
            marks = [slots[:, -1] * c.missing for c, (slots, _) in zip(columns, cells, strict=True)]
            missed = np.column_stack(marks) > 0  # (B, K)
            unknown |= missed & (missed.sum(axis=1, keepdims=True) > self.most_missing)
        return Inputs(np.hstack([slots for slots, _ in cells]), unknown)  # (B, D), (B, K)

    def example(self, n: int = 1) -> list[Any]:
        """``n`` valid raw rows as records: means, and each column's first label."""
        numeric = {column.name: float(f"{column.mean:.4g}") for column in self.numeric}
        categorical = {column.name: column.categories[0] for column in self.categorical}
        return [{**numeric, **categorical} for _ in range(n)]

    def _values(self, rows: object) -> dict[str, Any]:
        numeric = [column.name for column in self.numeric]
        categorical = [column.name for column in self.categorical]
        if is_table(rows):
            table = arrow_table(rows)
            check_columns(table.column_names, self.columns)
            return {name: numbers(table[name], name) for name in numeric} | {
                name: labels(table[name], name) for name in categorical
            }
        if isinstance(rows, Sequence) and rows and isinstance(rows[0], Mapping):
            records = _records(rows, self.columns)
            return {name: record_numbers(records, name) for name in numeric} | {
                name: record_labels(records, name) for name in categorical
            }
        if categorical or (isinstance(rows, Sequence) and not rows):
            raise DataError(
                f"got {type(rows).__name__} without column names, wanted an Arrow table or a list "
                f"of one record or more with the columns {list_names(self.columns)}"
            )
        raw = array_of(rows)
        if raw.ndim != 2 or raw.shape[1] != len(numeric):
            raise DataError(
                f"got an array of shape {raw.shape}, wanted (rows, {len(numeric)}): the columns "
                f"{list_names(numeric)}, in this order"
            )
        return dict(zip(numeric, raw.T.astype(np.float64), strict=True))


Preprocessing = Annotated[ArrayPreprocessing | TablePreprocessing, Field(discriminator="kind")]
"""Either form, told apart by ``kind`` when it is read from JSON."""


def _records(rows: Sequence[Any], known: Collection[str]) -> Sequence[Mapping[str, Any]]:
    names = set(known)
    for row, record in enumerate(rows):
        if not isinstance(record, Mapping):
            raise DataError(f"row {row}: got {type(record).__name__}, wanted a record")
        if not record.keys() <= names:
            check_names(record, known, f"row {row}")
    return rows
