"""Regressions whose truth is known: made from a seed, to see what a penalty or dropout does.

Knows how their rows are drawn. Refuses to know recipes. Every part is drawn apart, so that the
training rows are all of what the set's name promises.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import DataError

__all__ = ["SYNTHETIC", "Linear", "make"]

PARTS = ("train", "validation", "calibration", "test")
HELD_OUT = 100
"""Rows of each part but the training part."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """y = x w + bias + noise, the noise normal.

    Attributes:
        rows: training rows.
        weights: w, (D,).
        bias: b.
        noise: standard deviation of the noise.
        grid: features on an even grid of [-1, 1] (training), uniform in it (other parts), instead
            of standard normal.
    """

    rows: int
    weights: tuple[float, ...]
    bias: float
    noise: float
    grid: bool = False

    def draw(self, rows: int, generator: np.random.Generator, *, even: bool) -> tuple[Floats, ...]:
        """Rows (N, D) and their targets (N, 1)."""
        shape = (rows, len(self.weights))
        if self.grid and even:
            x = np.repeat(np.linspace(-1, 1, rows)[:, None], shape[1], axis=1)
        elif self.grid:
            x = generator.uniform(-1, 1, shape)
        else:
            x = generator.normal(size=shape)
        y = x @ np.array(self.weights) + self.bias + self.noise * generator.normal(size=rows)
        return x, y[:, None]


SYNTHETIC = {
    "linear": Linear(20, (0.01,) * 200, 0.05, 0.01),
    "curve": Linear(10, (1.5,), 0.0, 0.5, grid=True),
    "line": Linear(100, (3.0,), 2.0, 0.5),
    "sparse": Linear(100, (3.0, -2.0, 1.5, -1.0, 0.5, *(0.0,) * 45), 2.0, 0.5),
}
"""The sets by the name a recipe gives them."""


def make(name: str, seed: int) -> dict[str, tuple[Floats, ...]]:
    """Rows and targets of each part: train, validation, calibration, test.

    The same name and seed give the same rows.

    Raises:
        DataError: there is no set of that name.
    """
    if name not in SYNTHETIC:
        raise DataError(f"no synthetic set {name!r}: there are {', '.join(SYNTHETIC)}")
    truth = SYNTHETIC[name]
    return {
        part: truth.draw(
            truth.rows if part == "train" else HELD_OUT,
            np.random.default_rng([seed, 10, index]),
            even=part == "train",
        )
        for index, part in enumerate(PARTS)
    }
