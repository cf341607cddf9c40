import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision import datasets

from mcdrop.data import images
from mcdrop.data.preprocessing import ArrayPreprocessing, TablePreprocessing
from mcdrop.data.sources import Dataset, Split, load_dataset, raw_split
from mcdrop.data.splits import hold_out
from mcdrop.errors import DataError
from mcdrop.recipe import Recipe, load_recipe

MODELS = Path(__file__).parents[1] / "models"


def recipe(seed=0, task="classification", **data) -> Recipe:
    return Recipe.model_validate({"seed": seed, "task": task, "data": {"source": "table", **data}})


def digits(**data) -> Recipe:
    return recipe(source="digits", **data)


def write_table(path: Path, rows: int = 200, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    table = pa.table(
        {
            "row": np.arange(rows, dtype=float),
            "size": rng.normal(50, 9, rows),
            "job": rng.choice(["clerk", "nurse"], rows),
            "y": rng.choice(["no", "yes", "perhaps"], rows, p=[0.6, 0.3, 0.1]),
        }
    )
    pa_csv.write_csv(table, path)
    return table


def rows_of(split, preprocessing) -> list[int]:
    """The values of the column ``row``: which rows of the file a split holds."""
    column = preprocessing.numeric[0]
    assert column.name == "row"
    return np.rint(split.x[:, 0] * column.std + column.mean).astype(int).tolist()


def splits(found: Dataset) -> tuple[Split, ...]:
    return found.train, found.validation, found.calibration, found.test


def sizes(found: Dataset) -> tuple[int, ...]:
    return tuple(len(split) for split in splits(found))


def test_digits_come_split_and_standardized() -> None:
    found = load_dataset(digits())
    assert sizes(found) == (1150, 144, 144, 359)
    assert found.train.x.dtype == np.float32
    assert found.train.y.dtype == np.int64
    assert found.train.x.mean() == pytest.approx(0, abs=1e-6)
    assert found.train.x.std() == pytest.approx(1, abs=1e-6)
    assert found.classes == tuple("0123456789")
    assert found.targets == ()
    assert found.preprocessing.maximum == 16
    assert found.source == "digits"


@pytest.mark.parametrize("seed", [0, 7])
def test_raw_digits_are_the_recipes_test_rows(seed) -> None:
    found = load_dataset(recipe(seed, source="digits", test_share=0.3))
    pixels, y = raw_split("digits", "test", seed=seed, share=0.3)
    assert pixels.shape == (len(found.test), 8, 8)
    np.testing.assert_array_equal(found.preprocessing.encode(pixels), found.test.x)
    np.testing.assert_array_equal(y, found.test.y)
    others, _ = raw_split("digits", "train", seed=seed, share=0.3)
    assert len(others) + len(pixels) == 1797


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
        ({"y": ["a", None, "b"] * 6}, {"target": "y"}, "row 1 has no class"),
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


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, rng, rows: int = 100) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for stem in ("train", "t10k"):
        made[stem] = rng.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        labels = (np.arange(rows) % 10).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(made[stem]))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    return made


@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_torchvision_folders_are_read_and_never_written(tmp_path, rng, below) -> None:
    made = write_idx(tmp_path / below, rng)
    before = sorted(tmp_path.rglob("*"))
    found = load_dataset(recipe(source="fashion-mnist", mean=0.5, std=0.5), tmp_path)
    assert sizes(found) == (80, 10, 10, 100)
    expected = made["t10k"].reshape(100, 784) / 127.5 - 1
    np.testing.assert_allclose(found.test.x, expected, atol=1e-6)
    assert found.classes[0] == "T-shirt/top"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_cache_folder_stands_in_for_a_root(tmp_path, rng, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert images.cache_folder() == tmp_path / "mcdrop"
    made = write_idx(tmp_path / "mcdrop" / "MNIST" / "raw", rng)
    np.testing.assert_array_equal(raw_split("mnist", "train")[0], made["train"])
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert images.cache_folder() == tmp_path / "home" / ".cache" / "mcdrop"


def test_a_download_fills_the_cache_or_says_what_to_do(tmp_path, rng, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def offline(root: Path, download: bool) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(datasets, "MNIST", offline)
    with pytest.raises(DataError, match="no network; check the connection, or give --data-root"):
        raw_split("mnist", "test")

    def online(root: Path, download: bool) -> None:
        write_idx(root / "MNIST" / "raw", rng)

    monkeypatch.setattr(datasets, "MNIST", online)
    assert len(raw_split("mnist", "test")[0]) == 100


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t10k-images-idx3-ubyte", None, r"no t10k-images-idx3-ubyte\[.gz\] in"),
        ("t10k-images-idx3-ubyte", b"", "cannot be read"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((100, 28, 28), np.uint8))[:-1], "cannot be read"),
        ("t10k-images-idx3-ubyte", b"\x00\x00\x0d\x01" + bytes(8), "idx type 13"),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(99, np.uint8)), "do not belong together"),
        ("t10k-images-idx3-ubyte.gz", gzip.compress(b"another set", mtime=0), "not the mnist file"),
    ],
)
def test_a_damaged_set_is_refused(tmp_path, rng, name, content, says) -> None:
    write_idx(tmp_path, rng)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        raw_split("mnist", "test", tmp_path)


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
