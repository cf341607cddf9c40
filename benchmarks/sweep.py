"""Is the posterior ever slower than the plain loop? One thread.

All five networks of `benchmarks.posterior`, from 1 to 65,536 rows and from 1 to 1000 passes, as
far as a case takes seconds and not minutes. `x` is the plain loop's time over ours, as there; a
number below 1 would be a shape at which nobody should call the library.
"""

import torch

from benchmarks.harness import arguments, report
from benchmarks.posterior import NETWORKS, measure, product_rate, useful

ROWS = (1, 2, 5, 12, 32, 256, 4096, 65_536)
SAMPLES = (1, 2, 5, 30, 100, 1000)
LONGEST = 2e11  # useful multiplications of a case: some seconds


def cases(*, quick: bool) -> list[tuple[str, int, int]]:
    """Network, rows and passes."""
    return [
        (name, rows, samples)
        for name in NETWORKS
        for rows in ROWS
        for samples in SAMPLES
        if rows * useful(name, samples) <= LONGEST
        and (not quick or (rows in {1, 12, 256} and samples in {1, 5, 100}))
    ]


def main() -> None:
    """Measure, and report the worst first."""
    quick = arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    rate = product_rate()
    rows = [
        {"samples": samples} | measure(name, count, "auto", rounds=3, rate=rate, samples=samples)
        for name, count, samples in cases(quick=quick)
    ]
    keys = ("network", "rows", "samples", "ours ms", "x", "d")
    table = [{key: row[key] for key in keys} for row in rows]
    table.sort(key=lambda row: float(str(row["x"])))
    report("sweep", table, quick=quick, worst=table[0]["x"])


if __name__ == "__main__":
    main()
