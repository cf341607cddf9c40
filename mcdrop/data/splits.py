"""Which rows train, stop, promise and test: stratified by class, drawn from a seed.

Knows places and shares. Refuses to know the rows themselves.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import DataError
from mcdrop.recipe import DataRecipe

__all__ = ["Places", "hold_out", "part_rows"]

Places = NDArray[np.int64]


def part_rows(
    data: DataRecipe,
    seed: int,
    groups: Places,
    *,
    own: Collection[str],
    classes: Sequence[str],
) -> dict[str, Places]:
    """The places of training, validation, calibration and test rows, without the parts of ``own``.

    Each part is drawn by a generator of its own, from what the one before it left.

    Args:
        data: the shares.
        seed: of the generators.
        groups: of each row, (B,), which give each part their share.
        own: parts that are not drawn.
        classes: what the groups are called; not needed of one group.

    Raises:
        DataError: too few rows for each part to have one, or for each group to have one to train.
    """
    kept = np.arange(len(groups))
    before = 0.0 if "calibration" in own else data.calibration_share
    shares = {
        "test": (data.test_share, 0),
        "calibration": (data.calibration_share, 2),
        "validation": (data.validation_share / (1 - before), 1),
    }
    parts: dict[str, Places] = {}
    for part, (share, stream) in shares.items():
        if part not in own:
            rest, held = hold_out(groups[kept], share, np.random.default_rng([seed, stream]))
            kept, parts[part] = kept[rest], kept[held]
    parts["train"] = kept
    if not all(len(rows) for rows in parts.values()):
        raise DataError(f"{len(groups)} rows are too few to split: give more, or larger shares")
    lost = np.setdiff1d(groups, groups[kept])
    if len(lost):
        raise DataError(
            f"class {classes[lost[0]]!r:.60} has too few rows to have one to learn from: give more "
            "rows of it, or none; or set task = 'regression' if the target is a quantity"
        )
    return parts


def hold_out(groups: Places, share: float, generator: np.random.Generator) -> tuple[Places, Places]:
    """Places of rows kept and held out, ascending; each group gives its share, rounded at random.

    Systematic sampling of rows shuffled within their groups: every row is held out with
    probability ``share``, and every group's count is its share rounded up or down.
    """
    order = np.lexsort((generator.random(len(groups)), groups))
    steps = np.floor(np.arange(len(groups) + 1) * share + generator.random())
    held = np.diff(steps) > 0
    return np.sort(order[~held]), np.sort(order[held])
