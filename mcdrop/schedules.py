"""Learning-rate schedules: the factor on the recipe's learning rate, step by step.

Knows functions of (step, steps). Refuses to know optimizers and epochs, so that a training that
goes on after a break needs to remember nothing but its step.
"""

import math

from mcdrop.errors import InputError

__all__ = ["lr_factor"]

_WARM = 0.3  # share of the steps that one-cycle climbs
_START = 1 / 25
_END = 1 / 250_000


def lr_factor(schedule: str, step: int, steps: int) -> float:
    """The factor of ``step``, counted from 0, of ``steps`` in all; at most 1.

    - constant: 1.
    - cosine: (1 + cos(pi step / steps)) / 2 (Loshchilov & Hutter 2017, eq. 5 without restarts).
    - one-cycle: along half a cosine from 1/25 up to 1 for the first 30 % of the steps, then along
      another down to 1/250,000 (Smith & Topin 2019, with cosines as in PyTorch's ``OneCycleLR``;
      the momentum is left alone).

    Raises:
        InputError: the schedule is unknown.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _between(1.0, 0.0, step / steps)
    if schedule == "one-cycle":
        top = _WARM * steps - 1
        if step <= top:
            return _between(_START, 1.0, step / top)
        return _between(1.0, _END, (step - top) / max(steps - 1 - top, 1))
    raise InputError(f"schedule {schedule!r} is unknown: use constant, cosine or one-cycle")


def _between(start: float, end: float, share: float) -> float:
    """From ``start`` (share 0) to ``end`` (share 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
