"""Labels well spent: accuracy on Fashion-MNIST by labels, chosen by BALD, BatchBALD or at random.

Starts from 40 labels, 4 a class, and adds 20 a round, chosen from a pool of 4,000 rows by the
model trained on the labels so far, from the same start for every criterion. Each point is the mean
over seeds of the MC answer's accuracy on 2,000 test rows, with the standard error of its
difference from random. On this set a round of BALD's 20 best repeats itself and falls behind random
rows, as Kirsch et al. 2019 found; BatchBALD is ahead while labels are few. Needs the datasets
(MCDROP_TEST_DATA, by default ../shared/data).
"""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.harness import arguments, report
from mcdrop.batchbald import batch_bald
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.data.sources import Dataset, Split, raw_split
from mcdrop.metrics import accuracy
from mcdrop.posterior import Posterior
from mcdrop.recipe import Recipe
from mcdrop.training import fit

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MCDROP_TEST_DATA", ROOT.parent / "shared" / "data"))
POOL, TEST, START, STEP, SAMPLES = 4000, 2000, 40, 20, 100
RECIPE = {
    "data": {"source": "fashion-mnist"},
    "network": {"hidden": [256, 128], "dropout": [0.3, 0.5]},
    "training": {"lr": 2e-3, "batch_size": 32, "epochs": 40, "patience": 0},
}

PARTS: tuple[Literal["train"], Literal["test"]] = ("train", "test")
PREPROCESSING = ArrayPreprocessing(shape=(28, 28), scale=1 / 255, mean=0.286, std=0.353)

Arrays = tuple[np.ndarray, np.ndarray]


def choose(by: str, posterior: Posterior, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places of the next rows to label."""
    if by == "random":
        return rng.permutation(len(x))[:STEP]
    bald = posterior.predict(x).epistemic
    best = np.argsort(-bald, kind="stable")
    if by == "bald":
        return best[:STEP]
    candidates = best[:1000]
    return candidates[batch_bald(posterior.sample(x[candidates]), STEP).rows]


def learn(x: np.ndarray, y: np.ndarray, seed: int) -> Posterior:
    """The posterior of a network trained on these labels."""
    rows = Split(x, y)
    classes = tuple(map(str, range(10)))
    dataset = Dataset(rows, rows, rows, rows, PREPROCESSING, classes, (), "none", "labels")
    recipe = Recipe.model_validate({**RECIPE, "seed": seed})
    network = fit(recipe, dataset, device="cpu").network
    return Posterior(network, SAMPLES, seed, task="classification")


def curve(by: str, seed: int, rounds: int, train: Arrays, test: Arrays) -> list[float]:
    """Test accuracy after each round."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(len(train[0]))[:POOL]
    x, y = train[0][places], train[1][places]
    labeled = np.concatenate([np.flatnonzero(y == c)[: START // 10] for c in range(10)])
    found = []
    for done in range(rounds + 1):
        posterior = learn(x[labeled], y[labeled], seed)
        found.append(accuracy(posterior.predict(test[0]).mean, test[1]))
        if done < rounds:
            left = np.setdiff1d(np.arange(POOL), labeled)
            labeled = np.concatenate([labeled, left[choose(by, posterior, x[left], rng)]])
    return found


def main() -> None:
    """Run every criterion from the same starts; ``--quick`` takes one seed and two rounds."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    seeds, rounds = (1, 2) if quick else (5, 10)
    parts = (raw_split("fashion-mnist", part, DATA / "fashion-mnist") for part in PARTS)
    train, test = ((PREPROCESSING.encode(x), y) for x, y in parts)
    test = test[0][:TEST], test[1][:TEST]
    curves = {
        by: np.array([curve(by, seed, rounds, train, test) for seed in range(seeds)])
        for by in ("random", "bald", "batchbald")
    }
    rows = [row(START + STEP * i, {by: found[:, i] for by, found in curves.items()})
            for i in range(rounds + 1)]  # fmt: skip
    report("active_learning", rows, quick=quick, seeds=seeds, pool=POOL, samples=SAMPLES)


def row(labels: int, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """A line of the table: accuracies, and their gains over random."""
    line: dict[str, Any] = {"labels": labels}
    for by, values in found.items():
        line[by] = float(values.mean())
        if by != "random":
            gains = values - found["random"]
            line[f"{by} gain"] = float(gains.mean())
            line[f"{by} gain error"] = (
                float(gains.std(ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else None
            )
    return line


if __name__ == "__main__":
    main()
