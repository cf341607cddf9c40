"""The fitted step from raw rows to the float32 rows a network takes; JSON in the model's card.

Knows the raw unit or the columns a model was trained on, and says which row and column of an
input does not fit. Refuses to know files, networks and how its numbers were fitted.
"""

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

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
from mcdrop.data.slots import LIMIT, CategoricalColumn, Frozen, NumericColumn, check_finite
from mcdrop.errors import DataError

__all__ = [
    "ArrayPreprocessing",
    "CategoricalColumn",
    "Inputs",
    "NumericColumn",
    "Preprocessing",
    "TablePreprocessing",
]

_Above0 = Annotated[float, Field(gt=0)]

_FAINT = 1 / 16
"""Share of a typical training value below which all values of rows look like another unit's."""


@dataclass(frozen=True)
class Inputs:
    """Rows as a network takes them, and what they hold that training never met.

    Attributes:
        x: (B, D) float32.
        unknown: (B, K) bool, for each of a table's K columns; (B, 0) for arrays.
    """

    x: NDArray[np.float32]
    unknown: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, rows: slice | NDArray[np.int64]) -> "Inputs":
        """Some of the rows."""
        return Inputs(self.x[rows], self.unknown[rows])

    @classmethod
    def concatenate(cls, parts: Sequence["Inputs"]) -> "Inputs":
        """Join consecutive rows; ``parts`` holds at least one."""
        x, unknown = ([getattr(part, name) for part in parts] for name in ("x", "unknown"))
        return cls(np.concatenate(x), np.concatenate(unknown))


class ArrayPreprocessing(Frozen):
    """Rows that are arrays of one unit, such as pixels: ``(x * scale - mean) / std``."""

    kind: Literal["array"] = "array"
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="shape of one row, (28, 28) say; rows also come flat"
    )
    scale: float = Field(gt=0, description="factor from the raw unit to [0, 1]: 1/255 for pixels")
    mean: float | tuple[float, ...] = Field(
        description="subtracted after scaling; one number, or one a channel (the first axis of "
        "that length, or else the last)"
    )
    std: _Above0 | tuple[_Above0, ...] = Field(
        description="divisor after subtracting the mean; likewise"
    )
    minimum: float = Field(0.0, description="least value of the raw unit")
    maximum: float = Field(255.0, description="greatest value of the raw unit")

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        for value in (self.mean, self.std):
            if isinstance(value, tuple) and len(value) not in {self.shape[0], self.shape[-1]}:
                raise ValueError(
                    f"got {len(value)} means or stds for rows of shape {self.shape}: give one "
                    "number, or one for each channel, which are the first axis or the last"
                )
        return self

    @property
    def features(self) -> int:
        """Width D of an encoded row."""
        return math.prod(self.shape)

    @property
    def columns(self) -> tuple[str, ...]:
        """None: arrays have no columns."""
        return ()

    def inspect(self, rows: object) -> Inputs:
        """Encode raw rows, of which nothing is unknown; see `encode`.

        Warns:
            UserWarning: the rows seem to be of another unit.
        """
        x = self.encode(rows)
        if not self._of_this_unit(x):
            warnings.warn(
                f"the rows seem to be of another unit than {self.minimum:g} to {self.maximum:g}, "
                "which the model was trained on: answers about them mean little; bring them to it",
                stacklevel=3,
            )
        return Inputs(x, np.zeros((len(x), 0), np.bool_))

    def _of_this_unit(self, x: NDArray[np.float32]) -> bool:
        """Whether encoded rows reach neither twice the raw unit's range nor hardly above nothing.

        Nothing at all, a black picture, is of any unit. Together, so that one dark row is not told.
        """
        if not x.size:
            return True
        least, greatest, typical = self._ends(x)
        low, high = self.minimum * self.scale, self.maximum * self.scale
        slack = high - low + 1e-6 * typical
        if least < low - slack or greatest > high + slack:
            return False
        peak = max(abs(least), abs(greatest))
        return peak < 1e-6 * typical or peak > typical * _FAINT

    def _ends(self, x: NDArray[np.float32]) -> tuple[float, float, float]:
        """Of encoded rows the least and the greatest scaled value; and a typical one."""
        mean, std = self.mean, self.std
        if isinstance(mean, float) and isinstance(std, float):
            return float(x.min()) * std + mean, float(x.max()) * std + mean, abs(mean) + std
        scaled = x.reshape(len(x), *self.shape) * self._along(std) + self._along(mean)
        typical = float(np.max(np.abs(mean)) + np.max(std))
        return float(scaled.min()), float(scaled.max()), typical

    def encode(self, rows: object) -> NDArray[np.float32]:
        """Encode raw rows.

        Args:
            rows: (B, D), (B, *shape) or (B, 1, *shape) numbers in the raw unit, whatever their
                type: an array, nested lists, or a torch tensor.

        Returns:
            (B, D) float32.

        Raises:
            DataError: not numbers, ragged, of another shape, NaN or infinite.
        """
        raw = _array(rows)
        if raw.ndim == 0 or raw.shape[1:] not in {(self.features,), self.shape, (1, *self.shape)}:
            image = f" or (rows, {', '.join(map(str, self.shape))})" * (len(self.shape) > 1)
            raise DataError(
                f"got an array of shape {raw.shape}, wanted (rows, {self.features}){image}; a "
                "single row needs an axis of rows in front: x[None]"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            # Through float32 first, so that 0.1 means the same in JSON and in a float32 file.
            x = raw.reshape(len(raw), *self.shape).astype(np.float32)
            x *= self.scale
            x -= self._along(self.mean)
            x /= self._along(self.std)
        x = x.reshape(len(x), self.features)  # (B, D)
        check_finite(x, limit=LIMIT)
        return x

    def _along(self, value: float | tuple[float, ...]) -> Any:
        """One number as it is; one a channel along the axis of channels."""
        if isinstance(value, float):
            return value
        first = self.shape[0] == len(value)
        places = (-1, *(1 for _ in self.shape[1:])) if first else (-1,)
        return np.array(value, np.float32).reshape(places)

    def example(self, n: int = 1) -> list[Any]:
        """``n`` valid raw rows as plain JSON: the middle of the raw unit everywhere."""
        middle = (self.minimum + self.maximum) / 2
        return [[middle] * self.features for _ in range(n)]


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
        raw = _array(rows)
        if raw.ndim != 2 or raw.shape[1] != len(numeric):
            raise DataError(
                f"got an array of shape {raw.shape}, wanted (rows, {len(numeric)}): the columns "
                f"{list_names(numeric)}, in this order"
            )
        return dict(zip(numeric, raw.T.astype(np.float64), strict=True))


Preprocessing = Annotated[ArrayPreprocessing | TablePreprocessing, Field(discriminator="kind")]
"""Either form, told apart by ``kind`` when it is read from JSON."""


def _array(rows: Any) -> NDArray[Any]:
    """``rows`` as an array of numbers."""
    if hasattr(rows, "detach"):  # a torch tensor, wherever it lives
        rows = rows.detach().cpu().numpy()
    try:
        raw = np.asarray(rows)
    except ValueError:
        raise DataError("got rows of unequal lengths, wanted one length for all rows") from None
    if raw.dtype.kind not in "fiu":
        raise DataError(
            f"got {type(rows).__name__} of {raw.dtype}, wanted numbers: every value a number, "
            "none of them null, a text or a truth value"
        )
    return raw


def _records(rows: Sequence[Any], known: Collection[str]) -> Sequence[Mapping[str, Any]]:
    names = set(known)
    for row, record in enumerate(rows):
        if not isinstance(record, Mapping):
            raise DataError(f"row {row}: got {type(record).__name__}, wanted a record")
        if not record.keys() <= names:
            check_names(record, known, f"row {row}")
    return rows
