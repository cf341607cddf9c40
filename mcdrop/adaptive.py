"""Adaptive conformal inference: the level that keeps coverage while the data drift.

Split conformal sets cover as promised as long as rows are exchangeable with the calibration rows.
Where they are not, Gibbs & Candes (2021) move the level by what was seen to be missed:

    alpha_{t+1} = alpha_t + step * (alpha - miss_t)                       (their equation 2)

so that, whatever the data do, the misses of N rows stay within their proposition 4.1:
|mean miss - alpha| <= (max(alpha_1, 1 - alpha_1) + step) / (N step). Knows errors and levels.
Refuses to know how sets are made.
"""

from dataclasses import dataclass, replace

from mcdrop.errors import InputError

__all__ = ["AdaptiveLevel"]

_EDGE = 1e-9
"""Levels stay this far from 0 and 1, where sets hold every class all the same."""


@dataclass(frozen=True)
class AdaptiveLevel:
    """The state of the recursion, which `update` takes one row further.

    Attributes:
        target: coverage to keep, 1 - alpha, in (0, 1).
        step: how far one row moves the level; .005 is the paper's.
        moved: alpha_t - alpha, how far the recursion has moved.
        rows: rows seen, t.
        missed: their misses, summed.
    """

    target: float
    step: float = 0.005
    moved: float = 0.0
    rows: int = 0
    missed: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.target < 1 and 0 < self.step < 1):
            raise InputError(
                f"got target {self.target} and step {self.step}, wanted both between 0 and 1"
            )

    @property
    def alpha(self) -> float:
        """alpha_t, the miss rate to ask the next row's set for; below 0 or above 1 at times."""
        return 1 - self.target + self.moved

    @property
    def level(self) -> float:
        """The level to make the next row's set at, in (0, 1).

        At alpha_t <= 0 it is so near 1 that a set holds everything. At alpha_t >= 1 the recursion
        would have the empty set; mcdrop's sets hold the most probable class even then, which can
        only cover more.
        """
        return min(max(1 - self.alpha, _EDGE), 1 - _EDGE)

    @property
    def coverage(self) -> float:
        """Share of rows covered so far; NaN before the first."""
        return 1 - self.missed / self.rows if self.rows else float("nan")

    @property
    def bound(self) -> float:
        """How far `coverage` may be below ``target`` after these rows, by proposition 4.1."""
        if not self.rows:
            return 1.0
        first = 1 - self.target
        return (max(first, 1 - first) + self.step) / (self.rows * self.step)

    def update(self, miss: float) -> "AdaptiveLevel":
        """The state after a row whose set, made at `level`, missed the truth.

        Args:
            miss: 1 for a miss, 0 for none; or the share of several targets missed.

        Raises:
            InputError: ``miss`` is not within [0, 1].
        """
        if not 0 <= miss <= 1:
            raise InputError(f"got a miss of {miss}, wanted a number between 0 and 1")
        moved = self.moved + self.step * (1 - self.target - miss)
        # Sets are never empty, so that alpha could grow for ever; coverage needs no more than 1.
        moved = min(moved, self.target + self.step)
        return replace(self, moved=moved, rows=self.rows + 1, missed=self.missed + miss)
