"""The network that both servers ask: 784-256-128-10, as for Fashion-MNIST, not trained."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from mcdrop import repository
from mcdrop.calibration import Reference
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.network import DropoutMLP, build_network
from mcdrop.recipe import CalibrationRecipe, Recipe

__all__ = ["NAME", "SAMPLES", "network_of", "save"]

NAME, SAMPLES = "bench", 100
_RECIPE = Recipe.model_validate(
    {"data": {"source": "fashion-mnist"}, "network": {"hidden": [256, 128], "dropout": 0.5}}
)


def network_of(weights: str) -> DropoutMLP:
    """The network with the weights of a version's file."""
    network = build_network(_RECIPE.network, 784, 10)
    network.load_state_dict(safetensors.torch.load_file(weights))
    return network


def save(root: Path, seed: int = 0) -> Path:
    """Write a version to a repository; its folder."""
    rng = np.random.default_rng(0)
    some, flags = rng.random(200), rng.random(200) < 0.1
    reference = Reference(
        CalibrationRecipe(), some, np.sort(some), rng.integers(0, 10, 200), some, flags, some, flags
    )
    fields = {
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "task": "classification",
        "classes": tuple("0123456789"),
        "targets": (),
        "in_features": 784,
        "samples": SAMPLES,
        "calibration": {},
        "recipe": _RECIPE,
        "preprocessing": ArrayPreprocessing(shape=(28, 28), scale=1 / 255, mean=0.3, std=0.35),
        "metrics": {},
        "rows": {},
        "data_fingerprint": "none",
        "libraries": {},
    }
    network = build_network(_RECIPE.network, 784, 10, torch.Generator().manual_seed(seed))
    return repository.save(root, NAME, network, reference, fields)
