"""Rows that are arrays of one unit, such as pixels, and what any rows become.

Knows the raw unit a model was trained on, and its channels. Refuses to know named columns, files
and how its numbers were fitted.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mcdrop.data.slots import LIMIT, Frozen, check_finite
from mcdrop.errors import DataError

__all__ = ["ArrayPreprocessing", "Inputs", "array_of"]

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
        raw = array_of(rows)
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


def array_of(rows: Any) -> NDArray[Any]:
    """``rows`` as an array of numbers; DataError where they are none."""
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
