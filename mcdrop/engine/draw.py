"""Where the masks of an engine come from: a seed and a kind.

Knows which generator draws for which kind. Refuses to know networks.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.masks import MULTIPLIERS, WEYL, balanced_masks, plain_masks

__all__ = ["Masks", "own_masks"]

_LOW = 0xFFFFFFFF


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

    def factors(
        self, layer: int, rate: float, passes: range, rows: range, units: int, device: torch.device
    ) -> Tensor:
        """Multipliers 0 or 1 / (1 - rate) in float32, (T, 1 or B, units)."""
        if self.shared:
            keep = torch.from_numpy(self.keep(layer, rate, passes, units)[:, None])
        elif device.type == "cpu":
            keep = torch.from_numpy(plain_masks(self.seed, layer, passes, units, rate, rows))
        else:
            keep = own_masks(self.seed, layer, passes, units, rate, rows, device)
        return keep.to(device, torch.float32).mul_(1.0 / (1.0 - rate))


def own_masks(
    seed: int,
    layer: int,
    passes: range,
    units: int,
    rate: float,
    rows: range,
    device: torch.device,
) -> Tensor:
    """`plain_masks`, drawn on a device: the same bits, (T, B, units).

    Words of 32 bits are held in integers of 64. Their products wrap around, whose upper halves
    are right all the same.
    """
    quads = torch.arange(-(-units // 4), device=device)
    places = torch.arange(rows.start, rows.stop, device=device)[:, None]
    numbers = torch.arange(passes.start, passes.stop, device=device)[:, None, None]
    shape = (len(passes), len(rows), len(quads))
    c0, c1, c2 = (part.expand(shape) for part in (quads, numbers, places))
    c3 = torch.full_like(c0, layer)
    k0, k1 = seed & _LOW, seed >> 32
    for _ in range(10):
        left, right = c0 * int(MULTIPLIERS[0]), c2 * int(MULTIPLIERS[1])
        c0, c1 = (right >> 32 & _LOW) ^ c1 ^ k0, right & _LOW
        c2, c3 = (left >> 32 & _LOW) ^ c3 ^ k1, left & _LOW
        k0, k1 = k0 + WEYL[0] & _LOW, k1 + WEYL[1] & _LOW
    words = torch.stack((c0, c1, c2, c3), dim=-1).flatten(2)[:, :, :units]  # (T, B, units)
    return words >= min(round(rate * 2**32), 2**32 - 1)
