"""Is the posterior ever slower than the plain loop? One thread.

All five networks of `benchmarks.networks`, from 1 to 65,536 rows and from 1 to 1000 passes. A
number is the plain loop's time over ours at as many passes; `least` is the smallest of its line,
and one below 1 would be a shape at which nobody should call the library.

The loop is timed at one pass and at as many as take about half a second, and taken to be linear in
passes between and beyond (whole runs would take hours): in its favor, as what it stacks outgrows
the caches. Ours is timed at every shape but those of more than `LONGEST` multiplications. There it
runs on as many of the rows as that allows, and its time is continued in proportion: against it, as
what it does once a call is counted again. The file's `scaled` names these shapes.
"""

import math
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from benchmarks.harness import arguments, interleave, report
from benchmarks.networks import NETWORKS, build, plain_loop, useful
from mcdrop.posterior import Posterior

ROWS = (1, 2, 5, 12, 32, 256, 4096, 65_536)
SAMPLES = (1, 2, 5, 30, 100, 1000)
LONGEST = 6e11  # useful multiplications of a case: some ten seconds
LOOP = 2e10  # multiplications of the loop's longer case


def timed(name: str, rows: int, samples: int) -> int:
    """How many of the rows ours runs on."""
    return min(rows, int(LONGEST // useful(name, samples)))


def sweep(name: str, rows: int, samples: list[int]) -> dict[int, float]:
    """The loop's time over ours, by passes."""
    network, widths = build(name).eval(), NETWORKS[name][0]
    x = torch.randn(rows, widths[0])
    work = rows * sum(a * b for a, b in pairwise(widths))
    many = min(max(samples), max(2, math.ceil(LOOP / work)))
    cases: dict[str, Callable[[], object]] = {
        f"loop {t}": partial(plain_loop, network, x, t) for t in (1, many)
    }
    for t in samples:
        cases[f"ours {t}"] = partial(Posterior(network, t).predict, x[: timed(name, rows, t)])
    times = interleave(cases, rounds=3, long=2.0)
    one, slope = times["loop 1"], (times[f"loop {many}"] - times["loop 1"]) / (many - 1)
    ours = {t: times[f"ours {t}"] * rows / timed(name, rows, t) for t in samples}
    return {t: (one + slope * (t - 1)) / ours[t] for t in samples}


def main() -> None:
    """Measure, and report the worst first."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", r"std\(\)")  # the loop's, of one pass
    table: list[dict[str, Any]] = []
    scaled: list[str] = []
    samples = [1, 5, 100] if quick else list(SAMPLES)
    for name in NETWORKS:
        for rows in (1, 12, 256) if quick else ROWS:
            ratios = sweep(name, rows, samples)
            line = {"network": name, "rows": rows, "least": min(ratios.values())}
            table.append(line | {f"T = {t}": ratio for t, ratio in ratios.items()})
            fewer = [t for t in samples if timed(name, rows, t) < rows]
            scaled += [f"{name}, {rows} rows, T = {t}" for t in fewer]
    table.sort(key=lambda line: line["least"])
    report("sweep", table, quick=quick, worst=table[0]["least"], scaled=scaled)


if __name__ == "__main__":
    main()
