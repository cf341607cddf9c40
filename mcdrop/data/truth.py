"""Training files of the user's own: rows beside the truth the recipe wants learned.

Knows how a file's target becomes class indices or numbers. Refuses to know splits and encoding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.data.columns import is_numeric, labels, list_names, numbers
from mcdrop.data.csv_files import headless
from mcdrop.data.files import Block, read_arrays, read_table
from mcdrop.errors import DataError
from mcdrop.recipe import DataRecipe

__all__ = [
    "Truth",
    "check_varied",
    "class_indices",
    "class_labels",
    "outputs",
    "read_labeled",
]

Truth = dict[str, pa.ChunkedArray]
"""The target columns by name, a value a row: one for classes, one or more for numbers."""


def read_labeled(data: DataRecipe, path: Path) -> tuple[Block, Truth]:
    """Read rows and truth of a file.

    NPZ files give ``x`` and ``y``. Flat rows (N, D) become a table of the columns ``x0``, ``x1``
    and so on, each with its own scale, but pixels (uint8) and rows of more dimensions stay an
    array of one unit.

    Raises:
        DataError: the file cannot be read, or lacks the target.
    """
    if path.suffix.lower() == ".npz":
        x, y = read_arrays(path)
        _check_rows(x, path)
        if x.ndim == 2 and x.dtype != np.uint8:
            x = pa.table({f"x{i}": column for i, column in enumerate(x.T)})
        flat = y.reshape(len(y), -1)  # (N, outputs)
        names = ["y"] if flat.shape[1] == 1 else [f"y{i}" for i in range(flat.shape[1])]
        columns = (pa.chunked_array([pa.array(column)]) for column in flat.T)
        return x, dict(zip(names, columns, strict=True))
    table = read_table(path, text=data.categorical)
    if not data.target_names:
        raise DataError(f"the recipe names no target: set data.target to a column of {path}")
    for name in data.target_names:
        if name not in table.column_names:
            raise DataError(
                f"{path} has no target column {name!r}: it has {list_names(table.column_names)}"
                f"{headless(table.column_names)}"
            )
    truth = {name: table[name] for name in data.target_names}
    return table.drop_columns(list(truth)), truth


def class_labels(truth: Truth) -> tuple[str, ...]:
    """The classes in the truth of training rows: numbers ascending, texts by alphabet.

    Raises:
        DataError: fewer than two classes, or so many that the target looks like a quantity.
    """
    name, column = _only(truth)
    found = set(labels(column, name)) - {None}
    if len(found) < 2 or len(found) > max(2, len(column) // 2):
        raise DataError(
            f"target {name!r} has {len(found)} classes in {len(column)} rows, wanted at least two "
            "classes of several rows each; set task = 'regression' where it is a quantity"
        )
    if is_numeric(column.type):
        return tuple(sorted((str(label) for label in found), key=float))
    return tuple(sorted(str(label) for label in found))


def class_indices(truth: Truth, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The truth as indices into ``classes``, (B,).

    Raises:
        DataError: a row has no class, or one that is not in ``classes``.
    """
    name, column = _only(truth)
    index: dict[str | None, int] = {label: i for i, label in enumerate(classes)}
    found = labels(column, name)
    bad = [row for row, label in enumerate(found) if label not in index]
    if bad:
        label = found[bad[0]]
        came = "no class" if label is None else f"the class {label!r:.60}"
        raise DataError(
            f"row {bad[0]} has {came} in target {name!r}, wanted one of {list_names(classes)}: "
            f"{_mend(len(bad))}"
        )
    return np.array([index[label] for label in found], dtype=np.int64)


def outputs(truth: Truth) -> NDArray[np.float64]:
    """The truth as numbers in their own units, (B, outputs).

    Raises:
        DataError: a target is missing, infinite or no number.
    """
    for name, column in truth.items():
        bad = np.flatnonzero(~np.isfinite(numbers(column, name)))
        if len(bad):
            raise DataError(
                f"row {bad[0]} has no finite number in target {name!r}: {_mend(len(bad))}"
            )
    return np.column_stack([numbers(column, name) for name, column in truth.items()])


def check_varied(y: NDArray[np.float64], targets: Sequence[str]) -> None:
    """Refuse quantities (B, outputs) to train on of which one is the same in all rows, if several.

    Raises:
        DataError: as said.
    """
    for values, name in zip(y.T, targets, strict=True):
        if len(values) > 1 and (values == values[0]).all():
            raise DataError(
                f"target {name!r:.60} is {values[0]:g} in all rows, wanted a quantity that varies: "
                "name another column, or leave this one out"
            )


def _mend(bad: int) -> str:
    rows = "the row" if bad == 1 else f"this and {bad - 1:,} more such rows"
    return f"mend or leave out {rows} (rows count from 0)"


def _check_rows(x: NDArray[Any], path: Path) -> None:
    """Refuse what no preprocessing can be fitted to."""
    if x.ndim < 2 or not x.size or x.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: x has the shape {x.shape} and holds {x.dtype}, wanted numbers of shape "
            "(rows, features) or (rows, height, width)"
        )
    if x.ndim > 2 and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise DataError(f"{path}: row {row} of x holds NaN or infinity (rows count from 0)")


def _only(truth: Truth) -> tuple[str, pa.ChunkedArray]:
    if len(truth) != 1:
        raise DataError(
            f"got {len(truth)} targets, wanted one class a row; set task = 'regression' to learn "
            "several quantities"
        )
    return next(iter(truth.items()))
