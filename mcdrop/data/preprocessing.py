"""The fitted step from raw rows to the float32 rows a network takes; JSON in the model's card.

Knows the raw unit or the columns a model was trained on, and says which row and column of an
input does not fit. Refuses to know files, networks and how its numbers were fitted.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mcdrop.data.columns import (
    Labels,
    arrow_table,
    check_names,
    labels,
    list_names,
    numbers,
    record_labels,
    record_numbers,
)
from mcdrop.errors import DataError

__all__ = [
    "ArrayPreprocessing",
    "CategoricalColumn",
    "NumericColumn",
    "Preprocessing",
    "TablePreprocessing",
]

Encoded = NDArray[np.float32]

_LIMIT = 1e12
"""Greatest encoded magnitude: beyond it, sums and squares within a network may overflow."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ArrayPreprocessing(_Frozen):
    """Rows that are arrays of one unit, such as pixels: ``(x * scale - mean) / std``."""

    kind: Literal["array"] = "array"
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="shape of one row, (28, 28) say; rows also come flat"
    )
    scale: float = Field(gt=0, description="factor from the raw unit to [0, 1]: 1/255 for pixels")
    mean: float = Field(description="subtracted after scaling")
    std: float = Field(gt=0, description="divisor after subtracting the mean")
    minimum: float = Field(0.0, description="least value of the raw unit")
    maximum: float = Field(255.0, description="greatest value of the raw unit")

    @property
    def features(self) -> int:
        """Width D of an encoded row."""
        return math.prod(self.shape)

    def encode(self, rows: object) -> Encoded:
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
            x = raw.reshape(len(raw), self.features).astype(np.float32)  # (B, D)
            x *= self.scale
            x -= self.mean
            x /= self.std
        _check_finite(x, limit=_LIMIT)
        return x

    def example(self, n: int = 1) -> list[Any]:
        """``n`` valid raw rows as plain JSON: the middle of the raw unit everywhere."""
        middle = (self.minimum + self.maximum) / 2
        return [[middle] * self.features for _ in range(n)]


class NumericColumn(_Frozen):
    """A column of numbers: standardized; a missing value becomes the training mean, 0."""

    name: str
    mean: float = Field(description="mean of the training rows, in the column's unit")
    std: float = Field(gt=0, description="standard deviation of the training rows")
    missing: bool = Field(
        description="whether training rows missed the value, so that a second slot marks it"
    )
    minimum: float | None = Field(None, description="least value of the training rows")
    maximum: float | None = Field(None, description="greatest value of the training rows")

    @property
    def width(self) -> int:
        """Slots this column fills."""
        return 1 + self.missing

    def encode(self, values: NDArray[np.float64]) -> Encoded:
        """Encode (B,) numbers, NaN where missing, to (B, width)."""
        _check_finite(np.where(np.isnan(values), 0, values)[:, None], [self.name])
        with np.errstate(over="ignore"):
            slots = ((values - self.mean) / self.std)[:, None].astype(np.float32)
        gaps = np.isnan(slots)
        slots[gaps] = 0
        _check_finite(slots, [self.name], _LIMIT)
        return np.hstack([slots, gaps.astype(np.float32)]) if self.missing else slots


class CategoricalColumn(_Frozen):
    """A column of labels: one slot each, and one for the unknown and one for the missing.

    A slot that no training row fills would reach the network through weights that were never
    trained. So the last two exist only if training rows fill them; without its slot, an unknown
    or missing label is a row of zeros.
    """

    name: str
    categories: tuple[str, ...] = Field(min_length=1, description="labels that have a slot")
    unknown: bool = Field(description="whether labels too rare for a slot trained the unknown one")
    missing: bool = Field(description="whether training rows missed the label")

    @property
    def width(self) -> int:
        """Slots this column fills."""
        return len(self.categories) + self.unknown + self.missing

    def encode(self, values: Labels) -> Encoded:
        """Encode B labels, None where missing, to (B, width)."""
        slot: dict[str | None, int] = {label: i for i, label in enumerate(self.categories)}
        unknown = len(self.categories) if self.unknown else -1
        slot[None] = self.width - 1 if self.missing else -1
        filled = np.array([slot.get(value, unknown) for value in values], dtype=np.int64)  # (B,)
        hot = np.zeros((len(filled), self.width), dtype=np.float32)
        known = np.flatnonzero(filled >= 0)
        hot[known, filled[known]] = 1
        return hot


class TablePreprocessing(_Frozen):
    """Rows of named columns: numbers are standardized, labels one-hot."""

    kind: Literal["table"] = "table"
    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]

    @property
    def features(self) -> int:
        """Width D of an encoded row."""
        return sum(c.width for c in self.numeric) + sum(c.width for c in self.categorical)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: the numeric ones, then the categorical ones."""
        return tuple([c.name for c in self.numeric] + [c.name for c in self.categorical])

    def encode(self, rows: object) -> Encoded:
        """Encode raw rows.

        Args:
            rows: an Arrow table or record batch (or a data frame that speaks Arrow) with the
                columns in any order; or a list of records ``{column: value}``, where an absent
                key or None is a missing value; or, where every column is numeric, (B, columns)
                numbers, in which NaN is a missing value.

        Returns:
            (B, D) float32: the numeric columns' slots, then the categorical columns'.

        Raises:
            DataError: a column is unknown or missing, or a value does not fit its column.
        """
        values = self._values(rows)
        numeric = [column.encode(values[column.name]) for column in self.numeric]
        categorical = [column.encode(values[column.name]) for column in self.categorical]
        return np.hstack(numeric + categorical)  # (B, D)

    def example(self, n: int = 1) -> list[Any]:
        """``n`` valid raw rows as records: means, and each column's first label."""
        numeric = {column.name: float(f"{column.mean:.4g}") for column in self.numeric}
        categorical = {column.name: column.categories[0] for column in self.categorical}
        return [{**numeric, **categorical} for _ in range(n)]

    def _values(self, rows: object) -> dict[str, Any]:
        numeric = [column.name for column in self.numeric]
        categorical = [column.name for column in self.categorical]
        if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
            table = arrow_table(rows)
            check_names(table.column_names, self.columns, "the table")
            absent = [name for name in self.columns if name not in table.column_names]
            if absent:
                raise DataError(f"the table lacks columns: {list_names(absent)}; add them")
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
    for row, record in enumerate(rows):
        if not isinstance(record, Mapping):
            raise DataError(f"row {row}: got {type(record).__name__}, wanted a record")
        if not record.keys() <= set(known):
            check_names(record, known, f"row {row}")
    return rows


def _check_finite(
    values: NDArray[Any],
    names: Sequence[str] | None = None,
    limit: float = np.finfo(np.float64).max,
) -> None:
    """Raise where (B, D) ``values`` hold NaN or exceed ``limit``; name columns or give places."""
    if not values.size or (values.min() >= -limit and values.max() <= limit):  # False for NaN
        return
    row, column = (int(i) for i in np.argwhere(~(np.abs(values) <= limit))[0])
    name = repr(names[column]) if names else column
    raise DataError(
        f"row {row}, column {name}: NaN, infinity or a number too large, wanted a finite number "
        "(rows count from 0)"
    )
