"""A hundred passes against the plain loop, and in deterministic passes. One thread.

The plain loop does what a careful user would write: one deterministic forward, T forwards in
train mode, then mean, standard deviation, entropies and mutual information. Where it is slow it
runs fewer passes, and its time is scaled. `x` is its time over ours; `d` is ours in
deterministic float32 forwards of the same rows. `peak` and `bfloat16` are the rate of our useful
multiplications (kept units only; the trunk once) as shares of the rates that PyTorch's own float32
and bfloat16 products of two 512 x 512 matrices reach in the same rounds. Taking dropped units away
where they are fewer than kept ones saves multiplications that are counted as useful.

What bounds these numbers on a Zen 4 core, where a bfloat16 product is twice a float32 one: of
784-256-128-10, the trunk and the deterministic answer are in float32, at 97 % of the processor's
peak, and are .7 of the `d` of many rows; the passes are at nine tenths of the bfloat16 peak. Three
bfloat16 products, which would make a float32 one, cost half as much again as it. Of one row, a
third of the kernel's time is reading the trunk's weights. Layers of 1024 units at rate .5 run at
the bfloat16 peak, which is about 20x. Tried without gain: tiles of two vectors of rows instead of
three, prefetching what tiles start from or the trunk's weights, rounding activations before they
are gathered; of rows' own masks, fewer outputs at a time so that their weights stay in the first
cache. Masks of rows' own are drawn in the first call and kept for the first rows; later calls, as
here, find them.
"""

import math
from collections.abc import Callable

import torch

from benchmarks import gpu
from benchmarks.harness import arguments, interleave, report
from benchmarks.networks import NETWORKS, SAMPLES, SETTINGS, build, forward, plain_loop, useful
from mcdrop.posterior import Posterior

ROWS = (1, 32, 256, 4096)


def products() -> dict[str, Callable[[], object]]:
    """PyTorch's matrix products, 512**3 multiplications each, by the name of their type."""
    pair = torch.randn(512, 512), torch.randn(512, 512)
    coarse = [matrix.bfloat16() for matrix in pair]
    return {"float32": lambda: torch.mm(*pair), "bfloat16": lambda: torch.mm(*coarse)}


def measure(
    name: str, rows: int, setting: str, *, rounds: int, samples: int = SAMPLES
) -> dict[str, object]:
    """One row of the table."""
    network, x = build(name).eval(), torch.randn(rows, NETWORKS[name][0][0])
    posterior = Posterior(network, samples, **SETTINGS[setting])  # type: ignore[arg-type]
    work = rows * sum(a * b for a, b in zip(*(NETWORKS[name][0][i:] for i in (0, 1)), strict=False))
    passes = min(samples, max(2, math.ceil(1e10 / work)))
    cases: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_loop(network, x, passes),
        "one": lambda: forward(network, x),
        "ours": lambda: posterior.predict(x),
    }
    times = interleave(cases | products(), rounds=rounds)
    one, ours = times["one"], times["ours"]
    loop = one + (times["plain"] - one) * samples / passes
    rate = useful(name, samples) * rows / ours  # multiplications a second
    return {
        "network": name,
        "rows": rows,
        "setting": setting,
        "ours ms": ours * 1e3,
        "x": loop / ours,
        "d": ours / one,
        "peak": rate * times["float32"] / 512**3,
        "bfloat16": rate * times["bfloat16"] / 512**3,
    }


def main() -> None:
    """Measure and report."""
    options = arguments(__doc__ or "", devices=("cpu", "cuda"))
    quick = options.quick
    if options.device == "cuda":
        return gpu.main(device=torch.device("cuda"), quick=quick)
    torch.set_num_threads(1)
    cases = [("784-256-128-10", rows, "auto") for rows in (1, 32, 256, 4096)]
    if not quick:
        cases = [(name, rows, "auto") for name in NETWORKS for rows in ROWS]
        cases += [("784-256-128-10", rows, "float32") for rows in ROWS]
        cases += [("784-256-128-10", rows, "independent") for rows in ROWS]
    rounds = [3 if quick or rows > 256 else 5 for _, rows, _ in cases]
    rows = [measure(*case, rounds=count) for case, count in zip(cases, rounds, strict=True)]
    return report("posterior", rows, quick=quick, samples=SAMPLES)


if __name__ == "__main__":
    main()
