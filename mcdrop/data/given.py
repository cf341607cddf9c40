"""Rows, scale and truth of a network trained elsewhere, as its owner states them.

Knows what numbers, names and scales make of rows, and what a truth says of the task. Refuses to
fit anything: the network has learned with what is stated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcdrop.data.columns import (
    arrow_table,
    check_columns,
    check_names,
    is_table,
    numbers,
    record_labels,
)
from mcdrop.data.preprocessing import (
    ArrayPreprocessing,
    CategoricalColumn,
    Inputs,
    NumericColumn,
    Preprocessing,
    TablePreprocessing,
)
from mcdrop.errors import InputError

__all__ = ["Truth", "given_truth", "inspect_table", "preprocessing_of", "raw_numbers"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What held-out rows are.

    Attributes:
        y: (B,) indices of classes, or (B, C) numbers.
        classes: labels by index; empty for a regression.
        targets: names of a regression's targets; empty for a classification.
    """

    y: NDArray[Any]
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


def raw_numbers(rows: Any) -> NDArray[Any]:
    """Rows as an array (B, ...) of finite numbers, B >= 1; InputError for anything else."""
    rows = rows.detach().cpu() if hasattr(rows, "detach") else rows
    try:
        raw = np.asarray(rows)
        raw = raw.astype(np.float64) if raw.dtype == object else raw
    except (TypeError, ValueError) as error:
        raise InputError(f"rows are no array of numbers: {error}; encode texts first") from None
    if raw.ndim < 2 or not raw.size or raw.dtype.kind not in "fiub":
        raise InputError(
            f"got rows of shape {raw.shape} and {raw.dtype}, wanted numbers (rows, features) or "
            "(rows, ...)"
        )
    bad = np.flatnonzero(~np.isfinite(raw.reshape(len(raw), -1)).all(axis=1))
    if len(bad):
        raise InputError(
            f"row {bad[0]} holds NaN or an infinite number: impute as for training (rows count "
            "from 0)"
        )
    return raw.astype(np.uint8) if raw.dtype.kind == "b" else raw


def preprocessing_of(
    raw: NDArray[Any], columns: Sequence[str] | None, scale: float, mean: ArrayLike, std: ArrayLike
) -> Preprocessing:
    """What encodes rows as ``(raw * scale - mean) / std``: an array of one unit, or columns.

    Columns are named ``x0``, ``x1`` and so on where ``mean`` or ``std`` has one number for each
    and no names are given. An axis of one channel, (B, 1, height, width), makes a gray picture; of
    rows of three axes, the first or the last may be channels with a number each.

    Raises:
        InputError: names, scales and rows do not fit each other.
    """
    mean, std = _standard(scale, mean, std)
    lengths = {1, raw.shape[1], raw.shape[-1]} if raw.ndim == 4 else {1}
    if columns is None and {mean.size, std.size} <= lengths:
        shape = raw.shape[2:] if raw.ndim == 4 and raw.shape[1] == 1 else raw.shape[1:]
        low, high = (0, 255) if raw.dtype == np.uint8 else (float(raw.min()), float(raw.max()))
        each = [value.item() if value.size == 1 else tuple(value.ravel()) for value in (mean, std)]
        return ArrayPreprocessing(
            shape=shape, scale=scale, mean=each[0], std=each[1], minimum=low, maximum=high
        )
    names = [f"x{i}" for i in range(raw.shape[1])] if columns is None else list(map(str, columns))
    return TablePreprocessing(numeric=_numeric(raw, names, scale, mean, std), categorical=())


def inspect_table(
    rows: Any,
    columns: Sequence[str] | None,
    categories: Mapping[str, Sequence[Any]],
    scale: float,
    mean: ArrayLike,
    std: ArrayLike,
) -> tuple[TablePreprocessing, Inputs]:
    """What encodes a table with columns of labels, and the table encoded.

    The columns of numbers come first, in the order of ``columns`` (None: of the table); then a slot
    for each of ``categories``, in theirs. A label that is none of them, or missing, fills no slot.

    Raises:
        InputError: rows are no table, lack a column, or hold something other than finite numbers.
    """
    if not is_table(rows):
        raise InputError(f"got {type(rows).__name__} with categories, wanted a data frame")
    table = arrow_table(rows)
    check_names(table.column_names, table.column_names, "the table")
    check_columns(table.column_names, list(dict.fromkeys([*(columns or ()), *categories])))
    plain = [name for name in columns or table.column_names if name not in categories]
    numeric: tuple[NumericColumn, ...] = ()
    if plain:
        raw = raw_numbers(np.column_stack([numbers(table[name], name) for name in plain]))
        numeric = _numeric(raw, plain, scale, *_standard(scale, mean, std))
    categorical = tuple(_categorical(name, known) for name, known in categories.items())
    preprocessing = TablePreprocessing(numeric=numeric, categorical=categorical)
    return preprocessing, preprocessing.inspect(table)


def _standard(scale: float, mean: ArrayLike, std: ArrayLike) -> tuple[Floats, Floats]:
    mean, std = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if not (scale > 0 and np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise InputError(
            f"got scale {scale}, mean {mean}, std {std}: wanted finite, scale, std > 0"
        )
    return mean, std


def _numeric(
    raw: NDArray[Any], names: Sequence[str], scale: float, mean: Floats, std: Floats
) -> tuple[NumericColumn, ...]:
    width = raw.shape[1]
    if raw.ndim != 2 or len(set(names)) != width or {mean.size, std.size} - {1, width}:
        raise InputError(
            f"got {len(set(names))} names, {mean.size} means and {std.size} stds for rows of shape "
            f"{raw.shape[1:]}: give one a column (of pictures, a channel), or one number for all"
        )
    each = zip(
        names,
        np.broadcast_to(mean.ravel(), width) / scale,
        np.broadcast_to(std.ravel(), width) / scale,
        raw.T.astype(np.float64),
        strict=True,
    )
    return tuple(
        NumericColumn(
            name=name, mean=m, std=s, missing=False, minimum=values.min(), maximum=values.max()
        )
        for name, m, s, values in each
    )


def _categorical(name: str, known: Sequence[Any]) -> CategoricalColumn:
    slots = [label for label in record_labels([{name: value} for value in known], name) if label]
    if not slots or len(set(slots)) < len(known):
        raise InputError(
            f"got the categories {list(known)!r:.200} of {name!r}, wanted a label of its own for "
            "each slot"
        )
    return CategoricalColumn(name=name, categories=tuple(slots), unknown=False, missing=False)


def given_truth(
    truth: ArrayLike,
    outputs: int,
    classes: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
) -> Truth:
    """What ``truth`` says of the task of a network of so many outputs.

    A class it is where classes are named, or each row has one whole number (or text) and the
    network several outputs; or one output, and nothing but 0 and 1 to tell apart.

    Args:
        truth: (B,) indices or labels of classes; or (B,) or (B, outputs) numbers.
        outputs: of the network; those of learned variances not counted.
        classes: labels by index.
        targets: names of a regression's targets.

    Raises:
        InputError: truth and outputs do not fit each other.
    """
    y = np.asarray(truth)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim == 1 and targets is None:
        both = outputs == 1 and y.dtype.kind in "fiub" and bool(np.isin(y, (0, 1)).all())
        if classes is not None or both or (outputs > 1 and y.dtype.kind not in "f"):
            return _classes(y.astype(np.int64) if both else y, max(outputs, 2), classes)
    if y.dtype.kind not in "fiub" or classes is not None:
        raise InputError(
            f"got truth of shape {y.shape} and {y.dtype}, wanted an index or a label of `classes` "
            "for each row, or numbers"
        )
    values = y.astype(np.float64).reshape(len(y), -1)
    if values.shape[1] > 1 and targets is None and np.isin(values, (0, 1)).all():
        raise InputError(
            f"got truth of shape {y.shape} of nothing but 0 and 1, wanted an index a row: give "
            "y.argmax(axis=1) where one of them is 1; adopt a network for each where several may "
            "be; or name `targets`, if numbers are meant"
        )
    if values.shape[1] != outputs or not np.isfinite(values).all():
        raise InputError(
            f"got truth of shape {y.shape}, wanted {outputs} finite numbers a row, as many as the "
            "network has outputs (for classes: a whole number each; for outputs that are means and "
            "logarithms of variances: variance='learned')"
        )
    names = tuple(targets or (["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]))
    if len(names) != outputs:
        raise InputError(f"got {len(names)} targets, the network has {outputs} outputs")
    return Truth(values, targets=names)


def _classes(y: NDArray[Any], outputs: int, classes: Sequence[str] | None) -> Truth:
    labels = tuple(map(str, range(outputs) if classes is None else classes))
    if len(set(labels)) != outputs:
        raise InputError(f"got {len(set(labels))} classes, the network has {outputs} outputs")
    if y.dtype.kind in "iub":
        found = y.astype(np.int64)
    else:
        index = {label: i for i, label in enumerate(labels)}
        found = np.array([index.get(str(label), -1) for label in y], dtype=np.int64)
    wrong = np.flatnonzero((found < 0) | (found >= outputs))
    if len(wrong):
        raise InputError(
            f"row {wrong[0]} has the class {y[wrong[0]]!r}: wanted an index below {outputs}, or "
            f"one of {', '.join(labels[:10])}{', ...' * (outputs > 10)} (rows count from 0)"
        )
    return Truth(found, classes=labels)
