"""Small real models for tests: written by the repository's own writer, quick to make."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from mcdrop import repository
from mcdrop.calibration import Reference
from mcdrop.card import Examples
from mcdrop.data.preprocessing import (
    ArrayPreprocessing,
    CategoricalColumn,
    NumericColumn,
    TablePreprocessing,
)
from mcdrop.network import build_network
from mcdrop.recipe import CalibrationRecipe, Recipe

DIGITS = ArrayPreprocessing(shape=(8, 8), scale=1 / 16, mean=0.3, std=0.4, minimum=0, maximum=16)
PEOPLE = TablePreprocessing(
    numeric=(NumericColumn(name="age", mean=40.0, std=12.0, missing=True),),
    categorical=(
        CategoricalColumn(name="job", categories=("clerk", "smith"), unknown=True, missing=False),
    ),
)
SIZES = TablePreprocessing(
    numeric=(
        NumericColumn(name="width", mean=2.0, std=1.0, missing=False),
        NumericColumn(name="height", mean=5.0, std=2.0, missing=False),
    ),
    categorical=(),
)

_RNG = np.random.default_rng(0)
REFERENCE = Reference(
    CalibrationRecipe(),
    scores=_RNG.random(50),
    epistemic=np.sort(_RNG.random(50)),
    labels=_RNG.integers(0, 10, 50),
    confidence=_RNG.random(50),
    errors=_RNG.random(50) < 0.1,
    pilot_confidence=_RNG.random(50),
    pilot_errors=_RNG.random(50) < 0.1,
)
_NONE = np.zeros(0)
VALUES = Reference(
    CalibrationRecipe(),
    scores=_RNG.random((50, 1)),
    epistemic=np.sort(_RNG.random(50)),
    labels=_NONE.astype(np.int64),
    confidence=_NONE,
    errors=_NONE.astype(bool),
    pilot_confidence=_NONE,
    pilot_errors=_NONE.astype(bool),
)


def random_pixels(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 17, (rows, 64)).astype(np.float64)


def save_untrained(
    root: Path,
    name: str,
    settings: Mapping[str, Any],
    step: ArrayPreprocessing | TablePreprocessing,
    reference: Reference = REFERENCE,
    *,
    seed: int = 1,
    examples: Examples | None = None,
    **fields: Any,
) -> Path:
    """A version of a network as it was drawn, by a recipe's settings and a card's fields."""
    recipe = Recipe.model_validate(settings)
    outputs = len(fields.get("classes") or fields["targets"])
    network = build_network(
        recipe.network, step.features, outputs, torch.Generator().manual_seed(seed)
    )
    card = {
        "created": datetime(2026, 1, 2, tzinfo=UTC),
        "task": "classification" if fields.get("classes") else "regression",
        "classes": (),
        "targets": (),
        "in_features": step.features,
        "samples": 40,
        "calibration": {},
        "recipe": recipe,
        "preprocessing": step,
        "metrics": {},
        "rows": {},
        "data_fingerprint": "none",
        "libraries": {},
    }
    return repository.save(root, name, network, reference, card | fields, examples=examples)


def save_random_classifier(
    root: Path,
    name: str = "tiny",
    seed: int = 0,
    fields: Mapping[str, Any] | None = None,
    examples: Examples | None = None,
    hidden: Sequence[int] = (16,),
) -> Path:
    """A version of an untrained classifier of digits, 64-16-10 unless said otherwise."""
    settings = {"data": {"source": "digits"}, "network": {"hidden": list(hidden), "dropout": 0.4}}
    usual = {
        "classes": tuple("0123456789"),
        "metrics": {"served": {"accuracy": 0.1}},
        "rows": {"train": 1, "validation": 1, "calibration": 50, "test": 1},
    }
    told = {**usual, **(fields or {})}
    return save_untrained(root, name, settings, DIGITS, seed=seed, examples=examples, **told)


def save_random_regressor(root: Path, name: str = "value") -> Path:
    """A version of an untrained 64-16-1 regression of pixels."""
    settings = {"data": {"source": "digits"}, "network": {"hidden": [16], "dropout": 0.4}}
    noise = {"noise": (0.1,), "target_variance": (2.0,)}
    return save_untrained(root, name, settings, DIGITS, VALUES, targets=("y",), calibration=noise)


def save_random_colors(root: Path, name: str = "flags", shape: tuple[int, ...] = (3, 6, 8)) -> Path:
    """A version of an untrained classifier of pictures in color, with some to try it on."""
    step = ArrayPreprocessing(shape=shape, scale=1 / 255, mean=0.5, std=0.3)
    settings = {
        "data": {"source": "table", "train": "flags.npz"},
        "network": {"hidden": [16], "dropout": 0.4},
    }
    rows = np.random.default_rng(0).integers(0, 256, (3, step.features)).tolist()
    examples = Examples(rows=rows, labels=("Chad", "Mali", "Peru"))
    return save_untrained(
        root, name, settings, step, examples=examples, classes=("Chad", "Mali", "Peru")
    )


def save_table_model(root: Path, name: str, step: TablePreprocessing, **fields: Any) -> Path:
    """A version of an untrained model of a table."""
    settings = {
        "task": "classification" if fields.get("classes") else "regression",
        "data": {"source": "table", "train": "t.csv", "target": "y"},
        "network": {"hidden": [16], "dropout": 0.3},
    }
    reference = REFERENCE
    if "targets" in fields:
        scores = np.random.default_rng(0).random((50, len(fields["targets"])))
        reference = replace(REFERENCE, scores=scores)
    return save_untrained(root, name, settings, step, reference, **{"samples": 30, **fields})


def save_models(folder: Path) -> None:
    """A classifier of pictures in two versions, and tables of people and of sizes."""
    save_random_classifier(folder)
    save_random_classifier(folder, seed=1)
    save_table_model(folder, "people", PEOPLE, classes=("no", "yes"))
    noise = {"noise": [0.25, 4.0], "target_variance": [9.0, 16.0]}
    save_table_model(folder, "sizes", SIZES, targets=("mass", "price"), calibration=noise)


def sicken(folder: Path) -> None:
    """Make weights NaN: the version loads, and then fails on every row."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    content = safetensors.torch.save({key: w * float("nan") for key, w in weights.items()})
    (folder / "model.safetensors").write_bytes(content)
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
