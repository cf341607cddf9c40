"""Sixty-four networks trained at once against sixty-four in turn. One thread.

The networks are the 13-50-1 of the UCI tables, with dropout on the input and the hidden layer,
on 455 rows (Boston's nine tenths); both sides start from recipes and end with the same count of
fitted networks, validation after every epoch included. `x` is the time in turn over the time at
once. In turn, eight are trained, and the time is scaled to sixty-four.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.harness import arguments, interleave, report
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.data.sources import Dataset, Split
from mcdrop.many import fit_many
from mcdrop.recipe import Recipe
from mcdrop.training import fit

NETWORKS = 64
TIMED = 8
EPOCHS = 20


def dataset() -> Dataset:
    """455 training rows of 13 features, 51 to validate."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(506, 13)).astype(np.float32)
    y = np.sin(x[:, :1] + x[:, 1:2]).astype(np.float64) + 0.1 * rng.normal(size=(506, 1))
    held_out = Split(x[455:], y[455:])
    return Dataset(
        train=Split(x[:455], y[:455]),
        validation=held_out,
        calibration=held_out,
        test=held_out,
        preprocessing=ArrayPreprocessing(
            shape=(13,), scale=1, mean=0, std=1, minimum=-9, maximum=9
        ),
        classes=(),
        targets=("y",),
        fingerprint="",
        source="made",
    )


def recipe(seed: int, batch_size: int) -> Recipe:
    """One of the grid: the rate, lambda and seed of its number."""
    return Recipe.model_validate(
        {
            "task": "regression",
            "seed": seed,
            "data": {"source": "table", "train": "-"},
            "network": {
                "hidden": [50],
                "dropout": 0.01 + 0.05 * (seed % 4),
                "input_dropout": 0.05,
            },
            "regularization": {"weight_decay": 10.0 ** -(1 + seed % 5)},
            "training": {"batch_size": batch_size, "epochs": EPOCHS, "patience": EPOCHS},
        }
    )


def measure(batch_size: int, rounds: int) -> dict[str, object]:
    """One row of the table."""
    data, recipes = dataset(), [recipe(seed, batch_size) for seed in range(NETWORKS)]
    cases: dict[str, Callable[[], object]] = {
        "turn": lambda: [fit(each, data, device="cpu") for each in recipes[:TIMED]],
        "once": lambda: fit_many(recipes, data),
    }
    times = interleave(cases, rounds=rounds)
    turn, once = times["turn"] * NETWORKS / TIMED, times["once"]
    return {
        "network": "13-50-1",
        "networks": NETWORKS,
        "batch": batch_size,
        "in turn s": turn,
        "at once s": once,
        "x": turn / once,
    }


def main() -> None:
    """Measure and report."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    sizes = (32,) if quick else (16, 32, 64, 128)
    rows = [measure(size, rounds=1 if quick else 3) for size in sizes]
    report("many", rows, quick=quick, epochs=EPOCHS, least=8)


if __name__ == "__main__":
    main()
