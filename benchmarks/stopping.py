"""What stopping when the error looks small costs: the bias of ``samples="auto"``.

Each row of the digits' test part is answered by 100 seeds. `passes` is the mean number of passes
taken, `error` the root mean square distance of probabilities from those of infinitely many
passes (100,000), and `fixed error` that of the same number of passes for every row and seed; the
`bias` is the mean signed distance of the most probable class's probability, with its standard
error over seeds, and `optimism` what errors are in the mean, in units of the error that is stated
(1: honest). `over` is the share of probabilities further off than twice the tolerance.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mcdrop
from benchmarks.harness import arguments, report
from mcdrop.data.sources import load_dataset
from mcdrop.recipe import load_recipe

ROOT = Path(__file__).parent.parent
TOLERANCES = (0.02, 0.01, 0.005)


def measure(
    model: mcdrop.Predictor, x: np.ndarray, truth: np.ndarray, tolerance: float, seeds: int
) -> dict[str, Any]:
    """The row of the table for one tolerance."""
    best = truth.argmax(1)
    taken, gaps, stated = [], [], []
    for seed in range(1000, 1000 + seeds):
        answer = model.evaluate(x, "auto", seed, tolerance=tolerance, limit=4000)
        taken.append(answer.passes)
        gaps.append(answer.mean - truth)
        stated.append(answer.mc_error)
    gap, error, passes = np.array(gaps), np.array(stated), np.array(taken)  # (S, B, C), (S, B)
    fixed = np.array(
        [model.evaluate(x, round(passes.mean()), s).mean - truth for s in range(1000, 1000 + seeds)]
    )
    top = gap[:, np.arange(len(x)), best].mean(1)  # (S,)
    return {
        "tolerance": tolerance,
        "passes": float(passes.mean()),
        "most": int(passes.max()),
        "error": float(np.sqrt(np.mean(gap**2))),
        "fixed error": float(np.sqrt(np.mean(fixed**2))),
        "bias": float(top.mean()),
        "bias error": float(top.std(ddof=1) / len(top) ** 0.5),
        "optimism": float(np.sqrt(np.mean(gap**2) / np.mean(error**2))),
        "over": float(np.mean(np.abs(gap) > 2 * tolerance)),
    }


def main() -> None:
    """Train, measure and report; ``--quick`` takes fewer seeds."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    seeds, blocks = (10, 10) if quick else (100, 100)
    recipe = load_recipe(ROOT / "models/digits/recipe.toml")
    with tempfile.TemporaryDirectory() as scratch:
        model = mcdrop.load(mcdrop.train(recipe, "digits", Path(scratch)))
    x = load_dataset(recipe).test.x
    truth = np.mean([model.evaluate(x, 1000, seed).mean for seed in range(blocks)], axis=0)
    rows = [measure(model, x, truth, tolerance, seeds) for tolerance in TOLERANCES]
    report("stopping", rows, quick=quick, seeds=seeds)


if __name__ == "__main__":
    main()
