"""The real sets are themselves."""

import numpy as np
import pytest

from mcdrop.data.sources import load_dataset, raw_split
from mcdrop.errors import DataError
from mcdrop.recipe import load_recipe
from tests.sources.tables import MODELS, sizes


@pytest.mark.data
def test_fashion_mnist_is_itself(data_root) -> None:
    found = load_dataset(
        load_recipe(MODELS / "fashion-mnist/recipe.toml"), data_root / "fashion-mnist"
    )
    assert sizes(found) == (54_000, 3_000, 3_000, 10_000)
    assert np.bincount(found.train.y).tolist() == [5400] * 10
    assert np.bincount(found.test.y).tolist() == [1000] * 10
    pixels = (found.train.x + 1) / 2  # mean and deviation of the whole training set, as published
    assert pixels.mean() == pytest.approx(0.2860, abs=1e-3)
    assert pixels.std() == pytest.approx(0.3530, abs=1e-3)


@pytest.mark.data
def test_fashion_mnist_is_not_taken_for_mnist(data_root) -> None:
    pixels, y = raw_split("mnist", "test", data_root / "ood-mnist-test")
    assert pixels.shape == (10_000, 28, 28)
    assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    with pytest.raises(DataError, match="not the fashion-mnist file"):
        raw_split("fashion-mnist", "test", data_root / "ood-mnist-test")


@pytest.mark.data
def test_adult_has_its_columns(data_root) -> None:
    found = load_dataset(load_recipe(MODELS / "adult/recipe.toml"), data_root)
    assert sum(sizes(found)[:3]) == 22_792
    assert len(found.test) == 9_769
    assert found.classes == ("<=50K", ">50K")
    missing = {c.name for c in found.preprocessing.categorical if c.missing}
    assert missing == {"workclass", "occupation", "native_country"}
    assert np.isfinite(found.test.x).all()
