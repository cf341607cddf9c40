"""The tuned Fashion-MNIST recipe over three seeds: how good, how honest, how alert.

Trains the recipe through the whole pipeline, once a seed, and scores the served answer (T = 100,
temperature from validation rows) on the 10,000 test rows: accuracy, NLL in nats, ECE of 15 equal
bins, the AUROC of the predictive entropy for its errors, and the AUROC of the mutual information
against MNIST's test digits. The seed draws split, initial weights, order and masks. `mean` is over
seeds, `error` its standard error. Needs the datasets (MCDROP_TEST_DATA, by default
../shared/data); about two minutes a seed.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

import mcdrop
from benchmarks.calibration import DATA, ROOT, strangeness
from benchmarks.harness import arguments, report
from mcdrop import metrics
from mcdrop.data.sources import load_dataset
from mcdrop.recipe import load_recipe
from mcdrop.sweep import replaced

SEEDS = 3


def measure(seed: int, repository: Path, epochs: int | None) -> dict[str, float]:
    """Train one seed and score its test rows."""
    recipe = load_recipe(ROOT / "models" / "fashion-mnist-tuned" / "recipe.toml")
    changes = {"seed": seed} | ({"training.epochs": epochs} if epochs else {})
    recipe, root = replaced(recipe, changes), DATA / "fashion-mnist"
    model = mcdrop.load(mcdrop.train(recipe, f"seed-{seed}", repository, data_root=root))
    test = load_dataset(recipe, root).test
    answer = model.evaluate(test.x)
    wrong = answer.prediction != test.y
    return {
        **{score: model.card.metrics["served"][score] for score in ("accuracy", "nll", "ece")},
        "error AUROC": metrics.auroc(answer.total, wrong),
        "strange": strangeness(model, answer.epistemic),
    }


def main() -> None:
    """Train, measure and report; ``--quick`` trains one epoch a seed."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        found = [measure(seed, Path(scratch), 1 if quick else None) for seed in range(SEEDS)]
    rows: list[dict[str, object]] = [{"seed": seed, **row} for seed, row in enumerate(found)]
    values = np.array([list(row.values()) for row in found])
    for name, line in (("mean", values.mean(0)), ("error", values.std(0, ddof=1) / SEEDS**0.5)):
        rows.append({"seed": name, **dict(zip(found[0], line.tolist(), strict=True))})
    report("tuned", rows, quick=quick, samples=100)


if __name__ == "__main__":
    main()
