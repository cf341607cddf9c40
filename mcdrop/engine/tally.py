"""Blocks of outputs become sums of deviations from the deterministic answer.

Knows softmax and the layout of sums. Refuses to know how outputs came about.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.engine.sums import Sums

__all__ = ["Center", "Tally", "numpy64"]

_FLOOR = -30.0  # log-probabilities that divergences are taken from are not lower than this
_LOG2 = math.log(2.0)


@dataclass(frozen=True)
class Center:
    """The deterministic answer that deviations are taken from.

    Attributes:
        value: (C, B), class probabilities or outputs.
        log: (C, B), floored log-probabilities; None for a regression.
        temperature: what divides logits.
    """

    value: Tensor
    log: Tensor | None
    temperature: float

    @classmethod
    def of(cls, outputs: Tensor, temperature: float | None) -> "Center":
        """From outputs (C, B); ``temperature`` None means regression."""
        outputs = outputs.contiguous()
        if temperature is None:
            return cls(outputs, None, 1.0)
        log = torch.log_softmax(outputs if temperature == 1.0 else outputs / temperature, dim=0)
        value = log.exp().clamp_(min=torch.finfo(log.dtype).tiny)  # as the kernel: none is 0
        return cls(value, log.clamp_(min=_FLOOR), temperature)


class Tally:
    """Running sums over passes in any order, float32 within a group of at most 32 passes.

    Args:
        center: what deviations are taken from.
        samples: passes that will come.
        size: passes a group.
    """

    def __init__(self, center: Center, samples: int, size: int) -> None:
        value = center.value
        groups = -(-samples // size)
        self._center, self._samples, self._size = center, samples, size
        self._deviation = value.new_zeros(groups, *value.shape)
        self._divergence = value.new_zeros(groups, value.shape[1])
        self._square = torch.zeros_like(value)
        self._bits = None if center.log is None else center.log / _LOG2
        self._spare = value.new_empty(0)

    def add(self, passes: Tensor, outputs: Tensor) -> None:
        """Add passes (t,), counted from the first of the tally; outputs (t, C, B) are used up."""
        group = passes.to(outputs.device) // self._size
        if self._bits is None:
            deviation = outputs.sub_(self._center.value)
        else:
            deviation, divergence = self._softmax(outputs, self._bits)
            _add(self._divergence, group, divergence)
        _add(self._deviation, group, deviation)
        self._square += deviation.square_().sum(dim=0)

    def _softmax(self, outputs: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
        """Deviations p - q and KL(p || q), in base 2, whose exponential is the fastest."""
        if self._spare.shape != outputs.shape:
            self._spare = torch.empty_like(outputs)
        outputs *= 1.0 / (_LOG2 * self._center.temperature)
        outputs -= outputs.amax(dim=1, keepdim=True)
        p = torch.exp2(outputs, out=self._spare)
        total = p.sum(dim=1, keepdim=True)
        p /= total
        ratio = outputs.sub_(bits).mul_(p).sum(dim=1)  # (t, B)
        divergence = ratio.sub_(total.log2_()[:, 0]).mul_(_LOG2)
        return p.sub_(self._center.value), divergence

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The sums where they are: deviations (G, C, B), squares (1, C, B), divergences (G, B)."""
        return self._deviation, self._square[None], self._divergence

    def sums(self) -> Sums:
        """The sums, in float64."""
        deviation, square, divergence = (numpy64(part) for part in self.parts)
        return Sums(self._size, self._samples, deviation, square[0], divergence)


def _add(totals: Tensor, group: Tensor, parts: Tensor) -> None:
    """Add parts (t, ...) to the totals (G, ...) of their groups, always in the same order."""
    if totals.is_cuda:  # where `index_add_` adds in the order in which threads arrive
        totals.index_put_((group,), parts, accumulate=True)
    else:
        totals.index_add_(0, group, parts)


def numpy64(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor as a float64 array."""
    return tensor.to("cpu", torch.float64).numpy()
