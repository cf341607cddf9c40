"""The six regression sets and their twenty splits (Hernandez-Lobato & Adams 2015).

Knows the files' layout and the rule that regenerates the published splits. The sets themselves
are not part of the project: MCDROP_TEST_DATA, or ../shared/data, holds
uci-regression/<set>/data/data.txt, from the repository of Gal & Ghahramani's experiments.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SPLITS", "Rows", "load", "splits"]

SPLITS = 20
_FILES = {"power": "power-plant", "wine": "wine-quality-red"}
_ROOT = Path(os.environ.get("MCDROP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@dataclass(frozen=True)
class Rows:
    """Raw rows: ``x`` (R, D) and ``y`` (R, 1), or with an axis of networks in front."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def take(self, places: NDArray[np.int64]) -> "Rows":
        """The rows at ``places``: (R,), or (N, R) for the rows of N networks."""
        return Rows(self.x[places], self.y[places])

    def encode(self, others: "Rows") -> NDArray[np.float32]:
        """``others.x`` standardized by these rows, each column to mean 0 and deviation 1."""
        std = self.x.std(-2, keepdims=True)
        std[std == 0] = 1
        encoded: NDArray[np.float64] = (others.x - self.x.mean(-2, keepdims=True)) / std
        return encoded.astype(np.float32)


def load(name: str) -> Rows:
    """All rows of a set, the last column being the target."""
    path = _ROOT / "uci-regression" / _FILES.get(name, name) / "data"
    table = np.loadtxt(path / "data.txt")
    columns = np.loadtxt(path / "index_features.txt").astype(int)
    target = int(np.loadtxt(path / "index_target.txt"))
    return Rows(table[:, columns], table[:, [target]])


def splits(rows: int, count: int = SPLITS) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test places of the published splits: nine tenths and the rest of a shuffle."""
    state = np.random.RandomState(1)
    shuffles = [state.choice(range(rows), rows, replace=False) for _ in range(count)]
    kept = round(0.9 * rows)
    return [(shuffle[:kept], shuffle[kept:]) for shuffle in shuffles]
