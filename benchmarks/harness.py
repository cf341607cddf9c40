"""What every benchmark shares: a fair clock, the machine in words, a table and a JSON line.

Times are processor time of the calling thread, so that other programs on the machine count
little; cases are timed in turn, round by round, so that what disturbs one disturbs all; the
median of rounds is reported. Compare ratios within a run, never times between runs.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_bf16", "asimd")


def arguments(description: str, devices: Sequence[str] = ("cpu",)) -> argparse.Namespace:
    """Command line of a benchmark: ``--quick`` runs less and writes nothing."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds, no file")
    if len(devices) > 1:
        parser.add_argument("--device", choices=devices, default=devices[0])
    return parser.parse_args()


def interleave(
    cases: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    least: float = 0.01,
    long: float = math.inf,
) -> dict[str, float]:
    """Median seconds a call of each case.

    Args:
        cases: what to time, by name.
        rounds: times each case has its turn.
        least: seconds of processor time a turn lasts at least; short cases repeat within it.
        long: seconds from which a case's first call is all that is timed of it.
    """
    repeats: dict[str, int] = {}
    times: dict[str, list[float]] = {}
    for name, case in cases.items():
        first = _clock(case)  # plans, caches and lazy imports
        if first < long:
            repeats[name], times[name] = max(1, int(least / max(_clock(case), 1e-6))), []
        else:
            times[name] = [first]
    for _ in range(rounds):
        for name, count in repeats.items():
            if count > 1:
                cases[name]()  # brings its own data back into the caches
            times[name].append(_clock(cases[name], count))
    return {name: statistics.median(values) for name, values in times.items()}


def machine(device: str) -> dict[str, Any]:
    """The machine in words, with the device measured: nothing that names a host or a path."""
    model, flags = platform.processor() or platform.machine(), set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in {"flags", "Features"}:
                flags = set(value.split())
    return {
        "processor": model,
        "features": [flag for flag in _FLAGS if flag in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if device == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as aligned text; numbers to three significant digits."""
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = (
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(lines)


def report(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    quick: bool,
    options: str | None = None,
    file: str | None = None,
    device: str = "cpu",
    **extra: object,
) -> None:
    """Print a table, then one JSON line; keep a full run in ``results/FILE.json``, or NAME."""
    options = options if options is not None else "--quick" if quick else ""
    command = f"python -m benchmarks.{name} {options}".rstrip()
    result = {"benchmark": name, "command": command, "machine": machine(device), **extra}
    result["rows"] = [dict(row) for row in rows]
    print(table(rows))
    print(json.dumps(result))
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{file or name}.json").write_text(json.dumps(result, indent=1) + "\n")


def _clock(case: Callable[[], object], count: int = 1) -> float:
    """Seconds of processor time a call."""
    start = time.thread_time()
    for _ in range(count):
        case()
    return (time.thread_time() - start) / count


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
