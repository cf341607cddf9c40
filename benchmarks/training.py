"""An epoch of the Fashion-MNIST recipe against the loop of the tutorials.

The tutorial's loop is the one that everybody copies: torchvision's dataset with ToTensor and
Normalize, which decode and scale an image at a time, a shuffling DataLoader without workers,
Adam, and the loss read each step. Ours is `mcdrop.training.fit` of one epoch on the same 60,000
rows, which also builds the network, and measures the validation rows. `cpu` is processor time of
all threads in seconds, `wall` time on the clock; `x` is the tutorial's over ours. Set
MCDROP_TEST_DATA to the folder that holds fashion-mnist/.
"""

import dataclasses
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from benchmarks.harness import arguments, report
from mcdrop.data.sources import Dataset, Split, load_dataset, raw_split
from mcdrop.recipe import Recipe, load_recipe
from mcdrop.sweep import replaced
from mcdrop.training import fit

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("MCDROP_TEST_DATA", ROOT.parent / "shared" / "data")) / "fashion-mnist"


def tutorial(rows: int, folder: str) -> Callable[[], object]:
    """The epoch as tutorials write it, on the first ``rows`` rows."""
    raw = Path(folder) / "FashionMNIST" / "raw"
    shutil.copytree(DATA / "FashionMNIST" / "raw", raw)
    steps = [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    images = datasets.FashionMNIST(folder, download=True, transform=transforms.Compose(steps))
    loader = DataLoader(Subset(images, range(rows)), batch_size=128, shuffle=True)

    def epoch() -> float:
        network = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(784, 256), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(128, 10),
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
        criterion, total = nn.CrossEntropyLoss(), 0.0
        network.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(network(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch


def ours(rows: int) -> Callable[[], object]:
    """The same epoch of the recipe, with a measurement of the validation rows."""
    recipe = replaced(
        load_recipe(ROOT / "models/fashion-mnist/recipe.toml"), {"training.epochs": 1}
    )
    dataset = whole(recipe, rows)
    return lambda: fit(recipe, dataset, device="cpu")


def whole(recipe: Recipe, rows: int) -> Dataset:
    """The recipe's data with the first ``rows`` of all training images to train on."""
    dataset = load_dataset(recipe, DATA)
    pixels, y = raw_split("fashion-mnist", "train", DATA)
    train = Split(dataset.preprocessing.encode(pixels[:rows]), y[:rows])
    return dataclasses.replace(dataset, train=train)


def timed(cases: dict[str, Callable[[], object]], rounds: int) -> list[dict[str, object]]:
    """Rows of the table for the present number of threads: both in turn, round by round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for _ in range(rounds + 1):  # the first is to warm up
        for name, case in cases.items():
            cpu, wall = time.process_time(), time.perf_counter()
            case()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    seconds = {
        name: [statistics.median(column) for column in zip(*found[1:], strict=True)]
        for name, found in times.items()
    }
    slow, threads = seconds["tutorial"], torch.get_num_threads()
    return [
        {
            **{"epoch": name, "threads": threads},
            **{"cpu": cpu, "x cpu": slow[0] / cpu, "wall": wall, "x wall": slow[1] / wall},
        }
        for name, (cpu, wall) in seconds.items()
    ]


def main() -> None:
    """Time both by one thread and by two."""
    options = arguments(__doc__ or "")
    images, rounds = (6_000, 1) if options.quick else (60_000, 3)
    table: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        cases = {"tutorial": tutorial(images, folder), "mcdrop": ours(images)}
        for threads in (1, 2):
            torch.set_num_threads(threads)
            table += timed(cases, rounds)
    report("training", table, quick=options.quick, images=images, rounds=rounds)


if __name__ == "__main__":
    main()
