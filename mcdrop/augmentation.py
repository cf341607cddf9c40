"""Pictures turned into other pictures of the same thing, a batch at a time.

Knows pictures' axes and a generator. Refuses to know what is trained on them. Held-out rows are
never augmented.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mcdrop.errors import InputError
from mcdrop.recipe import AugmentationRecipe

__all__ = ["Augmentation"]


_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Augmentation:
    """Random flips and shifts of each row, drawn anew for every batch; colors stay together.

    Args:
        recipe: which changes are allowed.
        shape: of a row: height and width, and an axis of 1 or 3 channels before or behind them.

    Raises:
        InputError: rows are no pictures, or too small for the shift.
    """

    recipe: AugmentationRecipe
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = list(self.shape)
        if self._channels is not None:
            del sizes[self._channels]
        if self.recipe and (len(sizes) != 2 or self.recipe.shift >= min(sizes)):
            raise InputError(
                f"got rows of shape {self.shape} to augment (flip {self.recipe.flip}, shift "
                f"{self.recipe.shift}), wanted pictures with two axes longer than the shift, in "
                "color with one of 3 before or behind them"
            )

    @property
    def _channels(self) -> int | None:
        """The axis of channels in a row's shape, if it has one."""
        ends = (0, 2) if len(self.shape) == 3 else ()
        return next((axis for axis in ends if self.shape[axis] in _CHANNELS), None)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Change each of (B, D) rows; ``generator`` is of the CPU.

        Edges are repeated where a shift moves the picture away from them.
        """
        recipe, rows = self.recipe, len(x)
        if not recipe:
            return x
        axis = 1 if self._channels is None else 1 + self._channels
        shape = (1, *self.shape) if self._channels is None else self.shape
        pictures = x.view(rows, *shape).movedim(axis, 1)  # (B, C, H, W)
        if recipe.flip:
            flipped = torch.rand(rows, generator=generator) < 0.5
            which = flipped.to(x.device)[:, None, None, None]
            pictures = torch.where(which, pictures.flip(-1), pictures)
        if recipe.shift:
            by = torch.randint(2 * recipe.shift + 1, (2, rows, 1), generator=generator)
            pictures = self._shifted(pictures, by.to(x.device))
        return pictures.movedim(1, axis).reshape(rows, -1)

    def _shifted(self, pictures: Tensor, by: Tensor) -> Tensor:
        """Cut each picture out of its padded self at offsets ``by`` (2, B, 1)."""
        height, width = pictures.shape[2:]
        padded = F.pad(pictures, [self.recipe.shift] * 4, mode="replicate")  # (B, C, H+2s, W+2s)
        row = by[0] + torch.arange(height, device=by.device)  # (B, H)
        column = by[1] + torch.arange(width, device=by.device)  # (B, W)
        which = torch.arange(len(pictures), device=by.device)[:, None, None]
        cut = padded[which, :, row[:, :, None], column[:, None, :]]  # (B, H, W, C)
        return cut.movedim(-1, 1)  # (B, C, H, W)
