"""From a recipe to a version in the repository: load, fit, calibrate, measure, save.

Knows the order of the steps and what the card records of each. Refuses to know how any step does
its work, and terminals.
"""

import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mcdrop.adopted import Adopted
from mcdrop.assessment import assess
from mcdrop.card import Examples
from mcdrop.data.images import CLASSES
from mcdrop.data.pixels import picture_shape
from mcdrop.data.sources import Dataset, load_dataset, raw_test
from mcdrop.errors import DataError
from mcdrop.model_card import markdown
from mcdrop.recipe import Recipe
from mcdrop.repository import Texts, checkpoint_path, prepare, save
from mcdrop.training import Epoch, fit, ignore

__all__ = ["publish", "sample", "train"]

_PARTS = ("train", "validation", "calibration", "test")
_EXAMPLES = 16
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
    watch: Callable[[Epoch, nn.Module], None] = ignore,
    resume: bool = False,
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
        watch: called with each finished epoch and the network.
        resume: go on after the last finished epoch of a training that was broken off, if there is
            one; see `mcdrop.training.fit`.

    Returns:
        The folder of the new version.

    Raises:
        McdropError: the data, the training or the repository failed; nothing is left half-written
            but the checkpoint of the last finished epoch.
    """
    checkpoint = checkpoint_path(repository, name)
    dataset = load_dataset(recipe, data_root, base)
    examples = _examples(recipe, dataset, data_root, base)
    prepare(repository, name)
    fitted = fit(
        recipe,
        dataset,
        device=device,
        on_step=on_step,
        on_epoch=on_epoch,
        watch=watch,
        checkpoint=checkpoint,
        resume=resume,
    )
    epochs = recipe.training.epochs
    if recipe.training.patience and fitted.best_epoch == epochs:
        note = (
            f"validation was best in the last of {epochs} epochs: more (training.epochs) may help"
        )
        dataset = replace(dataset, notes=(*dataset.notes, note))
    files: Texts = {"history.csv": fitted.history_csv}
    folder = publish(recipe, dataset, fitted.network, repository, name, files, examples)
    checkpoint.unlink(missing_ok=True)
    return folder


def publish(
    recipe: Recipe | Adopted,
    dataset: Dataset,
    network: nn.Sequential,
    repository: Path,
    name: str,
    files: Texts | None = None,
    examples: Examples | None = None,
) -> Path:
    """Calibrate and measure a trained network, and write the next version; returns its folder.

    Arguments are those of `mcdrop.assessment.assess` and `mcdrop.repository.save`.

    Raises:
        RepositoryError: the repository cannot be written.
    """
    found = assess(recipe, dataset, network)
    fields = {
        **_provenance(recipe, dataset),
        "calibration": found.calibration,
        "metrics": found.metrics,
        "intervals": found.intervals,
    }
    texts = {**(files or {}), "CARD.md": markdown}
    return save(repository, name, network, found.reference, fields, texts, examples)


def _examples(
    recipe: Recipe, dataset: Dataset, data_root: Path | None, base: Path
) -> Examples | None:
    """Test rows that anyone may see: of a named set of images, or as many as the recipe says."""
    count = recipe.data.examples
    if count is None:
        count = _EXAMPLES if recipe.data.source in CLASSES else 0
    if not count:
        return None
    rows, truth, _ = raw_test(recipe, data_root, base)
    return sample(rows, truth, dataset, count)


def sample(rows: Any, truth: NDArray[Any], dataset: Dataset, count: int) -> Examples:
    """The first rows of ``dataset``'s test part, raw, for people to try a model on.

    Raises:
        DataError: they are no pictures.
    """
    if not picture_shape(dataset.preprocessing):
        raise DataError(f"got {count} examples to keep, but rows are no pictures: keep none")
    pictures, y = np.asarray(rows)[:count], truth[:count].reshape(-1, len(dataset.targets) or 1)
    return Examples(
        rows=[picture.ravel().tolist() for picture in pictures],
        labels=[dataset.classes[i] for (i,) in y]
        if dataset.classes
        else [", ".join(f"{value:g}" for value in values) for values in y],
    )


def _provenance(recipe: Recipe | Adopted, dataset: Dataset) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC),
        "task": recipe.task,
        "classes": dataset.classes,
        "targets": dataset.targets,
        "in_features": dataset.train.x.shape[1],
        "samples": recipe.samples,
        "recipe": recipe,
        "preprocessing": dataset.preprocessing,
        "rows": {part: len(getattr(dataset, part)) for part in _PARTS},
        "notes": dataset.notes,
        "data_fingerprint": dataset.fingerprint,
        "libraries": {
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    }
