"""What calibration is worth on real test rows: plain answers, MC answers, corrected MC answers.

Trains each recipe through the whole pipeline into a temporary repository and scores its test
rows. `covered` is the share of test rows whose 90 % prediction set holds the true class,
`answered` and `errors` the share of rows not abstained from at a risk of 5 % and the error rate
among them; `strange` is the OOD AUROC of the mutual information of Fashion-MNIST against MNIST.
The digits are small enough for chance to matter: they are split and trained from five seeds, and
the row is the mean.
Needs the datasets (MCDROP_TEST_DATA, by default ../shared/data).
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mcdrop
from benchmarks.harness import arguments, report
from mcdrop import metrics
from mcdrop.data.sources import load_dataset, raw_split
from mcdrop.predictions import ClassPredictions
from mcdrop.recipe import Recipe, load_recipe

ROOT = Path(__file__).parent.parent
SEEDS = {"digits": 5}
DATA = Path(os.environ.get("MCDROP_TEST_DATA", ROOT.parent / "shared" / "data"))


def recipes(scratch: Path) -> Iterator[tuple[str, Recipe, Path]]:
    """Name, recipe and data root of each set."""
    for name in ("digits", "adult", "fashion-mnist"):
        root = DATA / "fashion-mnist" if name == "fashion-mnist" else DATA
        yield name, load_recipe(ROOT / "models" / name / "recipe.toml"), root
    yield "letter", letter(scratch), scratch


def letter(scratch: Path) -> Recipe:
    """UCI Letter as tables: the first 16,000 rows to train, the last 4,000 to test."""
    rows = (DATA / "letter" / "letter-recognition.data").read_text().splitlines()
    head = ",".join(["letter", *(f"x{i}" for i in range(16))])
    for name, part in (("train.csv", rows[:16_000]), ("test.csv", rows[16_000:])):
        (scratch / name).write_text("\n".join([head, *part]) + "\n")
    table = {"source": "table", "train": "train.csv", "test": "test.csv", "target": "letter"}
    return Recipe.model_validate(
        {
            "data": table,
            "network": {"hidden": [256, 128], "dropout": [0.1, 0.2]},
            "training": {"lr": 2e-3, "schedule": "cosine", "epochs": 30, "patience": 30},
        }
    )


def measure(name: str, recipe: Recipe, data_root: Path, repository: Path) -> dict[str, Any]:
    """The row of the table for one set."""
    model = mcdrop.load(mcdrop.train(recipe, name, repository, data_root=data_root))
    test = load_dataset(recipe, data_root).test
    statistics = model.evaluate(test.x)
    answer = model.reference.apply(statistics, level=0.9, risk=0.05, unknown=test.unknown)
    if not isinstance(answer, ClassPredictions):
        raise TypeError(f"got a {model.card.task}, wanted a classification")
    wrong, given = answer.prediction != test.y, ~answer.abstain
    row: dict[str, Any] = {"set": name, "rows": len(test)}
    for kind in ("deterministic", "mc", "served"):
        row |= {f"{kind} {k}": model.card.metrics[kind][k] for k in ("nll", "ece")}
    row["spread"] = model.card.calibration.spread
    row["temperature"] = model.card.calibration.temperature
    row["accuracy"] = model.card.metrics["served"]["accuracy"]
    row["covered"] = float(answer.prediction_set[np.arange(len(test)), test.y].mean())
    row["set size"] = float(answer.prediction_set.sum(1).mean())
    row["answered"], row["errors"] = float(given.mean()), float(wrong[given].mean())
    row["error AUROC"] = metrics.auroc(answer.total, wrong)
    row["strange"] = strangeness(model, answer.epistemic) if name == "fashion-mnist" else None
    return row


def average(name: str, recipe: Recipe, root: Path, place: Path, seeds: int) -> dict[str, Any]:
    """The mean row over seeds, each of which splits and trains anew."""
    each = [
        measure(name, recipe.model_copy(update={"seed": recipe.seed + i}), root, place)
        for i in range(seeds)
    ]
    numbers = {key: [row[key] for row in each] for key in each[0] if key != "set"}
    means = {
        key: None if None in values else float(np.mean(values)) for key, values in numbers.items()
    }
    return {"set": name, "seeds": seeds, **means, "rows": each[0]["rows"]}


def strangeness(model: mcdrop.Predictor, known: np.ndarray) -> float:
    """OOD AUROC of the mutual information against MNIST's test digits."""
    digits, _ = raw_split("mnist", "test", DATA / "ood-mnist-test")
    strange = model.predict(digits).epistemic
    flags = np.repeat([False, True], [len(known), len(strange)])
    return metrics.auroc(np.concatenate([known, strange]), flags)


def main() -> None:
    """Train, measure and report; ``--quick`` leaves out the larger sets."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        rows = [
            average(name, recipe, root, place / "models", seeds=SEEDS.get(name, 1))
            for name, recipe, root in recipes(place)
            if not quick or name == "adult"
        ]
    report("calibration", rows, quick=quick, samples=100)


if __name__ == "__main__":
    main()
