"""Scoring files: against the posterior alone, against the loop users write, and how memory grows.

Parquet to Parquet and CSV to CSV, T=100, against `Predictor.evaluate` on the same rows in memory
and against pandas.read_csv, model.train(), T forwards in batches of 1,024 and to_csv (on fewer
rows); cases in turn, medians. On two processors, with one thread of PyTorch: one answers, the other
has all the rest. `of alone` is the share of the posterior's rows a second that a scoring reaches,
by the wall: only a machine that does nothing else tells it. Where others use it, the processor time
a row tells: `reading`, `answering` and `writing us` of the three threads, which overlap as long as
reading and writing together take no longer than answering; `all us` as if nothing overlapped.
`waiting us` passed, by the wall, between one block's answer and the next one's start.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import torch

import mcdrop
from benchmarks.harness import report
from mcdrop import repository
from mcdrop.calibration import Reference
from mcdrop.data.images import idx_images
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.network import build_network
from mcdrop.recipe import CalibrationRecipe, Recipe
from mcdrop.scoring import score

SAMPLES = 100
LOOP_ROWS = 2048
COPIES = 4  # of the rows: a folder of so many files, each of them all rows
SCORINGS = {"parquet, a list": "lists", "parquet, 784 columns": "columns", "csv": "csv"}

Row = dict[str, Any]


def save_model(
    root: Path, hidden: list[int], preprocessing: ArrayPreprocessing, classes: int
) -> Path:
    """An untrained model, as fast as a trained one; a regression if there are no classes."""
    recipe = Recipe.model_validate(
        {"data": {"source": "digits"}, "network": {"hidden": hidden, "dropout": 0.5}}
    )
    rng = np.random.default_rng(0)
    known = 1000 if classes else 0
    reference = Reference(
        CalibrationRecipe(),
        scores=rng.random(1000) if classes else rng.random((1000, 1)),
        epistemic=np.sort(rng.random(1000)),
        labels=rng.integers(0, 10, known),
        confidence=rng.random(known),
        errors=rng.random(known) < 0.1,
        pilot_confidence=rng.random(known),
        pilot_errors=rng.random(known) < 0.1,
    )
    width = preprocessing.features
    seed = torch.Generator().manual_seed(0)
    network = build_network(recipe.network, width, classes or 1, seed)
    values = {"noise": (0.1,), "target_variance": (1.0,)}
    fields = {
        **{"created": datetime.now(UTC), "classes": tuple(map(str, range(classes)))},
        **{"task": "classification" if classes else "regression"},
        **{"targets": () if classes else ("y",), "calibration": {} if classes else values},
        **{"in_features": width, "samples": SAMPLES, "metrics": {}},
        **{"recipe": recipe, "preprocessing": preprocessing},
        **{"rows": {"train": 1, "validation": 1, "calibration": 1000, "test": 1}},
        **{"data_fingerprint": "none", "libraries": {}},
    }
    return repository.save(root, f"widths-{width}", network, reference, fields)


class Stages:
    """Times of a case's threads: of the one that answers, and of its caller's."""

    def __init__(self, predictor: mcdrop.Predictor) -> None:
        self.answering = self.waiting = 0.0
        self.done: float | None = None
        evaluate = predictor.evaluate

        def watched(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            if self.done is not None:
                self.waiting += time.perf_counter() - self.done
            answer = evaluate(*arguments, **options)
            self.done = time.perf_counter()
            self.answering += time.thread_time() - began
            return answer

        predictor.evaluate = watched  # type: ignore[method-assign]

    def time(self, case: Callable[[], object]) -> tuple[float, ...]:
        """Seconds of the wall, of all threads, of answering, of waiting and of the caller's."""
        self.answering, self.waiting, self.done = 0.0, 0.0, None
        clocks = time.perf_counter, time.process_time, time.thread_time
        began = [clock() for clock in clocks]
        case()
        wall, processor, caller = (clock() - b for clock, b in zip(clocks, began, strict=True))
        return wall, processor, self.answering, self.waiting, caller


def medians(
    cases: dict[str, Callable[[], object]], stages: Stages, rounds: int
) -> dict[str, tuple[float, ...]]:
    """Median times of cases that are run in turn."""
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in cases}
    for i in range(rounds + 1):
        for name, case in cases.items():
            found = stages.time(case)
            if i:  # the first round makes plans and fills caches
                times[name].append(found)
    return {
        name: tuple(statistics.median(column) for column in zip(*found, strict=True))
        for name, found in times.items()
    }


def user_loop(network: torch.nn.Module, source: Path, target: Path) -> None:
    """What is usually written to score a file by MC dropout."""
    frame = pd.read_csv(source)
    x = torch.tensor(frame.to_numpy(np.float32) / 255)
    network.train()
    parts = []
    with torch.no_grad():
        for batch in torch.split(x, 1024):
            parts.append(torch.stack([network(batch).softmax(-1) for _ in range(SAMPLES)]))
    network.eval()
    p = torch.cat(parts, dim=1)
    mean = p.mean(0)
    total = torch.special.entr(mean).sum(-1)
    aleatoric = torch.special.entr(p).sum(-1).mean(0)
    columns = {"prediction": mean.argmax(-1), "total": total, "aleatoric": aleatoric}
    columns["epistemic"] = total - aleatoric
    columns |= {f"probability_{c}": mean[:, c] for c in range(10)}
    columns |= {f"std_{c}": p.std(0)[:, c] for c in range(10)}
    pd.DataFrame({name: values.numpy() for name, values in columns.items()}).to_csv(target)


def against(folder: Path, pixels: np.ndarray, rounds: int) -> list[Row]:
    """Scoring against the posterior alone and against the loop."""
    preprocessing = ArrayPreprocessing(shape=(28, 28), scale=1 / 255, mean=0, std=1)
    predictor = mcdrop.load(save_model(folder / "models", [256, 128], preprocessing, 10))
    write_rows(folder, pixels)
    x = preprocessing.encode(pixels)
    times = medians(
        {
            "posterior alone": lambda: [predictor.evaluate(x) for _ in range(COPIES)],
            **{
                name: partial(score, predictor, folder / source, folder / answers)
                for name, source in SCORINGS.items()
                for answers in ["answers.csv" if source == "csv" else "answers.parquet"]
            },
            "loop": lambda: user_loop(predictor.network, folder / "few.csv", folder / "l.csv"),
        },
        Stages(predictor),
        rounds,
    )
    return [_row(name, times, COPIES * len(pixels)) for name in times]


def write_rows(folder: Path, pixels: np.ndarray) -> None:
    """Folders of files of rows, and a file of few rows for the loop."""
    flat = pa.array(pixels.reshape(-1))
    lists = pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, 784)})
    columns = pa.table({f"p{i}": column for i, column in enumerate(pixels.T)})
    pq.write_table(lists, folder / "lists.parquet")
    pq.write_table(columns, folder / "columns.parquet")
    pa_csv.write_csv(columns, folder / "csv.csv")
    pa_csv.write_csv(columns.slice(0, LOOP_ROWS), folder / "few.csv")
    for name in SCORINGS.values():
        (folder / name).mkdir()
        (file,) = folder.glob(f"{name}.*")
        for i in range(COPIES):
            (folder / name / f"{i}{file.suffix}").symlink_to(file)


def _row(name: str, times: dict[str, tuple[float, ...]], rows: int) -> Row:
    """Times a row of a case, and what they are of others'."""
    count = LOOP_ROWS if name == "loop" else rows
    wall, processor, answering, waiting, caller = (seconds / count * 1e6 for seconds in times[name])
    alone, alone_all, *_ = (seconds / rows * 1e6 for seconds in times["posterior alone"])
    threads = name not in {"posterior alone", "loop"}
    return {
        "case": name,
        "rows": count,
        "wall us": wall,
        "of alone": alone / wall,
        "reading us": processor - answering - caller if threads else 0.0,
        "answering us": answering,
        "waiting us": waiting,
        "writing us": caller if threads else 0.0,
        "all us": processor,
        "of alone, all": alone_all / processor,
        "x of loop": times["loop"][1] / LOOP_ROWS * 1e6 / processor,
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds, no file")
    parser.add_argument("--data-root", type=Path, help="folder of Fashion-MNIST")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # threads are held to two processors, where they can be
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    images, _ = idx_images("fashion-mnist", "train", arguments.data_root)
    pixels = images.reshape(-1, 784)[: 8192 if arguments.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        rows = against(Path(folder), pixels, 1 if arguments.quick else 3)
    report("scoring", rows, quick=arguments.quick, samples=SAMPLES)


if __name__ == "__main__":
    main()
