"""From a recipe to a version: what calibrating and measuring make of a trained network."""

from pathlib import Path

import numpy as np
import pytest

import mcdrop
from mcdrop.card import Examples
from mcdrop.data.sources import raw_split, raw_test
from mcdrop.errors import DataError
from mcdrop.recipe import Recipe, TrainingRecipe
from mcdrop.repository import load_examples, read_card


def noisy_table(folder: Path, rows: int = 4000) -> None:
    """y = 100 + 50 x with noise of 2 left of 0 and of 20 right of it; z = -y / 10."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, rows)
    y = 100 + 50 * x + np.where(x > 0, 20, 2) * rng.normal(size=rows)
    lines = (f"{a},{b},{-b / 10}" for a, b in zip(x, y, strict=True))
    (folder / "rows.csv").write_text("x,y,z\n" + "\n".join(lines) + "\n")


def recipe(variance: str) -> Recipe:
    return Recipe.model_validate(
        {
            "task": "regression",
            "data": {"source": "table", "train": "rows.csv", "target": ["y", "z"]},
            "network": {"hidden": [32], "dropout": 0.05, "variance": variance},
            "training": {"lr": 0.01, "epochs": 40, "patience": 40},
        }
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("noisy")
    noisy_table(folder)
    return {
        variance: mcdrop.train(recipe(variance), variance, folder / "models", base=folder)
        for variance in ("constant", "learned")
    }


def test_a_learned_variance_is_served_for_each_row_and_target(models: dict[str, Path]) -> None:
    answer = mcdrop.load(models["learned"]).predict([{"x": -0.5}, {"x": 0.5}])
    noise = np.sqrt(answer.aleatoric)
    # The truth is 2 and 20, and a tenth of that; dropout and a smooth network blur the quiet side.
    np.testing.assert_allclose(noise[1], [20, 2], rtol=0.3)
    assert (noise[0] < [5, 0.5]).all()
    np.testing.assert_allclose(answer.mean, [[75, -7.5], [125, -12.5]], rtol=0.05)
    assert answer.confidence[0].min() > 0.9 > answer.confidence[1].max()


def test_where_noise_differs_learning_it_is_worth_its_outputs(models: dict[str, Path]) -> None:
    nll = {name: read_card(path).metrics["served"]["nll"] for name, path in models.items()}
    # Truth: the mean of log std is that of 2 and 20, the constant's is log of their rms.
    assert nll["learned"] < nll["constant"] - 0.4


def test_a_finished_training_leaves_its_history_and_no_checkpoint(models: dict[str, Path]) -> None:
    folder = models["learned"]
    assert {p.name for p in folder.iterdir()} >= {"card.json", "history.csv", "model.safetensors"}
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")]


def test_data_that_cannot_be_read_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.csv"):
        mcdrop.train(recipe("constant"), "gone", tmp_path / "models", base=tmp_path)
    assert not (tmp_path / "models").exists()


def test_a_named_set_gives_test_rows_as_examples_and_a_user_s_own_table_none(
    digits_model: Path, models: dict[str, Path]
) -> None:
    pixels, labels = raw_split("digits", "test")
    examples = load_examples(digits_model, read_card(digits_model))
    assert len(examples.rows) == 16
    np.testing.assert_array_equal(examples.rows, pixels[:16].reshape(16, 64))
    assert list(examples.labels) == [str(label) for label in labels[:16]]
    table = models["constant"]
    assert load_examples(table, read_card(table)) == Examples()
    assert not (table / "examples.json").exists()


def test_pictures_of_one_s_own_are_kept_as_examples_where_the_recipe_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (200, 3, 4, 5), np.uint8)
    np.savez(tmp_path / "flags.npz", x=x, y=np.where(x[:, 0].mean((1, 2)) > 127, "red", "blue"))
    np.savez(tmp_path / "shades.npz", x=x, y=x.mean((1, 2, 3)))
    for name, task in (("flags", "classification"), ("shades", "regression")):
        own = {"source": "table", "train": f"{name}.npz", "examples": 5}
        asked = Recipe.model_validate(
            {
                "task": task,
                "data": own,
                "network": {"hidden": [4], "dropout": 0.2},
                "training": {"epochs": 1},
            }
        )
        folder = mcdrop.train(asked, name, tmp_path / "models", base=tmp_path)
        examples = load_examples(folder, read_card(folder))
        rows, truth, _ = raw_test(asked, base=tmp_path)
        np.testing.assert_array_equal(examples.rows, np.reshape(rows[:5], (5, 60)))
        classes = read_card(folder).classes
        if classes:
            assert list(examples.labels) == [classes[i] for i in truth[:5]]
        else:
            assert [float(label) for label in examples.labels] == pytest.approx(
                truth[:5, 0], rel=1e-5
            )


def test_examples_are_for_pictures(tmp_path: Path) -> None:
    noisy_table(tmp_path, rows=200)
    asked = recipe("constant")
    data = asked.data.model_copy(update={"examples": 3})
    with pytest.raises(DataError, match=r"got 3 examples .* no pictures"):
        mcdrop.train(
            asked.model_copy(update={"data": data}), "m", tmp_path / "models", base=tmp_path
        )
    assert not (tmp_path / "models").exists()


def test_a_column_says_what_training_rows_spanned(models: dict[str, Path]) -> None:
    (x,) = read_card(models["constant"]).preprocessing.numeric
    assert -1 <= x.minimum < -0.99
    assert 0.99 < x.maximum <= 1


def test_a_training_that_its_epochs_ended_says_so(tmp_path: Path) -> None:
    noisy_table(tmp_path, rows=200)
    told = {}
    for epochs, patience in ((2, 2), (2, 0), (60, 2)):
        asked = recipe("constant").model_copy(
            update={"training": TrainingRecipe(lr=0.03, epochs=epochs, patience=patience)}
        )
        folder = mcdrop.train(asked, f"m{epochs}-{patience}", tmp_path / "models", base=tmp_path)
        told[epochs, patience] = read_card(folder).notes
    assert told == {
        (2, 2): ("validation was best in the last of 2 epochs: more (training.epochs) may help",),
        (2, 0): (),
        (60, 2): (),
    }
