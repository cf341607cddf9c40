"""One score of each of several targets, each in its own unit.

Knows columns and their names. Refuses to know scores.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["by_target"]

Score = TypeVar("Score")


def by_target(
    name: str,
    score: Callable[..., Score],
    targets: Sequence[str],
    *values: NDArray[np.float64],
) -> dict[str, Score]:
    """A score of each target, as ``<name>_<target>``; none of a single one.

    Args:
        name: of the score.
        score: called with the column (B,) of each of ``values``.
        targets: names of the C targets.
        values: (B, C) each.
    """
    if len(targets) < 2:
        return {}
    return {
        f"{name}_{target}": score(*(value[:, c] for value in values))
        for c, target in enumerate(targets)
    }
