"""A table's columns as slots of an encoded row, and which values training left no slot for.

Knows one column at a time. Refuses to know tables, files and how its numbers were fitted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mcdrop.data.columns import Labels
from mcdrop.errors import DataError

__all__ = ["LIMIT", "CategoricalColumn", "Frozen", "NumericColumn", "check_finite"]

Slots = NDArray[np.float32]
Flags = NDArray[np.bool_]

LIMIT = 1e12
"""Greatest encoded magnitude: beyond it, sums and squares within a network may overflow."""


class Frozen(BaseModel):
    """What is fitted once: it never changes, and is read back from JSON as it was."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NumericColumn(Frozen):
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

    def encode(self, values: NDArray[np.float64]) -> Slots:
        """Encode (B,) numbers, NaN where missing, to (B, width)."""
        return self.inspect(values)[0]

    def inspect(self, values: NDArray[np.float64]) -> tuple[Slots, Flags]:
        """Slots (B, width), and where training met no such value, (B,).

        That is one missing where no training row missed it, or farther outside the training
        rows' range than that is wide.
        """
        check_finite(np.where(np.isnan(values), 0, values)[:, None], [self.name])
        with np.errstate(over="ignore"):
            slots = ((values - self.mean) / self.std)[:, None].astype(np.float32)
        gaps = np.isnan(slots)  # (B, 1)
        slots[gaps] = 0
        check_finite(slots, [self.name], LIMIT)
        far = self._far(values)
        if self.missing:
            return np.hstack([slots, gaps.astype(np.float32)]), far
        return slots, gaps[:, 0] | far

    def _far(self, values: NDArray[np.float64]) -> Flags:
        """Where a number is farther outside of the range of the training rows than that is wide.

        There, a network's passes may well agree: of a softmax they saturate, all on one side
        (Hein et al. 2019, "Why ReLU networks yield high-confidence predictions far away from the
        training data"). A row like the training rows is outside at all with a probability of
        2 / (n + 1) at most.
        """
        if self.minimum is None or self.maximum is None:  # the card does not say
            return np.zeros(len(values), np.bool_)
        span = self.maximum - self.minimum
        return (values < self.minimum - span) | (values > self.maximum + span)


class CategoricalColumn(Frozen):
    """A column of labels: one slot each, and one for the unknown and one for the missing.

    A slot that no training row fills would reach the network through weights that were never
    trained. So the last two exist only if training rows fill them; without its slot, an unknown
    or missing label is a row of zeros, and told apart from what training met.
    """

    name: str
    categories: tuple[str, ...] = Field(min_length=1, description="labels that have a slot")
    unknown: bool = Field(description="whether labels too rare for a slot trained the unknown one")
    missing: bool = Field(description="whether training rows missed the label")

    @property
    def width(self) -> int:
        """Slots this column fills."""
        return len(self.categories) + self.unknown + self.missing

    def encode(self, values: Labels) -> Slots:
        """Encode B labels, None where missing, to (B, width)."""
        return self.inspect(values)[0]

    def inspect(self, values: Labels) -> tuple[Slots, Flags]:
        """Slots (B, width), and where a label, or a missing one, has no slot, (B,)."""
        slot: dict[str | None, int] = {label: i for i, label in enumerate(self.categories)}
        unknown = len(self.categories) if self.unknown else -1
        slot[None] = self.width - 1 if self.missing else -1
        filled = np.array([slot.get(value, unknown) for value in values], dtype=np.int64)  # (B,)
        hot = np.zeros((len(filled), self.width), dtype=np.float32)
        known = np.flatnonzero(filled >= 0)
        hot[known, filled[known]] = 1
        return hot, filled < 0


def check_finite(
    values: NDArray[Any],
    names: Sequence[str] | None = None,
    limit: float = np.finfo(np.float64).max,
) -> None:
    """Refuse NaN, and what exceeds ``limit``; the message names the column, or gives the place.

    Args:
        values: (B, D).
        names: of the D columns.
        limit: greatest magnitude.

    Raises:
        DataError: as said.
    """
    if not values.size or (values.min() >= -limit and values.max() <= limit):  # False for NaN
        return
    row, column = (int(i) for i in np.argwhere(~(np.abs(values) <= limit))[0])
    name = repr(names[column]) if names else column
    raise DataError(
        f"row {row}, column {name}: NaN, infinity or a number too large, wanted a finite number "
        "(rows count from 0)"
    )
