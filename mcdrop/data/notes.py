"""What the user should hear about a table of training rows, since nothing else will show it.

Knows texts that are quantities badly written or hardly alike, numbers that are names of rows or of
classes. Refuses to know files, recipes and what becomes of the columns.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa

from mcdrop.data.columns import is_numeric, labels, list_names, numbers

__all__ = ["RARE", "quantity_note", "table_notes", "target_notes"]

RARE = 5
"""Training rows that a label needs for a slot of its own.

All rarer labels share one, which also takes the labels to come, if it has as many rows in all."""

_FEW_CLASSES = 20  # numbers of more values than this are seldom names of classes
_FEW_ROWS = 200  # fewer distinct numbers may be distinct by chance
_QUANTITY = re.compile(r"[-+(]?\s*[$€£¥]?\s*[-+]?\d[\d.,'\s]*[%$€£¥]?\)?")
_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T\s].*)?")


def table_notes(table: pa.Table, known: Collection[str]) -> tuple[str, ...]:
    """What there is to say of the columns of training rows.

    Args:
        table: the training rows.
        known: columns to say nothing of: left out, or meant to be labels.
    """
    columns = {name: table[name] for name in table.column_names if name not in known}
    found = (
        _numbering_note(column, name)
        if is_numeric(column.type)
        else _column_note(Counter(labels(column, name)), name)
        for name, column in columns.items()
    )
    return tuple(note for note in found if note)


def target_notes(column: pa.ChunkedArray, name: str) -> tuple[str, ...]:
    """What there is to say of the classes of training rows, which are this column's labels."""
    rows = _counts(Counter(labels(column, name)))
    if is_numeric(column.type) and len(rows) > _FEW_CLASSES:
        return (
            f"target {name!r:.60} is learned as {len(rows)} classes, each number one: set "
            "task = 'regression' if it is a quantity",
        )
    note = _alike_note(rows, f"target {name!r:.60}")
    return (note,) if note else ()


def quantity_note(rows: Mapping[str | None, int], name: str) -> str | None:
    """What to do with a column of texts that are quantities or dates; None: they are not.

    Args:
        rows: how many rows have each label.
        name: of the column.
    """
    counts, what = _counts(rows), f"column {name!r:.60}"
    return _stray_note(counts, what) or _written_note(counts, what)


def _column_note(rows: Mapping[str | None, int], name: str) -> str | None:
    counts, what = _counts(rows), f"column {name!r:.60}"
    return quantity_note(rows, name) or _rare_note(counts, what) or _alike_note(counts, what)


def _stray_note(counts: Counter[str], what: str) -> str | None:
    """Of texts among more numbers."""
    strays = Counter({label: count for label, count in counts.items() if not _is_number(label)})
    found = counts.total() - strays.total()
    if not strays or strays.total() >= found:
        return None
    common = strays.most_common(1)[0][0]
    return (
        f"{what} is one of labels: {found:,} of its values are numbers, but {strays.total():,} are "
        f"not, as {common!r:.60}. If it is a quantity, leave such fields empty, write numbers with "
        "a point, and train again; else name it in `categorical`"
    )


def _written_note(counts: Counter[str], what: str) -> str | None:
    """Of quantities with a sign, a percentage or a comma, and of dates."""
    written = Counter({label: count for label, count in counts.items() if _is_written(label)})
    odd = [label for label in written if not _is_number(label)]
    if not odd or 2 * written.total() <= counts.total():
        return None
    return (
        f"{what} is one of labels: {written.total():,} of its values are written as quantities or "
        f"dates, as {odd[0]!r:.60}. To have their order learned, make plain numbers of them "
        "(1234.5; days since a date); else name it in `categorical`"
    )


def _rare_note(counts: Counter[str], what: str) -> str | None:
    """Of labels most of which are too rare to be learned from."""
    rare = Counter({label: count for label, count in counts.items() if count < RARE})
    if 2 * rare.total() <= counts.total():
        return None
    return (
        f"{what} has {len(counts):,} labels, and {rare.total():,} of {counts.total():,} rows one "
        f"that fewer than {RARE} rows have, as {next(iter(rare))!r:.60}: nothing is learned of "
        "these. Make fewer labels or numbers of it, or name it in `drop`"
    )


def _alike_note(counts: Counter[str], what: str) -> str | None:
    """Of labels that a person would take for one."""
    alike = defaultdict(list)
    for label in counts:
        alike[" ".join(label.casefold().split())].append(label)
    several = next((names for names in alike.values() if len(names) > 1), None)
    if several is None:
        return None
    return (
        f"{what} has labels that differ in nothing but case or spaces: {list_names(several, 4)}. "
        "Each is learned as one of its own: write them as one"
    )


def _numbering_note(column: pa.ChunkedArray, name: str) -> str | None:
    """Of whole numbers that all differ, though few enough were to choose from."""
    values = numbers(column, name)
    if len(values) < _FEW_ROWS or not np.isfinite(values).all() or (values % 1).any():
        return None
    if np.ptp(values) >= 10 * len(values) or len(np.unique(values)) < len(values):
        return None
    return (
        f"column {name!r:.60} seems to number the rows: name it in `drop`, unless a row's place "
        "tells of its target"
    )


def _counts(rows: Mapping[str | None, int]) -> Counter[str]:
    return Counter({label: count for label, count in rows.items() if label is not None})


def _is_written(text: str) -> bool:
    return bool(_QUANTITY.fullmatch(text.strip()) or _DATE.fullmatch(text.strip()))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
