"""The drift test rejects as rarely as it says without drift, and surely with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from mcdrop.drift import compare
from mcdrop.errors import InputError


def test_p_values_are_uniform_without_drift(rng: np.random.Generator) -> None:
    """400 tests at .05: a count outside the central 1 - 1e-6 of Binomial(400, .05) fails."""
    reference = rng.gamma(0.5, size=(400, 300))
    live = rng.gamma(0.5, size=(400, 80))
    rejected = sum(compare(a, b).p_value <= 0.05 for a, b in zip(live, reference, strict=True))
    low, high = binom.ppf([5e-7, 1 - 5e-7], 400, 0.05)
    # The exact test is discrete: it rejects at most as often as it says, and not much less.
    assert low - 8 <= rejected <= high


def test_a_shift_is_found_and_its_direction_told(rng: np.random.Generator) -> None:
    reference = rng.gamma(0.5, size=2000)
    shifted = compare(rng.gamma(0.5, size=500) * 1.5, reference)
    assert shifted.p_value < 1e-4
    assert shifted.higher > 0.55
    surer = compare(rng.gamma(0.5, size=500) / 1.5, reference)
    assert surer.p_value < 1e-4
    assert surer.higher < 0.45
    assert (surer.rows, surer.reference_rows) == (500, 2000)


def test_the_smallest_exact_case_by_hand() -> None:
    """3 rows above all of 3: distance 1, and 2 of the 20 orderings of six values give that."""
    found = compare(np.array([4.0, 5.0, 6.0]), np.array([3.0, 1.0, 2.0]))
    assert (found.statistic, found.higher) == (1.0, 1.0)
    assert found.p_value == pytest.approx(2 / 20)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_a_sample_does_not_differ_from_itself(values: list[int]) -> None:
    sample = np.array(values, dtype=float)
    found = compare(sample, sample[::-1])
    assert (found.statistic, found.p_value, found.higher) == (0.0, 1.0, pytest.approx(0.5))


@pytest.mark.parametrize("bad", [np.empty(0), np.array([np.nan]), np.ones((2, 2))])
def test_what_is_no_sample_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="wanted one finite number or more"):
        compare(bad, np.ones(3))
    with pytest.raises(InputError, match="reference"):
        compare(np.ones(3), bad)
