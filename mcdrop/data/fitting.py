"""Fitting the preprocessing: from training rows, and from nothing else.

Knows means, spreads and which labels are common enough to be learned from. Refuses to know files
and splits: the caller passes training rows only.
"""

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.data.columns import Labels, check_names, is_numeric, labels, numbers
from mcdrop.data.notes import RARE, quantity_note
from mcdrop.data.preprocessing import (
    ArrayPreprocessing,
    CategoricalColumn,
    NumericColumn,
    TablePreprocessing,
)
from mcdrop.errors import DataError

__all__ = ["fit_array", "fit_table"]


def fit_array(
    rows: NDArray[Any],
    *,
    minimum: float,
    maximum: float,
    mean: float | None = None,
    std: float | None = None,
) -> ArrayPreprocessing:
    """Fit the preprocessing of arrays (B, *shape) whose raw unit spans ``minimum..maximum``.

    The scale brings the greatest magnitude to 1. Without ``mean`` and ``std``, those of all scaled
    values of ``rows`` are taken.
    """
    scale = 1 / (max(abs(minimum), abs(maximum)) or 1.0)
    if mean is None or std is None:
        mean = float(rows.mean(dtype=np.float64)) * scale
        std = float(rows.std(dtype=np.float64)) * scale or 1.0
    return ArrayPreprocessing(
        shape=rows.shape[1:], scale=scale, mean=mean, std=std, minimum=minimum, maximum=maximum
    )


def fit_table(
    table: pa.Table,
    *,
    drop: Collection[str] = (),
    categorical: Collection[str] = (),
    target: str | None = None,
) -> TablePreprocessing:
    """Fit the preprocessing of a table of training rows.

    Args:
        table: the training rows.
        drop: columns to leave out.
        categorical: numeric columns to treat as labels; texts and truth values always are.
        target: the target's column, also left out.

    Raises:
        DataError: a name is not in the table, a column cannot be encoded, or none is left.
    """
    named = [*drop, *categorical, *([target] if target else [])]
    check_names(table.column_names, table.column_names, "the table")
    check_names(dict.fromkeys(named), table.column_names, "the recipe")
    numeric_columns, label_columns = [], []
    missed = np.zeros(len(table), np.int64)  # values of each row
    for name in table.column_names:
        if name == target or name in drop:
            continue
        if is_numeric(table[name].type) and name not in categorical:
            values = numbers(table[name], name)
            numeric_columns.append(_fit_numbers(values, name))
            missed += np.isnan(values)
        else:
            found = labels(table[name], name)
            label_columns.append(_fit_labels(found, name))
            missed += [label is None for label in found]
    if not (numeric_columns or label_columns):
        raise DataError("the table has no column left to learn from beside the target and `drop`")
    return TablePreprocessing(
        numeric=tuple(numeric_columns),
        categorical=tuple(label_columns),
        most_missing=int(missed.max()),
    )


def _fit_numbers(values: NDArray[np.float64], name: str) -> NumericColumn:
    known = values[~np.isnan(values)]
    if not len(known):
        raise DataError(f"column {name!r} has no value in any training row: name it in `drop`")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(known.mean()), float(known.std())
    if not np.isfinite(std):
        raise DataError(f"column {name!r} holds an infinite number, or one too large: mend the row")
    std = std if std > 1e-12 * abs(mean) else 1.0  # a constant, up to rounding
    return NumericColumn(
        name=name,
        mean=mean,
        std=std,
        missing=len(known) < len(values),
        minimum=float(known.min()),
        maximum=float(known.max()),
    )


def _fit_labels(values: Labels, name: str) -> CategoricalColumn:
    counts = Counter(values)
    gaps = counts.pop(None, 0)
    kept = sorted(label for label, rows in counts.items() if rows >= RARE and label is not None)
    if not kept:
        raise DataError(
            quantity_note(counts, name)
            or f"column {name!r} has {len(counts)} labels, none of them in {RARE} training rows or "
            "more: there is nothing to learn from it; name it in `drop`"
        )
    rare = counts.total() - sum(counts[label] for label in kept)
    return CategoricalColumn(
        name=name, categories=tuple(kept), unknown=rare >= RARE, missing=gaps > 0
    )
