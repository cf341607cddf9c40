"""Tables and archives of the user's own: what becomes of them, and which are refused."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from mcdrop.data.preprocessing import ArrayPreprocessing, TablePreprocessing
from mcdrop.data.sources import load_dataset
from mcdrop.errors import DataError
from tests.sources.tables import recipe, rows_of, sizes, splits, write_table


def test_a_table_is_parted_without_loss_and_fitted_on_training_rows(tmp_path) -> None:
    table = write_table(tmp_path / "t.csv")
    found = load_dataset(recipe(train="t.csv", target="y"), tmp_path)
    assert found.classes == ("no", "perhaps", "yes")
    parts = [rows_of(s, found.preprocessing) for s in splits(found)]
    assert sorted(row for part in parts for row in part) == list(range(200))
    assert [len(part) for part in parts] == [128, 16, 16, 40]
    for part, split in zip(parts, splits(found), strict=True):
        assert [found.classes[i] for i in split.y] == table["y"].take(part).to_pylist()
    size = found.preprocessing.numeric[1]
    assert size.mean == pytest.approx(np.mean(table["size"].take(parts[0]).to_numpy()))
    content = (tmp_path / "t.csv").read_bytes()
    assert found.fingerprint == hashlib.sha256(content).hexdigest()


def test_a_test_file_of_its_own_is_the_test_part(tmp_path) -> None:
    write_table(tmp_path / "train.csv")
    test = write_table(tmp_path / "test.csv", 30, seed=1)
    options = {"train": "train.csv", "test": "test.csv", "target": "y", "drop": ["job"]}
    found = load_dataset(recipe(**options), tmp_path)
    assert sum(sizes(found)[:3]) == 200
    assert [found.classes[i] for i in found.test.y] == test["y"].to_pylist()
    assert found.preprocessing.columns == ("row", "size")
    pa_csv.write_csv(test.set_column(3, "y", pa.array(["never"] * 30)), tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"row 0 has the class 'never'.*wanted one of 'no'"):
        load_dataset(recipe(**options), tmp_path)
    pa_csv.write_csv(test.drop_columns(["size"]), tmp_path / "test.csv")
    with pytest.raises(DataError, match="lacks columns: 'size'"):
        load_dataset(recipe(**options), tmp_path)


def test_a_validation_file_of_its_own_is_the_validation_part(tmp_path) -> None:
    for name, rows, seed in (("train", 200, 0), ("held", 40, 1), ("test", 30, 2)):
        write_table(tmp_path / f"{name}.csv", rows, seed)
    files = {"train": "train.csv", "validation": "held.csv", "test": "test.csv", "target": "y"}
    found = load_dataset(recipe(**files), tmp_path)
    assert sizes(found) == (180, 40, 20, 30)
    assert rows_of(found.validation, found.preprocessing) == list(range(40))
    without = load_dataset(recipe(**{**files, "validation": None}), tmp_path)
    assert found.fingerprint != without.fingerprint
    del files["test"]
    assert sizes(load_dataset(recipe(**files), tmp_path)) == (144, 40, 16, 40)


def test_tables_lie_beside_the_recipe_unless_a_root_is_given(tmp_path) -> None:
    write_table(tmp_path / "t.csv")
    plan = recipe(train="t.csv", target="y")
    assert len(load_dataset(plan, base=tmp_path).test) == 40
    with pytest.raises(DataError, match="no file at"):
        load_dataset(plan, tmp_path / "elsewhere", tmp_path)


def test_numbers_as_classes_are_in_order(tmp_path) -> None:
    y = [2, 10, 1] * 10
    pa_csv.write_csv(pa.table({"a": np.arange(30.0), "y": y}), tmp_path / "t.csv")
    found = load_dataset(recipe(train="t.csv", target="y"), tmp_path)
    assert found.classes == ("1", "2", "10")


def test_a_regression_keeps_its_targets_units(tmp_path) -> None:
    table = write_table(tmp_path / "t.csv")
    found = load_dataset(recipe(task="regression", train="t.csv", target="size"), tmp_path)
    assert found.targets == ("size",)
    assert found.classes == ()
    assert found.test.y.shape == (40, 1)
    assert found.test.y.dtype == np.float64
    rows = rows_of(found.test, found.preprocessing)
    np.testing.assert_array_equal(found.test.y[:, 0], table["size"].take(rows).to_numpy())


def test_a_table_has_several_targets(tmp_path) -> None:
    write_table(tmp_path / "t.csv")
    two = recipe(task="regression", train="t.csv", target=["size", "row"], drop=["y"])
    found = load_dataset(two, tmp_path)
    assert found.targets == ("size", "row")
    assert found.train.y.shape == (len(found.train), 2)
    assert [c.name for c in found.preprocessing.categorical] == ["job"]
    with pytest.raises(DataError, match="got 2 targets, wanted one class a row"):
        load_dataset(recipe(train="t.csv", target=["y", "job"]), tmp_path)
    with pytest.raises(DataError, match="no target column 'width'"):
        load_dataset(recipe(task="regression", train="t.csv", target=["size", "width"]), tmp_path)


def test_an_archive_of_images_is_an_array(tmp_path, rng) -> None:
    x = rng.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(60) % 3)
    found = load_dataset(recipe(train="t.npz"), tmp_path)
    assert isinstance(found.preprocessing, ArrayPreprocessing)
    assert found.preprocessing.shape == (4, 4)
    assert found.preprocessing.scale == 1 / 255
    assert found.classes == ("0", "1", "2")
    given_scale = load_dataset(recipe(train="t.npz", mean=0.5, std=0.5), tmp_path)
    assert given_scale.preprocessing.mean == given_scale.preprocessing.std == 0.5


def test_an_archive_of_columns_is_a_table(tmp_path, rng) -> None:
    x = rng.normal([0, 1000], [1, 50], (60, 2))
    np.savez(tmp_path / "t.npz", x=x, y=rng.random((60, 2)))
    found = load_dataset(recipe(task="regression", train="t.npz"), tmp_path)
    assert isinstance(found.preprocessing, TablePreprocessing)
    assert found.preprocessing.columns == ("x0", "x1")
    assert found.targets == ("y0", "y1")
    assert found.test.y.shape == (12, 2)
    np.testing.assert_allclose(found.train.x.std(axis=0), 1, rtol=1e-5)
    with pytest.raises(DataError, match="2 targets, wanted one class"):
        load_dataset(recipe(train="t.npz"), tmp_path)


@pytest.mark.parametrize(
    ("columns", "options", "says"),
    [
        ({"y": ["a", "b"] * 9}, {}, "names no target"),
        ({"y": ["a", "b"] * 9}, {"target": "z"}, "no target column 'z': it has 'n', 'y'"),
        ({"y": ["a"] * 18}, {"target": "y"}, "has 1 classes"),
        ({"y": np.arange(18) / 7}, {"target": "y"}, "18 classes in 18 rows.*regression"),
        ({"y": ["a", None, "b"] * 6}, {"target": "y"}, "row 1 has no class.* this and 5 more"),
        ({"y": ["a", "b"] * 8 + ["b", None]}, {"target": "y"}, "row 17 .* leave out the row"),
        ({"y": ["a"] * 17 + ["b"]}, {"target": "y", "test_share": 0.9}, "too few"),
        ({"y": ["a", "b"] * 9}, {"target": "y", "drop": ["n"]}, "no column left"),
        ({"y": [1.0, None] * 9}, {"target": "y", "task": "regression"}, "row 1 has no finite"),
        ({"y": ["a", "b"] * 9}, {"target": "y", "task": "regression"}, "holds string"),
        ({"y": [1.0]}, {"target": "y", "task": "regression"}, "too few to split"),
    ],
)
def test_an_unusable_table_is_refused(tmp_path, columns, options, says) -> None:
    rows = len(columns["y"])
    pa_csv.write_csv(pa.table({"n": np.arange(rows), **columns}), tmp_path / "t.csv")
    with pytest.raises(DataError, match=says):
        load_dataset(recipe(train="t.csv", **options), tmp_path)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.arange(18.0), r"shape \(18,\)"),
        (np.zeros((18, 0, 3)), r"shape \(18, 0, 3\)"),
        (np.full((18, 2, 2), "a"), "holds <U1, wanted numbers"),
        (np.ones((18, 2), complex), "holds complex128, wanted numbers"),
        (np.where(np.arange(72) == 5, np.nan, 1).reshape(18, 2, 2), "row 1 of x holds NaN"),
        (np.full((18, 2, 2), np.inf), "row 0 of x holds NaN or infinity"),
    ],
)
def test_an_unusable_archive_is_refused(tmp_path, x, says) -> None:
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(18) % 2)
    with pytest.raises(DataError, match=says):
        load_dataset(recipe(train="t.npz"), tmp_path)
