"""What the user should hear about a table of training rows, since nothing else will show it.

Knows texts that keep a column from being one of numbers. Refuses to know files, recipes and what
becomes of the columns.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping

import pyarrow as pa

from mcdrop.data.columns import is_numeric, labels

__all__ = ["stray_note", "stray_texts"]


def stray_texts(table: pa.Table, known: Collection[str]) -> tuple[str, ...]:
    """A note for each column of texts of which more are numbers than are not.

    Args:
        table: the training rows.
        known: columns to say nothing of: left out, or meant to be labels.
    """
    columns = (name for name in table.column_names if name not in known)
    texts = {name: table[name] for name in columns if not is_numeric(table[name].type)}
    notes = (stray_note(Counter(labels(column, name)), name) for name, column in texts.items())
    return tuple(note for note in notes if note)


def stray_note(rows: Mapping[str | None, int], name: str) -> str | None:
    """What there is to say of a column, by the rows of each of its labels; None: nothing."""
    counts = Counter({label: count for label, count in rows.items() if label is not None})
    strays = Counter({label: count for label, count in counts.items() if not _is_number(label)})
    numbers = counts.total() - strays.total()
    if not strays or strays.total() >= numbers:
        return None
    common = strays.most_common(1)[0][0]
    return (
        f"column {name!r:.60} is one of labels: {numbers:,} of its values are numbers, but "
        f"{strays.total():,} are not, as {common!r:.60}. If it is a quantity, leave such fields "
        "empty, write numbers with a point, and train again; else name it in `categorical`"
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
