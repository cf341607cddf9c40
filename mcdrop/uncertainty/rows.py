"""Rows of statistics, which are cut and joined whatever statistics they hold."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Rows"]

Array = NDArray[np.float64]


class Rows:
    """Rows of arrays that can be cut and joined."""

    def rows(self, rows: slice | NDArray[np.int64]) -> Self:
        """The same statistics for some rows only, by a slice (views) or by places (copies)."""
        cut: Self = _map([self], lambda arrays: arrays[0][rows])
        return cut

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Join statistics of consecutive rows; ``parts`` holds at least one."""
        joined: Self = _map(parts, np.concatenate)
        return joined


def _map(parts: Sequence[Any], function: Any) -> Any:
    """Apply ``function`` to each array field of all ``parts``, nested fields included."""
    values = {}
    for name in (each.name for each in fields(parts[0])):
        columns = [getattr(part, name) for part in parts]
        if isinstance(columns[0], np.ndarray):
            values[name] = function(columns)
        else:
            nested = isinstance(columns[0], Rows)
            values[name] = _map(columns, function) if nested else columns[0]
    return type(parts[0])(**values)
