"""Small real models for tests: written by the repository's own writer, quick to make."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcdrop import repository
from mcdrop.calibration import Reference
from mcdrop.card import Examples
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.network import build_network
from mcdrop.recipe import CalibrationRecipe, Recipe

DIGITS = ArrayPreprocessing(shape=(8, 8), scale=1 / 16, mean=0.3, std=0.4, minimum=0, maximum=16)


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


def save_random_classifier(
    root: Path,
    name: str = "tiny",
    seed: int = 0,
    fields: Mapping[str, Any] | None = None,
    examples: Examples | None = None,
    hidden: Sequence[int] = (16,),
) -> Path:
    """A version of an untrained classifier of digits, 64-16-10 unless said otherwise."""
    recipe = Recipe.model_validate(
        {"data": {"source": "digits"}, "network": {"hidden": list(hidden), "dropout": 0.4}}
    )
    network = build_network(recipe.network, 64, 10, torch.Generator().manual_seed(seed))
    return repository.save(
        root,
        name,
        network,
        REFERENCE,
        {
            "created": datetime(2026, 1, 2, tzinfo=UTC),
            "task": "classification",
            "classes": tuple("0123456789"),
            "targets": (),
            "in_features": 64,
            "samples": 40,
            "calibration": {},
            "recipe": recipe,
            "preprocessing": DIGITS,
            "metrics": {"served": {"accuracy": 0.1}},
            "rows": {"train": 1, "validation": 1, "calibration": 50, "test": 1},
            "data_fingerprint": "none",
            "libraries": {},
            **(fields or {}),
        },
        examples=examples,
    )


def save_random_regressor(root: Path, name: str = "value") -> Path:
    """A version of an untrained 64-16-1 regression of pixels."""
    recipe = Recipe.model_validate(
        {"data": {"source": "digits"}, "network": {"hidden": [16], "dropout": 0.4}}
    )
    network = build_network(recipe.network, 64, 1, torch.Generator().manual_seed(1))
    return repository.save(
        root,
        name,
        network,
        VALUES,
        {
            "created": datetime(2026, 1, 2, tzinfo=UTC),
            "task": "regression",
            "classes": (),
            "targets": ("y",),
            "in_features": 64,
            "samples": 40,
            "calibration": {"noise": (0.1,), "target_variance": (2.0,)},
            "recipe": recipe,
            "preprocessing": DIGITS,
            "metrics": {},
            "rows": {"train": 1, "validation": 1, "calibration": 50, "test": 1},
            "data_fingerprint": "none",
            "libraries": {},
        },
    )
