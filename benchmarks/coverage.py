"""Do 95 % intervals cover 95 %? Six UCI regression sets, twenty standard splits each.

Every split's training rows go through the whole pipeline (training, validation and calibration
parts of its own); its test rows are looked at once. `conformal` is the share of test targets
within the served interval at level .95, `gaussian` within mean -+ 1.96 predicted standard
deviations; both with the standard error of the mean over splits. `width` is that of the conformal
interval over that of the Gaussian one. Needs the datasets (MCDROP_TEST_DATA).
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import arguments, report
from benchmarks.uci.data import SPLITS, Rows, load, splits
from mcdrop.assessment import assess
from mcdrop.data.sources import Dataset, load_dataset
from mcdrop.many import fit_many
from mcdrop.metrics import interval_coverage, rmse
from mcdrop.network import with_spread
from mcdrop.posterior import Posterior
from mcdrop.predictions import ValuePredictions
from mcdrop.recipe import Recipe

SETS = ("concrete", "energy", "kin8nm", "power", "wine", "yacht")
LEVEL = 0.95


def recipe() -> Recipe:
    """One recipe for all sets and splits; one seed, so that parts are of one size."""
    files = {"source": "table", "train": "train.csv", "test": "test.csv", "target": "y"}
    return Recipe.model_validate(
        {
            "task": "regression",
            "data": files,
            "network": {"hidden": [50], "dropout": 0.05},
            "training": {"lr": 0.01, "schedule": "cosine", "batch_size": 64, "epochs": 100},
        }
    )


def parts(rows: Rows, count: int, scratch: Path) -> list[Dataset]:
    """The rows of each split, as a recipe's files give them."""
    found = []
    for places in splits(len(rows.x), count):
        for name, some in zip(("train", "test"), places, strict=True):
            table = np.hstack([rows.x[some], rows.y[some]])
            head = ",".join([*(f"x{i}" for i in range(rows.x.shape[1])), "y"])
            np.savetxt(scratch / f"{name}.csv", table, "%.10g", ",", header=head, comments="")
        found.append(load_dataset(recipe(), scratch))
    return found


def line(name: str, count: int, scratch: Path) -> dict[str, Any]:
    """The row of the table for one set."""
    datasets = parts(load(name), count, scratch)
    recipes = [recipe()] * count
    scores = np.array(
        [
            score(own, dataset, fitted.network)
            for own, dataset, fitted in zip(
                recipes, datasets, fit_many(recipes, datasets), strict=True
            )
        ]
    )
    found: dict[str, Any] = {"set": name, "test rows": len(datasets[0].test)}
    for key, values in zip(("conformal", "gaussian", "width", "rmse"), scores.T, strict=True):
        found[key] = float(values.mean())
        if key in {"conformal", "gaussian"}:
            found[f"{key} error"] = float(values.std(ddof=1) / len(values) ** 0.5)
    return found


def score(own: Recipe, dataset: Dataset, network: Any) -> tuple[float, ...]:
    """Coverage of both intervals, their relative width, and the error, on the test rows."""
    found, test = assess(own, dataset, network), dataset.test
    posterior = Posterior(
        with_spread(network, found.calibration.spread),
        own.samples,
        own.seed,
        task="regression",
        **found.calibration.options,
    )
    answer: ValuePredictions = found.reference.apply(posterior.predict(test.x), LEVEL)  # type: ignore[assignment]
    lower, upper = answer.interval(LEVEL)
    return (
        interval_coverage(answer.lower, answer.upper, test.y),
        interval_coverage(lower, upper, test.y),
        float(np.mean(answer.upper - answer.lower) / np.mean(upper - lower)),
        rmse(answer.mean, test.y),
    )


def main() -> None:
    """Train, measure and report; ``--quick`` takes one set and three splits."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    sets, count = (("yacht",), 3) if quick else (SETS, SPLITS)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [line(name, count, Path(scratch)) for name in sets]
    report("coverage", rows, quick=quick, splits=count, samples=100)


if __name__ == "__main__":
    main()
