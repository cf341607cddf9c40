"""From a recipe to a version in the repository: load, fit, calibrate, measure, save.

Knows the order of the steps and what the card records of each. Refuses to know how any step does
its work, and terminals.
"""

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcdrop.calibration import calibrate
from mcdrop.data.sources import Dataset, load_dataset
from mcdrop.metrics import summarize
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe
from mcdrop.repository import save
from mcdrop.training import Epoch, fit, ignore

__all__ = ["train"]

_LIBRARIES = ("mcdrop", "torch", "torchvision", "numpy", "pyarrow", "scikit-learn", "safetensors")


def train(
    recipe: Recipe,
    name: str,
    repository: Path,
    *,
    data_root: Path | None = None,
    base: Path = Path(),
    device: str = "auto",
    on_step: Callable[[int, int], None] = ignore,
    on_epoch: Callable[[Epoch], None] = ignore,
) -> Path:
    """Train ``recipe`` and write the next version of ``<repository>/<name>``.

    Args:
        recipe: what to train.
        name: the model's folder in the repository.
        repository: the repository's root.
        data_root: where the data lie; see `mcdrop.data.sources.load_dataset`.
        base: where a table recipe's relative files are looked for without ``data_root``.
        device: "auto", or a torch device name.
        on_step: called with (batches done, batches in all) within each epoch.
        on_epoch: called with each finished epoch.

    Returns:
        The folder of the new version.

    Raises:
        McdropError: the data, the training or the repository failed; nothing is left half-written.
    """
    dataset = load_dataset(recipe, data_root, base)
    fitted = fit(recipe, dataset, device=device, on_step=on_step, on_epoch=on_epoch)
    options: dict[str, Any] = {"samples": recipe.samples, "seed": recipe.seed, "task": recipe.task}
    held_out = Posterior(fitted.network, **options).predict(dataset.validation.x)
    calibration = calibrate(held_out, dataset.validation.y, dataset.train.y)
    test = Posterior(fitted.network, **options, **calibration.options).predict(dataset.test.x)
    fields = {
        **_provenance(recipe, dataset),
        "calibration": calibration,
        "metrics": summarize(test, dataset.test.y),
    }
    return save(repository, name, fitted.network, fields, {"history.csv": fitted.history_csv})


def _provenance(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC),
        "task": recipe.task,
        "classes": dataset.classes,
        "targets": dataset.targets,
        "in_features": dataset.train.x.shape[1],
        "samples": recipe.samples,
        "recipe": recipe,
        "preprocessing": dataset.preprocessing,
        "rows": {part: len(getattr(dataset, part)) for part in ("train", "validation", "test")},
        "data_fingerprint": dataset.fingerprint,
        "libraries": {
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    }
