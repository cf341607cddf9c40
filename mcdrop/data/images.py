"""The named sets of images as raw pixels: bundled digits, MNIST and Fashion-MNIST.

Knows where their files lie, how they are read and what their classes are called. Refuses to know
splits and scaling. Never writes below a data root.
"""

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mcdrop.errors import DataError

__all__ = ["CLASSES", "Images", "cache_folder", "digits", "idx_images", "read_idx"]

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pixels (N, height, width), and the class of each image (N,)."""

_DIGITS = tuple("0123456789")
CLASSES: dict[str, tuple[str, ...]] = {
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "fashion-mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
_STEMS = {"train": "train", "test": "t10k"}


def digits() -> Images:
    """scikit-learn's 1,797 bundled digits, 8 x 8 pixels from 0 to 16."""
    from sklearn.datasets import load_digits  # a heavy import, for this set only

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def idx_images(
    source: str,
    part: Literal["train", "test"],
    data_root: Path | None = None,
) -> Images:
    """Read one part of a torchvision set, 28 x 28 pixels from 0 to 255.

    Args:
        source: "mnist" or "fashion-mnist".
        part: the training or the test part; the other's files are not needed.
        data_root: torchvision's ``root``, or the folder of the idx files themselves, gzipped or
            not, or the folder above it. None: torchvision downloads to the user's cache, once.

    Raises:
        DataError: a file is absent, altered or damaged, or cannot be downloaded.
    """
    pixels = _read_idx(source, f"{_STEMS[part]}-images-idx3-ubyte", data_root)
    classes = _read_idx(source, f"{_STEMS[part]}-labels-idx1-ubyte", data_root)
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
        raise DataError(
            f"{source}: {pixels.shape} images and {classes.shape} labels do not belong together: "
            "get the set's files again"
        )
    return pixels, classes.astype(np.int64)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in a file of the idx format, gzipped or not.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
        return _parse_idx(gzip.decompress(content) if path.suffix == ".gz" else content)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise DataError(f"{path} cannot be read, or is damaged: {error}") from error


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/mcdrop``, or ``~/.cache/mcdrop``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcdrop"


def _read_idx(source: str, stem: str, data_root: Path | None) -> NDArray[np.uint8]:
    path = _find(source, stem, data_root)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            _check_md5(source, path, content)
            content = gzip.decompress(content)
        return _parse_idx(content)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read, or is damaged: {error}") from error


def _find(source: str, stem: str, data_root: Path | None) -> Path:
    folder = _TORCHVISION[source]
    root = cache_folder() if data_root is None else data_root
    found = next(_candidates(root, source, stem), None)
    if found is None and data_root is None:
        _download(folder, root)
        found = next(_candidates(root, source, stem), None)
    if found is None:
        raise DataError(
            f"no {stem}[.gz] in {root / folder / 'raw'} or in {root}: give the folder that holds "
            f"{folder}/, or none to have torchvision download {source}"
        )
    return found


def _candidates(root: Path, source: str, stem: str) -> Iterator[Path]:
    raw = Path(_TORCHVISION[source]) / "raw"
    for place in (root / raw, root / source / raw, root):
        yield from (p for p in (place / f"{stem}.gz", place / stem) if p.is_file())
    for path in sorted(root.glob(f"*/{stem}.gz")):  # a folder of sets, each in one of its own
        if _is_own(source, path, path.read_bytes()):
            yield path


def _download(folder: str, root: Path) -> None:
    from torchvision import datasets  # a heavy import, for downloads only

    try:
        getattr(datasets, folder)(root, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"torchvision cannot download {folder} to {root}: {error}; check the connection, or "
            "give --data-root"
        ) from error


def _check_md5(source: str, path: Path, content: bytes) -> None:
    """Refuse a file that is not the set's own: MNIST and Fashion-MNIST share their file names."""
    if not _is_own(source, path, content):
        raise DataError(f"{path} is not the {source} file of that name: get it again")


def _is_own(source: str, path: Path, content: bytes) -> bool:
    from torchvision import datasets

    known = dict(getattr(datasets, _TORCHVISION[source]).resources)
    return bool(hashlib.md5(content, usedforsecurity=False).hexdigest() == known[path.name])


def _parse_idx(content: bytes) -> NDArray[np.uint8]:
    """The idx format: 0, 0, type (8: uint8), dimensions, big-endian lengths, then the values."""
    magic, dimensions = struct.unpack(">HBB", content[:4])[1:]
    if magic != 8:
        raise ValueError(f"idx type {magic}, wanted 8 (bytes)")
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
