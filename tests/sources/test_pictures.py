"""Named sets of pictures: bundled, in a folder, in the cache, or damaged."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from mcdrop.data import images
from mcdrop.data.sources import load_dataset, raw_split
from mcdrop.errors import DataError
from tests.sources.tables import recipe, sizes


def test_digits_come_split_and_standardized() -> None:
    found = load_dataset(recipe(source="digits"))
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
