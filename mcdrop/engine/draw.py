"""Where the masks of an engine come from: a seed and a kind.

Knows which generator draws for which kind. Refuses to know networks.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.masks import balanced_masks, plain_masks

__all__ = ["Masks"]


@dataclass(frozen=True)
class Masks:
    """The masks of a seed: balanced and shared by all rows, or plain ones for each row.

    Attributes:
        seed: key of the generator.
        kind: which.
        row: counter of shared masks; another row, other masks.
    """

    seed: int
    kind: Literal["shared", "independent"]
    row: int = 0

    @property
    def shared(self) -> bool:
        """Whether all rows have the same masks."""
        return self.kind == "shared"

    def keep(self, layer: int, rate: float, passes: range, units: int) -> NDArray[np.bool_]:
        """Shared masks, (T, units)."""
        return balanced_masks(self.seed, layer, passes, units, rate, self.row)

    def factors(self, layer: int, rate: float, passes: range, rows: range, units: int) -> Tensor:
        """Multipliers 0 or 1 / (1 - rate) in float32, (T, 1 or B, units)."""
        if self.shared:
            keep = self.keep(layer, rate, passes, units)[:, None]
        else:
            keep = plain_masks(self.seed, layer, passes, units, rate, rows)
        return torch.from_numpy(keep).float().mul_(1.0 / (1.0 - rate))
