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


@dataclass(frozen=True)
class Augmentation:
    """Random flips and shifts of each row, drawn anew for every batch.

    Args:
        recipe: which changes are allowed.
        shape: height and width of a row.

    Raises:
        InputError: rows are no pictures, or too small for the shift.
    """

    recipe: AugmentationRecipe
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.recipe and (len(self.shape) != 2 or self.recipe.shift >= min(self.shape)):
            raise InputError(
                f"got rows of shape {self.shape} to augment (flip {self.recipe.flip}, shift "
                f"{self.recipe.shift}), wanted pictures with two axes longer than the shift"
            )

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Change each of (B, height * width) rows; ``generator`` is of the CPU.

        Edges are repeated where a shift moves the picture away from them.
        """
        recipe, rows = self.recipe, len(x)
        if not recipe:
            return x
        pictures = x.view(rows, *self.shape)  # (B, H, W)
        if recipe.flip:
            flipped = torch.rand(rows, generator=generator) < 0.5
            which = flipped.to(x.device)[:, None, None]
            pictures = torch.where(which, pictures.flip(-1), pictures)
        if recipe.shift:
            by = torch.randint(2 * recipe.shift + 1, (2, rows, 1), generator=generator)
            pictures = self._shifted(pictures, by.to(x.device))
        return pictures.reshape(rows, -1)

    def _shifted(self, pictures: Tensor, by: Tensor) -> Tensor:
        """Cut each picture out of its padded self at offsets ``by`` (2, B, 1)."""
        height, width = self.shape
        padded = F.pad(pictures, [self.recipe.shift] * 4, mode="replicate")  # (B, H + 2s, W + 2s)
        row = by[0] + torch.arange(height, device=by.device)  # (B, H)
        column = by[1] + torch.arange(width, device=by.device)  # (B, W)
        which = torch.arange(len(pictures), device=by.device)
        return padded[which[:, None, None], row[:, :, None], column[:, None, :]]  # (B, H, W)
