"""From a recipe to the rows it trains on: read, split from the seed, fit, encode.

Knows the sources a recipe can name, and that the preprocessing is fitted on the training part
alone. Refuses to know networks and training.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mcdrop.data.files import Block
from mcdrop.data.fitting import fit_array, fit_table
from mcdrop.data.images import CLASSES, Images, digits, idx_images
from mcdrop.data.notes import table_notes, target_notes
from mcdrop.data.preprocessing import (
    ArrayPreprocessing,
    Preprocessing,
)
from mcdrop.data.splits import Places, hold_out, part_rows
from mcdrop.data.synthetic import make
from mcdrop.data.truth import check_varied, class_indices, class_labels, outputs, read_labeled
from mcdrop.recipe import Recipe

__all__ = ["Dataset", "Split", "load_dataset", "raw_split", "raw_test"]

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Split:
    """Encoded rows with their truth.

    Attributes:
        x: (B, D) float32, as the network takes them.
        y: (B,) int64, the index of each row's class; or (B, outputs) float64, in the targets' own
            units.
        unknown: (B, K) bool, which of a table's columns hold what training never met; None: none.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    unknown: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Dataset:
    """What a recipe trains, stops and is tested on.

    Attributes:
        train: rows to learn from; the preprocessing is fitted on these alone.
        validation: rows to stop by, and to fit a temperature or a noise variance to.
        calibration: rows that promises are made from: sets, intervals, novelty, abstention.
        test: rows for the final report.
        preprocessing: what encoded them, and will encode rows to come.
        classes: labels by index; empty for a regression.
        targets: names of a regression's targets; empty for a classification.
        fingerprint: SHA-256 of the raw data: of the arrays of a named set, or of the files.
        source: where the rows came from, for people.
        notes: what people should know of the rows.
    """

    train: Split
    validation: Split
    calibration: Split
    test: Split
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    fingerprint: str
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Rows before anything is fitted to them."""

    rows: Block
    y: NDArray[Any]
    held: dict[str, tuple[Block, NDArray[Any]]]  # parts that the source has of its own
    fit: Callable[[Block], Preprocessing]
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    fingerprint: str
    name: str
    notes: tuple[str, ...] = ()


def load_dataset(recipe: Recipe, data_root: Path | None = None, base: Path = Path()) -> Dataset:
    """Read, split and encode the rows of ``recipe``.

    The same recipe and the same data give the same splits. Classes keep their shares in each.

    Args:
        recipe: names the source, its files and columns, the shares held out and the seed.
        data_root: where the data lie. For a table, the folder that ``train`` and ``test`` are
            relative to; for a torchvision set, torchvision's ``root``.
        base: stands in for the ``data_root`` of a table where that is None. (A torchvision set is
            then downloaded to the user's cache.)

    Raises:
        DataError: data that are absent, damaged, or do not fit the recipe.
    """
    source = _read(recipe, data_root, base)
    places = _places(recipe, source)
    preprocessing = source.fit(_take(source.rows, places["train"]))
    # All at once, so that errors name the file's rows.
    found = preprocessing.inspect(source.rows)
    parts = {
        part: Split(found.x[at], source.y[at], found.unknown[at]) for part, at in places.items()
    }
    for part, (rows, y) in source.held.items():
        found = preprocessing.inspect(rows)
        parts[part] = Split(found.x, y, found.unknown)
    return Dataset(
        **parts,
        preprocessing=preprocessing,
        classes=source.classes,
        targets=source.targets,
        fingerprint=source.fingerprint,
        source=source.name,
        notes=source.notes,
    )


def raw_test(
    recipe: Recipe, data_root: Path | None = None, base: Path = Path()
) -> tuple[Block, NDArray[Any], str]:
    """The raw rows of the recipe's test part, their truth, and the data's fingerprint.

    Arguments and errors are those of `load_dataset`, whose ``test`` these rows are, encoded.
    """
    source = _read(recipe, data_root, base)
    if "test" in source.held:
        rows, y = source.held["test"]
    else:
        places = _places(recipe, source)["test"]
        rows, y = _take(source.rows, places), source.y[places]
    return rows, y, source.fingerprint


def raw_split(
    source: str, part: Part, data_root: Path | None = None, *, seed: int = 0, share: float = 0.2
) -> Images:
    """The raw images of one part of a named set, in the unit ``predict`` takes.

    Args:
        source: "digits", "mnist" or "fashion-mnist".
        part: the test part, or all the rest: what a recipe parts into training and validation.
        data_root: torchvision's ``root``; None: the user's cache, downloading at need.
        seed: the recipe's seed, which parts the digits; the other sets come parted.
        share: the recipe's ``test_share``, likewise.

    Returns:
        Pixels (N, height, width) uint8 and classes (N,) int64.

    Raises:
        DataError: the set's files are absent or damaged.
    """
    if source == "digits":
        pixels, y = digits()
        kept, held = hold_out(y, share, np.random.default_rng([seed, 0]))
        rows = held if part == "test" else kept
        return pixels[rows], y[rows]
    return idx_images(source, part, data_root)


def _places(recipe: Recipe, source: _Source) -> dict[str, Places]:
    groups = source.y if source.classes else np.zeros(len(source.y), np.int64)
    own = source.held.keys()
    return part_rows(recipe.data, recipe.seed, groups, own=own, classes=source.classes)


def _read(recipe: Recipe, data_root: Path | None, base: Path) -> _Source:
    if recipe.data.source == "table":
        return _files(recipe, base if data_root is None else data_root)
    return _made(recipe) if recipe.data.synthetic else _images(recipe, data_root)


def _made(recipe: Recipe) -> _Source:
    """A synthetic set, in the very unit it is drawn in, so that weights show as they are."""
    held: dict[str, Any] = make(recipe.data.source, recipe.seed)
    arrays = [array for part in held.values() for array in part]
    rows, y = held.pop("train")
    preprocessing = ArrayPreprocessing(
        shape=rows.shape[1:], scale=1, mean=0, std=1, minimum=rows.min(), maximum=rows.max()
    )
    return _Source(
        rows, y, held, lambda _: preprocessing, (), ("y",),
        _digest(array.data for array in arrays), recipe.data.source,
    )  # fmt: skip


def _images(recipe: Recipe, data_root: Path | None) -> _Source:
    name, seed, share = recipe.data.source, recipe.seed, recipe.data.test_share
    rows, y = raw_split(name, "train", data_root, seed=seed, share=share)
    test = raw_split(name, "test", data_root, seed=seed, share=share)
    maximum = 16 if name == "digits" else 255
    return _Source(
        rows, y, {"test": test}, partial(_fit_span, recipe, 0, maximum), CLASSES[name], (),
        _digest(np.ascontiguousarray(array).data for array in (rows, y, *test)), name,
    )  # fmt: skip


def _files(recipe: Recipe, root: Path) -> _Source:
    """The source of a recipe that names files of its own."""
    data = recipe.data
    named = {"train": data.train, "validation": data.validation, "test": data.test}
    names = {part: name for part, name in named.items() if name}
    paths = [_locate(root, name) for name in names.values()]
    rows, truths = zip(*(read_labeled(data, path) for path in paths), strict=True)
    classes = class_labels(truths[0]) if recipe.task == "classification" else ()
    y: list[NDArray[Any]] = [
        class_indices(truth, classes) if classes else outputs(truth) for truth in truths
    ]
    if not classes:
        check_varied(y[0], tuple(truths[0]))
    fit: Callable[[Block], Preprocessing] = partial(_fit_pixels, recipe)
    notes: tuple[str, ...] = ()
    if isinstance(rows[0], pa.Table):
        fit = partial(fit_table, drop=data.drop, categorical=data.categorical)
        notes = table_notes(rows[0], (*data.drop, *data.categorical))
    if classes:
        notes = (*notes, *(note for n, t in truths[0].items() for note in target_notes(t, n)))
    return _Source(
        rows=rows[0],
        y=y[0],
        held={part: (rows[i], y[i]) for i, part in enumerate(names) if i},
        fit=fit,
        classes=classes,
        targets=() if classes else tuple(truths[0]),
        fingerprint=_digest(path.read_bytes() for path in paths),
        name=", ".join(names.values()),
        notes=notes,
    )


def _locate(root: Path, name: str) -> Path:
    """A recipe's file under ``root``, which may also be the very folder the file lies in."""
    beside = root / Path(name).name
    return beside if beside.is_file() and not (root / name).is_file() else root / name


def _fit_pixels(recipe: Recipe, rows: Any) -> ArrayPreprocessing:
    """Fit arrays of no named set: bytes span 0 to 255, other numbers what the rows span."""
    span = (0.0, 255.0) if rows.dtype == np.uint8 else (float(rows.min()), float(rows.max()))
    return _fit_span(recipe, *span, rows)


def _fit_span(
    recipe: Recipe, minimum: float, maximum: float, rows: NDArray[Any]
) -> ArrayPreprocessing:
    mean, std = recipe.data.mean, recipe.data.std
    return fit_array(rows, minimum=minimum, maximum=maximum, mean=mean, std=std)


def _take(rows: Block, places: Places) -> Block:
    return rows.take(places) if isinstance(rows, pa.Table) else rows[places]


def _digest(contents: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()
