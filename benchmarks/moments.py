"""How far moments without sampling are from those of many passes.

For each network and row: the error of the approximate mean in standard deviations over passes, and
the approximate standard deviation over the true one. 100 passes have an error of the mean of .1,
or less with balanced masks, and of the standard deviation of .07. Networks are He-initialized and
not trained; trained ones differ. Outputs are logits. The cost is that of the engine's
100 passes, which is the lower one on most networks; one thread.
"""

import numpy as np
import torch

from benchmarks.harness import arguments, interleave, report
from benchmarks.networks import NETWORKS, build
from mcdrop.moments import propagate_moments
from mcdrop.posterior import Posterior

TRUTH = 10_000


def measure(name: str) -> dict[str, object]:
    """One row of the table."""
    network, x = build(name).eval(), torch.randn(64, NETWORKS[name][0][0])
    settings = {"task": "regression", "precision": "float32"}
    truth = Posterior(network, TRUTH, **settings).predict(x)  # type: ignore[arg-type]
    mean, variance = propagate_moments(network, x)
    spread = np.sqrt(truth.epistemic)
    hundred = Posterior(network, 100, **settings)  # type: ignore[arg-type]
    times = interleave(
        {"moments": lambda: propagate_moments(network, x), "passes": lambda: hundred.predict(x)}
    )
    return {
        "network": name,
        "error of mean": float(np.sqrt(np.square((mean - truth.mean) / spread).mean())),
        "ratio of std": float(np.median(np.sqrt(variance) / spread)),
        "cost of 100 passes": times["moments"] / times["passes"],
    }


def main() -> None:
    """Measure and report."""
    quick = arguments(__doc__ or "").quick
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = ["13-50-1"] if quick else [name for name in NETWORKS if "1024" not in name]
    report("moments", [measure(name) for name in names], quick=quick, truth=TRUTH)


if __name__ == "__main__":
    main()
