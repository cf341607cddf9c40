"""From sums on a GPU to statistics, by one launch.

Knows how rows are shared out. Refuses to know formulas: `triton_kernel` has those of `sums`.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mcdrop.engine.sums import PRIOR
from mcdrop.engine.tally import Center, numpy64
from mcdrop.engine.tiles import padded_width
from mcdrop.masks import BLOCK
from mcdrop.uncertainty import TINY

__all__ = ["MOST", "finished"]

Array = NDArray[np.float64]

MOST = 1024
"""Outputs of a network whose statistics `finished` makes: a row is a tile."""


def finished(center: Center, sums: tuple[Tensor, Tensor, Tensor], samples: int, size: int) -> Array:
    """Statistics from sums on the device, by one launch.

    Args:
        center: what deviations were taken from, (C, B), C at most `MOST`.
        sums: deviations (G, C, B), squares (any, C, B), divergences (G, B), as in `Sums`.
        samples: passes summed.
        size: passes a group.

    Returns:
        As `Native.predict`.

    Raises:
        FloatingPointError: a statistic is not finite.
    """
    from mcdrop.engine.triton_kernel import finish

    deviation, square, divergence = sums
    (outputs, rows), value = center.value.shape, center.value
    plain, log = value, value if center.log is None else center.log
    if center.temperature != 1.0:
        plain = (center.temperature * value.double().clamp(min=TINY).log()).softmax(dim=0)
    lists = 3 * (center.log is not None)
    out = value.new_empty(rows * (4 * outputs + lists), dtype=torch.float64)
    padded = padded_width(outputs)
    block = max(1, min(64, 1024 // padded))
    if rows:
        with torch.cuda.device_of(value):  # type: ignore[no-untyped-call]
            finish[(-(-rows // block),)](
                *(deviation, square, divergence, value, log, plain, out),
                *(rows, samples, size, len(deviation), len(square)),
                outputs=outputs,
                padded=padded,
                classes=center.log is not None,
                balance=BLOCK,
                prior=PRIOR,
                block=block,
                enable_fp_fusion=True,
            )
    numbers = numpy64(out)
    if not math.isfinite(numbers.sum()):
        raise FloatingPointError("a statistic is not finite")
    return numbers
