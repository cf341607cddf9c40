"""Rows on their way into the engine: checked, cut into blocks, through the trunk.

Knows what rows a layout can take, and says what is wrong with others. Refuses to know masks.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mcdrop.errors import InputError
from mcdrop.plan import Layout

__all__ = [
    "LEAST", "aligned", "checked", "padded", "refuse_infinite", "room", "shaped", "spans",
    "through_trunk",
]  # fmt: skip

LEAST = 4  # rows from which products of float32 give a row the same bits in any company


def room(device: torch.device) -> int:
    """How many times as much as a core's caches hold is computed at a time on a device.

    A GPU's second cache holds 40 to 60 MB, and a launch should be worth some ten microseconds.
    """
    return 16 if device.type == "cuda" else 1


def aligned(device: torch.device) -> int:
    """What numbers of rows and units are made multiples of, for a GPU's matrix units."""
    return 16 if device.type == "cuda" else 1


def spans(rows: int, size: int) -> Iterator[range]:
    """Blocks of rows; one empty block where there are no rows."""
    for start in range(0, max(rows, 1), size):
        yield range(start, min(start + size, rows))


def checked(x: ArrayLike | Tensor, layout: Layout) -> Tensor:
    """Check rows; they are not copied, unless PyTorch cannot look at them where they are."""
    rows = shaped(x, layout)
    refuse_infinite(rows)
    return rows


def shaped(x: ArrayLike | Tensor, layout: Layout) -> Tensor:
    """The same, but for what numbers there are in the rows."""
    try:
        if not isinstance(x, Tensor):
            x = np.asarray(x)
            fit = x.flags.writeable and all(stride >= 0 for stride in x.strides)
            x = torch.as_tensor(x if fit else x.copy())
        rows = x.detach() if x.requires_grad else x
    except (TypeError, ValueError) as error:
        raise InputError(f"x is no array of numbers ({error}): give rows of features") from None
    if rows.dim() < 2 or rows.is_complex():
        raise InputError(
            f"got x of shape {tuple(rows.shape)}, wanted (rows, features): one row is x[None]"
        )
    if layout.width is not None:
        rows = rows if rows.dim() == 2 else rows.flatten(1)
        if rows.shape[1] != layout.width:
            raise InputError(f"got rows of {rows.shape[1]} features, wanted {layout.width}")
    return rows


def refuse_infinite(rows: Tensor) -> None:
    """Raise InputError where a number is not finite."""
    if not math.isfinite(rows.sum().item()) and not torch.isfinite(rows).all():
        bad = (~torch.isfinite(rows.flatten(1)).all(dim=1)).nonzero()[0].item()
        raise InputError(
            f"row {bad} holds NaN or an infinite number: impute or leave out such rows"
        )


def padded(rows: Tensor) -> Tensor:
    """Rows, and rows of zeros up to the least number."""
    missing = LEAST - len(rows)
    return rows if missing <= 0 else torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def through_trunk(layout: Layout, rows: Tensor) -> Tensor:
    """What the trunk makes of rows, padded."""
    try:
        hidden: Tensor = layout.trunk(padded(rows).to(layout.device, layout.dtype))
    except RuntimeError as error:
        raise InputError(
            f"the network cannot take rows of shape {tuple(rows.shape[1:])}: {error}"
        ) from None
    return hidden
