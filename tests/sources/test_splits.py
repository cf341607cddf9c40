"""Rows are held out with equal probability, every class keeping its share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mcdrop.data.sources import load_dataset
from mcdrop.data.splits import hold_out, part_rows
from mcdrop.errors import DataError
from mcdrop.recipe import DataRecipe
from tests.sources.tables import recipe, rows_of, write_table

groups = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)


@given(groups=groups, seed=st.integers(0, 2**40), share=st.floats(0.05, 0.9))
def test_every_class_keeps_its_share(groups, seed, share) -> None:
    kept, held = hold_out(groups, share, np.random.default_rng(seed))
    assert sorted([*kept, *held]) == list(range(len(groups)))
    expected = np.bincount(groups) * share
    found = np.bincount(groups[held], minlength=len(expected))
    assert (np.abs(found - expected) < 1 + 1e-9).all()
    assert abs(len(held) - len(groups) * share) < 1 + 1e-9


def test_rows_are_held_out_with_equal_probability() -> None:
    groups = np.repeat([0, 1, 2], [1, 37, 162])
    share, seeds = 0.2, 2000
    held = np.zeros(len(groups))
    for seed in range(seeds):
        held[hold_out(groups, share, np.random.default_rng(seed))[1]] += 1
    # Each count is binomial: 200 two-sided tests at z = 4.5 raise a false alarm once in 700 runs.
    z = (held - seeds * share) / np.sqrt(seeds * share * (1 - share))
    assert np.abs(z).max() < 4.5
    assert z.std() > 0.7


def test_the_seed_decides_the_split(tmp_path) -> None:
    write_table(tmp_path / "t.csv")
    first, again, other = (
        load_dataset(recipe(seed, train="t.csv", target="y"), tmp_path) for seed in (1, 1, 2)
    )
    for part in ("train", "validation", "calibration", "test"):
        one, two, three = (getattr(d, part) for d in (first, again, other))
        np.testing.assert_array_equal(one.x, two.x)
        np.testing.assert_array_equal(one.y, two.y)
        assert len(one) == len(three)
    assert rows_of(first.test, first.preprocessing) != rows_of(other.test, other.preprocessing)
    assert first.fingerprint == other.fingerprint


def test_a_class_that_is_held_out_whole_is_named() -> None:
    """The lone row is trained with in some splits, and in others not."""
    data, groups = DataRecipe(source="digits", test_share=0.5), np.repeat([0, 1], [60, 1])
    told = []
    for seed in range(30):
        try:
            part_rows(data, seed, groups, own=(), classes=("many", "lone"))
        except DataError as error:
            told.append(str(error))
    assert 0 < len(told) < 30
    assert all("class 'lone' has too few rows" in text for text in told)
