"""Synthetic sets: the rows promised, the truth promised, and the unit left alone."""

import numpy as np
import pytest

from mcdrop.data.sources import load_dataset
from mcdrop.data.synthetic import SYNTHETIC, make
from mcdrop.errors import DataError
from mcdrop.recipe import Recipe


def recipe(source: str, seed: int = 0) -> Recipe:
    return Recipe.model_validate({"task": "regression", "seed": seed, "data": {"source": source}})


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_recipe_gets_all_training_rows_in_their_own_unit(name: str) -> None:
    dataset, truth = load_dataset(recipe(name)), SYNTHETIC[name]
    x, y = make(name, 0)["train"]
    assert dataset.train.x.shape == (truth.rows, len(truth.weights))
    np.testing.assert_allclose(dataset.train.x, x, rtol=1e-6)
    np.testing.assert_array_equal(dataset.train.y, y)
    assert [len(p) for p in (dataset.validation, dataset.calibration, dataset.test)] == [100] * 3
    assert dataset.targets == ("y",)
    assert not set(dataset.test.y[:, 0]) & set(dataset.validation.y[:, 0])


@pytest.mark.parametrize("name", SYNTHETIC)
def test_residuals_of_the_truth_are_the_noise(name: str) -> None:
    truth = SYNTHETIC[name]
    parts = [make(name, seed)["test"] for seed in range(20)]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    noise = (y[:, 0] - x @ np.array(truth.weights) - truth.bias) / truth.noise
    # 2,000 normal draws: |mean| and |variance - 1| beyond 4.9 standard errors, 1e-6 a set each.
    assert abs(noise.mean()) < 4.9 / 2000**0.5
    assert abs(noise.var() - 1) < 4.9 * (2 / 2000) ** 0.5


def test_the_sets_of_the_experiments() -> None:
    x, _ = make("linear", 0)["train"]
    assert (x.shape, SYNTHETIC["linear"].weights[0]) == ((20, 200), 0.01)
    x, _ = make("curve", 0)["train"]
    np.testing.assert_allclose(x[:, 0], np.linspace(-1, 1, 10))
    assert np.abs(make("curve", 0)["test"][0]).max() <= 1
    assert (SYNTHETIC["line"].weights, SYNTHETIC["line"].bias) == ((3.0,), 2.0)
    assert np.count_nonzero(SYNTHETIC["sparse"].weights) == 5


def test_same_seed_same_rows() -> None:
    one, again, other = (make("line", seed)["train"][0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_unknown_sets_are_refused() -> None:
    with pytest.raises(DataError, match="there are linear, curve"):
        make("parabola", 0)
