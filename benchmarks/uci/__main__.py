"""The UCI tables: our RMSE and log-likelihood beside the published ones.

Twenty standard splits, mean +- standard error over splits, T = 10,000 passes; seconds of
processor time. "2016" and "10x" are the published recipes with their published p and tau, where
those are known; "tuned" chooses its rates, lambda and tau for each split by validation rows of
that split's training rows, and stands beside the published grid of 2018.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.harness import arguments, report
from benchmarks.uci.data import SPLITS
from benchmarks.uci.experiment import PASSES
from benchmarks.uci.recipes import FIXED, LENGTHS, SETS
from benchmarks.uci.table import line


def main() -> None:
    """Train, score and report; a process a core."""
    quick = arguments(__doc__ or "").quick
    sets, count = (("yacht",), 3) if quick else (SETS, SPLITS)
    jobs = [
        (name, recipe, count)
        for name in sets
        for recipe in [*(LENGTHS if name in FIXED and not quick else ()), "tuned"]
    ]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        done = [pool.submit(line, *each) for each in jobs]
        rows, details = zip(*(future.result() for future in done), strict=True)
    report("uci", rows, quick=quick, passes=PASSES, splits=count, details=details)


if __name__ == "__main__":
    main()
