"""Recipes of data, tables to read by them, and which rows came out where."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from mcdrop.data.sources import Dataset, Split
from mcdrop.recipe import Recipe

MODELS = Path(__file__).parents[2] / "models"


def recipe(seed=0, task="classification", **data) -> Recipe:
    return Recipe.model_validate({"seed": seed, "task": task, "data": {"source": "table", **data}})


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
