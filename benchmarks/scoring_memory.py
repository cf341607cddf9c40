"""Whether memory grows with the rows that are scored, and what a second process is worth.

Generated rows of 50 numbers through a regression of 50-32-1, T=30, Parquet to Parquet, each scoring
in a process of its own, of one thread of PyTorch. `peak MiB` is the greatest resident memory of the
process that was asked, libraries included; `processor s` counts every process and starting them.
Wall times are those of the machine's other users too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import mcdrop
from benchmarks.harness import report
from benchmarks.scoring import save_model
from mcdrop.data.preprocessing import ArrayPreprocessing
from mcdrop.scoring import score

GROUP = 1 << 17  # rows generated at a time, as a row group
INPUTS = 50
SAMPLES = 30

Row = dict[str, Any]


def generate(path: Path, rows: int) -> None:
    """A Parquet file of ``rows`` rows of 50 numbers, never held whole."""
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(INPUTS)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    values = rng.random((INPUTS, GROUP), np.float32)
    plain = {"use_dictionary": False, "compression": "none"}
    with pq.ParquetWriter(path, schema, **plain) as writer:
        for start in range(0, rows, GROUP):
            values = np.roll(values, 1, axis=1)[:, : min(GROUP, rows - start)]
            writer.write_table(pa.table(dict(zip(names, values, strict=True))))


def memory(folder: Path, rows: int, workers: int) -> Row:
    """One scoring in a process of its own."""
    source = folder / f"{rows}.parquet"
    if not source.exists():
        generate(source, rows)
    child = [
        sys.executable,
        "-m",
        "benchmarks.scoring_memory",
        "--child",
        str(source),
        str(workers),
    ]
    told = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"rows": rows, "workers": workers, **json.loads(told.splitlines()[-1])}


def child(source: Path, workers: int) -> None:
    """Score, and tell how long it took and how much memory it had at most."""
    torch.set_num_threads(1)
    predictor = mcdrop.load(source.parent / "models" / f"widths-{INPUTS}")
    summary = score(
        predictor, source, source.parent / "o.parquet", samples=SAMPLES, workers=workers
    )
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    times = os.times()
    processor = times.user + times.system + times.children_user + times.children_system
    told = {"wall s": summary.seconds, "processor s": processor, "peak MiB": peak / 1024}
    print(json.dumps(told))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, no file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(Path(arguments.child[0]), int(arguments.child[1]))
        return
    torch.set_num_threads(1)
    few, many = (100_000, 300_000) if arguments.quick else (1_000_000, 10_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unit = ArrayPreprocessing(shape=(INPUTS,), scale=1, mean=0.5, std=0.3, maximum=1)
        save_model(folder / "models", [32], unit, 0)
        rows = [memory(folder, *case) for case in [(few, 1), (many, 1), (many, 2)]]
    report("scoring_memory", rows, quick=arguments.quick, samples=SAMPLES)


if __name__ == "__main__":
    main()
