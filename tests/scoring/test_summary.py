"""The drift that a scoring tells is that of the rows themselves, ties included."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from mcdrop.calibration import Reference
from mcdrop.recipe import CalibrationRecipe
from mcdrop.scoring.summary import drift
from mcdrop.scoring.tally import PERCENTILES, Tally

Draw = Callable[[np.random.Generator, int], np.ndarray]

DRAWS: dict[str, Draw] = {
    "continuous": lambda rng, n: rng.exponential(size=n),
    "few distinct rows": lambda rng, n: rng.integers(0, 5, n).astype(np.float64),
    "a tenth unknown": lambda rng, n: np.where(rng.random(n) < 0.1, 1e9, rng.exponential(size=n)),
}


def tallied(novelty: np.ndarray) -> Tally:
    tally = Tally(rows=len(novelty))
    ranks = np.floor(novelty * PERCENTILES + 1e-9).astype(np.int64)
    tally.novelties += np.bincount(ranks, minlength=PERCENTILES + 1)
    return tally


def referring(epistemic: np.ndarray) -> Reference:
    none = np.empty(0)
    flags = none.astype(np.bool_)
    return Reference(
        CalibrationRecipe(), none, epistemic, none.astype(np.int64), none, flags, none, flags
    )


@pytest.mark.parametrize("kind", DRAWS)
def test_rows_like_the_calibration_rows_raise_no_alarm(kind: str) -> None:
    """100 scorings tested at .05: more alarms than the 1 - 1e-6 quantile fail."""
    rng, draw, alarms = np.random.default_rng(0), DRAWS[kind], 0
    for _ in range(100):
        known, live = np.sort(draw(rng, 300)), draw(rng, 1000)
        found = drift(tallied(np.searchsorted(known, live) / 300), referring(known))
        assert found is not None
        alarms += found.p_value <= 0.05
        assert abs(found.higher - 0.5) < 0.1
    assert alarms <= binom.ppf(1 - 1e-6, 100, 0.05)
