"""What balanced masks are worth, as effective passes per pass.

The mean squared error of T plain Bernoulli passes over that of T balanced ones, over seeds: how
many plain passes one balanced pass replaces. The truth is a far longer run. Plain masks are those
of `masks="independent"`: row by row they are the textbook estimator. Networks are He-initialized
and not trained; the error of a ratio is about 10 % in a full run.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import arguments, report
from benchmarks.networks import NETWORKS, build
from mcdrop.posterior import Posterior
from mcdrop.uncertainty import Classification, Regression

SAMPLES = 96
TRUTH = 40_000


def numbers(stats: Classification | Regression) -> dict[str, NDArray[np.float64]]:
    """The estimates that are compared."""
    if isinstance(stats, Classification):
        return {"mean": stats.mean, "total": stats.total, "mutual information": stats.epistemic}
    return {"mean": stats.mean, "variance": stats.epistemic}


def measure(name: str, seeds: int) -> list[dict[str, object]]:
    """Rows of the table for one network."""
    network = build(name).eval()
    x = torch.randn(16, NETWORKS[name][0][0])
    truth = numbers(Posterior(network, TRUTH, 10**6, precision="float32").predict(x))
    errors = {
        kind: [
            {
                key: np.square(value - truth[key]).sum()
                for key, value in numbers(
                    Posterior(network, SAMPLES, seed, masks=kind, precision="float32").predict(x)
                ).items()
            }
            for seed in range(seeds)
        ]
        for kind in ("independent", "shared")
    }
    return [
        {
            "network": name,
            "estimate": key,
            "passes per pass": float(
                np.sum([error[key] for error in errors["independent"]])
                / np.sum([error[key] for error in errors["shared"]])
            ),
        }
        for key in truth
    ]


def main() -> None:
    """Measure and report."""
    quick = arguments(__doc__ or "").quick
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = ["13-50-1"] if quick else ["784-256-128-10", "784-256-256-10", "13-50-1"]
    rows = [row for name in names for row in measure(name, 20 if quick else 100)]
    report("masks", rows, quick=quick, samples=SAMPLES, truth=TRUTH)


if __name__ == "__main__":
    main()
