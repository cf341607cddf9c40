"""Which inputs of a layer each of N networks keeps, cheaply drawn.

Knows random bits: 16 a unit, drawn some steps ahead. Refuses to know the networks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Bits"]

_WORDS = 1 << 20  # 64-bit random words drawn ahead, about
_LEVELS = 1 << 16  # rates are multiples of 1 / 65536


class Bits:
    """The masks of one dropout layer in N networks.

    Every network and layer has a stream of its own, consumed step by step, so that neighbors and
    the number of steps drawn ahead change nothing.

    Args:
        seeds: a network's seed, N in all.
        layer: place of the layer in its network.
        rates: dropout rates; 0 keeps everything.
        rows: most rows of a step.
        device: where to draw.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        layer: int,
        rates: Sequence[float],
        rows: int,
        device: torch.device,
    ) -> None:
        keys = [np.random.SeedSequence((seed, layer)).generate_state(1)[0] for seed in seeds]
        self._generators = [torch.Generator(device).manual_seed(int(key)) for key in keys]
        dropped = [min(round(rate * _LEVELS), _LEVELS - 1) for rate in rates]
        lowest = [count - _LEVELS // 2 for count in dropped]
        self._lowest = torch.tensor(lowest, dtype=torch.int16, device=device)[:, None, None]
        scale = [_LEVELS / (_LEVELS - count) for count in dropped]
        self.scale = torch.tensor(scale, device=device)[:, None, None]  # (N, 1, 1)
        self._rows = rows
        self._ahead = torch.empty(0)
        self._step = 0

    def draw(self, rows: int, width: int) -> Tensor:
        """Keep (1.0) or drop (0.0), (N, rows, width), for the coming step."""
        if self._step == len(self._ahead):
            self._ahead, self._step = self._refill(-(-self._rows * width // 4)), 0
        bits = self._ahead[self._step, :, : rows * width].reshape(-1, rows, width)
        self._step += 1
        # Straight into float32: a product with a boolean tensor is six times slower.
        return torch.ge(bits, self._lowest, out=torch.empty(bits.shape, device=bits.device))

    def _refill(self, words: int) -> Tensor:
        """16-bit integers (steps, N, units) for the steps to come."""
        networks = len(self._generators)
        steps = max(1, min(64, _WORDS // (networks * words)))
        bits = torch.empty(networks, steps, words, dtype=torch.int64, device=self._lowest.device)
        for block, generator in zip(bits, self._generators, strict=True):
            block.random_(-(2**63), None, generator=generator)
        pieces: Tensor = bits.view(torch.int16)
        return pieces.transpose(0, 1)
