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

from torch import nn

from mcdrop.calibration import RISKS, Calibration, Reference, fit_noise, fit_temperature
from mcdrop.data.images import CLASSES
from mcdrop.data.sources import Dataset, load_dataset, raw_split
from mcdrop.metrics import summarize
from mcdrop.network import DropoutMLP
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe
from mcdrop.repository import Examples, checkpoint_path, prepare, save
from mcdrop.training import Epoch, fit, ignore

__all__ = ["assess", "train"]

_PARTS = ("train", "validation", "calibration", "test")
_TEMPERATURE_ROWS = 4096  # enough for one number, and their passes fit in memory
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
    prepare(repository, name)
    checkpoint = checkpoint_path(repository, name)
    dataset = load_dataset(recipe, data_root, base)
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
    calibration, reference, metrics = assess(recipe, dataset, fitted.network)
    fields = {
        **_provenance(recipe, dataset),
        "calibration": calibration,
        "metrics": metrics,
    }
    files = {"history.csv": fitted.history_csv}
    examples = _examples(recipe, data_root)
    folder = save(repository, name, fitted.network, reference, fields, files, examples)
    checkpoint.unlink(missing_ok=True)
    return folder


def assess(
    recipe: Recipe, dataset: Dataset, network: DropoutMLP
) -> tuple[Calibration, Reference, dict[str, dict[str, float]]]:
    """Fit on validation rows, measure on calibration rows, report on test rows."""
    validation, held_out, test = dataset.validation, dataset.calibration, dataset.test

    def posterior(**corrections: Any) -> Posterior:
        return Posterior(network, recipe.samples, recipe.seed, task=recipe.task, **corrections)

    if recipe.task == "classification":
        few = slice(0, _TEMPERATURE_ROWS)
        x, y = validation.x[few], validation.y[few]
        fixed = posterior().predict(x).deterministic.probabilities
        temperature, note = fit_temperature(posterior().sample(x), y, fixed)
        calibration = Calibration(temperature=temperature, notes=(note,))
    else:
        calibration = Calibration(target_variance=tuple(dataset.train.y.var(0)))
        if recipe.network.variance == "constant":
            plain = posterior().predict(validation.x)
            noise = fit_noise(plain.mean, plain.epistemic, validation.y)
            calibration = calibration.model_copy(update={"noise": noise})
    served = posterior(**calibration.options)
    reference = Reference.measure(
        recipe.calibration,
        served.predict(held_out.x),
        held_out.y,
        served.predict(validation.x),
        validation.y,
    )
    metrics = summarize(served.predict(test.x), test.y)
    metrics["served"] = metrics["mc"]
    if recipe.task == "classification":
        metrics["mc"] = summarize(posterior().predict(test.x), test.y)["mc"]
        promises = tuple(reference.promise(risk) for risk in RISKS)
        calibration = calibration.model_copy(update={"promises": promises})
    return calibration, reference, metrics


def _examples(recipe: Recipe, data_root: Path | None) -> Examples | None:
    """Test rows of a named set of images, which anyone may see; of the user's own files, none."""
    classes = CLASSES.get(recipe.data.source)
    if classes is None:
        return None
    rows, labels = raw_split(
        recipe.data.source, "test", data_root, seed=recipe.seed, share=recipe.data.test_share
    )
    few = slice(0, _EXAMPLES)
    return Examples(
        rows=[row.ravel().tolist() for row in rows[few]], labels=[classes[i] for i in labels[few]]
    )


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
        "rows": {part: len(getattr(dataset, part)) for part in _PARTS},
        "data_fingerprint": dataset.fingerprint,
        "libraries": {
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    }
