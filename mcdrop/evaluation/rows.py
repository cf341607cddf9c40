"""Where the rows of an evaluation come from: the recipe's own test part, a file, a named set.

Knows raw rows and their truth, in the model's own unit and classes. Refuses to know answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from mcdrop.adopted import Adopted
from mcdrop.card import Card
from mcdrop.data.columns import is_numeric, list_names
from mcdrop.data.files import Block, encodable, read_arrays, read_batches, read_table
from mcdrop.data.images import CLASSES, read_idx
from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing
from mcdrop.data.sources import raw_split, raw_test
from mcdrop.data.truth import Truth, class_indices, outputs
from mcdrop.errors import DataError, InputError
from mcdrop.recipe import DataRecipe, Recipe

__all__ = ["Rows", "labeled_rows", "own_test_rows", "strange_rows"]

_BLOCK = 8192  # rows read at a time
_TARGETS = ("y", "label", "class", "target")  # names of a target that no recipe names


@dataclass(frozen=True)
class Rows:
    """Raw rows, with their truth where it is known.

    Attributes:
        raw: as `Preprocessing.encode` takes them: a table, or an array (B, *shape).
        truth: (B,) indices of classes, or (B, C) numbers; empty for rows without truth.
        source: where they come from, for people.
    """

    raw: Block
    truth: NDArray[Any]
    source: str

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def images(self) -> NDArray[Any] | None:
        """The rows as pictures (B, height, width), where they are."""
        raw = self.raw
        return raw if isinstance(raw, np.ndarray) and raw.ndim == 3 else None


def own_test_rows(card: Card, data_root: Path | None, bases: Sequence[Path]) -> Rows:
    """The test part of the recipe that the model was trained by.

    Args:
        card: of the model.
        data_root: as for training; None: the first of ``bases`` that has the recipe's files.
        bases: folders that a table's files may be relative to.

    Raises:
        DataError: the data are not there, or are not those the model was trained on.
    """
    recipe = card.recipe
    if isinstance(recipe, Adopted):
        raise DataError(
            f"model {card.name!r} was trained elsewhere, so nothing says where its test rows are: "
            "give labeled rows by --data"
        )
    name = recipe.data.train or ""
    base = next((b for b in bases if (b / name).is_file() or (b / Path(name).name).is_file()), None)
    try:
        raw, truth, fingerprint = raw_test(recipe, data_root, base or bases[0])
    except DataError as error:
        raise DataError(
            f"the test rows of model {card.name!r} are not to be had: {error}; give --data-root, "
            "or other labeled rows by --data"
        ) from None
    if fingerprint != card.data_fingerprint:
        raise DataError(
            f"the data of recipe {card.name!r} are not those that version {card.version} was "
            "trained on, so its test rows cannot be told from its training rows: give --data FILE"
        )
    if isinstance(raw, pa.Table):  # columns that the recipe drops are still there
        raw = encodable(raw, card.preprocessing)
    return Rows(_shaped(raw, card.preprocessing), truth, "test part of the recipe")


def labeled_rows(card: Card, path: Path) -> Rows:
    """The rows of a file with their truth.

    NPZ holds ``x`` and ``y``; CSV and Parquet hold the model's columns and its target, which for
    a model of arrays is named y, label, class or target.

    Raises:
        DataError: the file cannot be read, lacks the target, or holds classes unknown to the model.
    """
    preprocessing = card.preprocessing
    if path.suffix.lower() == ".npz":
        x, y = read_arrays(path)
        flat = y.reshape(len(y), -1)  # (B, outputs)
        truth = {f"y{i}": pa.chunked_array([pa.array(column)]) for i, column in enumerate(flat.T)}
        return Rows(_shaped(x, preprocessing), _truth(card, truth), path.name)
    table = read_table(path, text=_stated(card).categorical)
    names = _target_columns(card, table.column_names)
    if not names:
        raise DataError(
            f"{path} has no column for the truth: name it {list_names(_wanted(card))}; it has "
            f"{list_names(table.column_names)}"
        )
    raw = encodable(table.drop_columns(names), preprocessing)
    truth = {name: table[name] for name in names}
    return Rows(_shaped(raw, preprocessing), _truth(card, truth), path.name)


def strange_rows(card: Card, what: str, data_root: Path | None) -> Rows:
    """Rows that the model was not made for: a file, or the test part of a named set of images.

    Images of a named set are brought to the model's size and unit; a file (CSV, Parquet, NPZ, or
    idx images of the model's size) is in the model's unit already.

    Raises:
        InputError: a named set for a model that does not take images.
        DataError: they cannot be read, or do not fit the model.
    """
    none = np.empty(0)
    if what in CLASSES:
        preprocessing = card.preprocessing
        if not isinstance(preprocessing, ArrayPreprocessing) or len(preprocessing.shape) != 2:
            raise InputError(f"{what} holds images, which model {card.name!r} does not take")
        pixels, _ = raw_split(what, "test", data_root)
        most = 16.0 if what == "digits" else 255.0
        return Rows(_resized(pixels / most, preprocessing), none, what)
    path = Path(what)
    if not path.is_file():
        raise DataError(f"no file at {what}: give one, or one of {list_names(sorted(CLASSES))}")
    if "ubyte" in path.name:  # as torchvision's sets are distributed
        return Rows(_shaped(read_idx(path), card.preprocessing), none, path.name)
    blocks = list(read_batches(path, card.preprocessing, rows=_BLOCK))
    tables = [block for block in blocks if isinstance(block, pa.Table)]
    raw = pa.concat_tables(tables) if tables else np.concatenate(blocks)
    return Rows(_shaped(raw, card.preprocessing), none, path.name)


def _stated(card: Card) -> DataRecipe:
    """What the recipe says of files; nothing of a network that was trained elsewhere."""
    if isinstance(card.recipe, Recipe):
        return card.recipe.data
    return DataRecipe(source="table", train="elsewhere")


def _wanted(card: Card) -> tuple[str, ...]:
    """Names that the truth's columns may have: the recipe's, or usual ones where it has none."""
    return _stated(card).target_names or card.targets or _TARGETS


def _target_columns(card: Card, there: Sequence[str]) -> list[str]:
    """The columns of the truth; empty where they are not all there."""
    wanted = _wanted(card)
    found = [name for name in wanted if name in there]
    if wanted is _TARGETS:
        return found[:1]
    return found if len(found) == len(wanted) else []


def _truth(card: Card, truth: Truth) -> NDArray[Any]:
    if not card.classes:
        found = outputs(truth)
        if found.shape[1] != len(card.targets):
            raise DataError(
                f"got {found.shape[1]} targets a row, wanted {list_names(card.targets)}"
            )
        return found
    column = next(iter(truth.values()))
    named = not is_numeric(column.type) or any(_is_number(name) for name in card.classes)
    if named:
        return class_indices(truth, card.classes)
    # Classes have names and the file holds numbers: their indices, as torchvision's sets do.
    return class_indices(truth, tuple(map(str, range(len(card.classes)))))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shaped(raw: Block, preprocessing: Preprocessing) -> Block:
    """Arrays of a model's size as (B, *shape)."""
    if isinstance(preprocessing, ArrayPreprocessing) and isinstance(raw, np.ndarray):
        size = int(np.prod(raw.shape[1:]))
        return raw.reshape(-1, *preprocessing.shape) if size == preprocessing.features else raw
    return raw


def _resized(pixels: NDArray[np.float64], preprocessing: ArrayPreprocessing) -> NDArray[Any]:
    """Pictures (B, h, w) of values in [0, 1] in the model's size and unit, (B, *shape)."""
    if pixels.shape[1:] != preprocessing.shape:
        pixels = torch.nn.functional.interpolate(
            torch.from_numpy(pixels)[:, None],
            size=preprocessing.shape,
            mode="bilinear",
            antialias=True,
        )[:, 0].numpy()
    span = preprocessing.maximum - preprocessing.minimum
    return np.asarray(preprocessing.minimum + span * pixels)
